//! The Dockerfile: the versions in it, and that everything is copied which the program is built from.

use std::{fs, path::Path};

use regex::Regex;

use super::document::{root, services, text};

/// What the Dockerfile copies from the repository.
fn copied() -> Vec<String> {
    let dockerfile = text("Dockerfile");
    let lines = dockerfile.lines().filter_map(|line| line.strip_prefix("COPY ")).filter(|rest| !rest.starts_with("--"));
    lines
        .flat_map(|rest| {
            let mut words: Vec<String> = rest.split_whitespace().map(str::to_owned).collect();
            words.pop();
            words
        })
        .collect()
}

fn sources(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn versions_are_the_same_everywhere() {
    let dockerfile = text("Dockerfile");
    let version = env!("CARGO_PKG_VERSION");
    assert!(dockerfile.contains(&format!("ARG VERSION={version}\n")));
    assert_eq!(services()["luthien"]["image"], format!("luthien:{version}"));
    assert!(dockerfile.contains(&format!("ARG BUILDER=rust:{}.", env!("CARGO_PKG_RUST_VERSION"))));
    let installed = text("scripts/install-envoy.sh");
    let envoy = installed.lines().find_map(|line| line.strip_prefix("version=")).expect("a version");
    assert_eq!(services()["envoy"]["image"], format!("envoyproxy/envoy:v{envoy}"));
}

/// The stages, each with the image that it begins with.
fn stages() -> Vec<(String, Vec<String>)> {
    let dockerfile = text("Dockerfile");
    let base = |name: &str| {
        let line = dockerfile.lines().find_map(|line| line.strip_prefix(&format!("ARG {name}=")));
        line.unwrap_or_else(|| panic!("no default of {name}")).to_owned()
    };
    let mut stages: Vec<(String, Vec<String>)> = Vec::new();
    for line in dockerfile.lines().filter(|line| !line.starts_with('#')) {
        if let Some(from) = line.strip_prefix("FROM ${") {
            stages.push((base(from.split('}').next().expect("a name")), Vec::new()));
        } else if let Some((_, lines)) = stages.last_mut() {
            lines.push(line.to_owned());
        }
        assert!(!line.starts_with("FROM ") || line.starts_with("FROM ${"), "{line}: not to be pinned from outside");
    }
    stages
}

#[test]
fn no_image_is_whatever_is_latest() {
    let bases: Vec<String> = stages().into_iter().map(|(base, _)| base).collect();
    let [builder, runtime] = &bases[..] else { panic!("{bases:?}") };
    let is_exact = Regex::new(r"^rust:\d+\.\d+\.\d+-slim-[a-z]+(@sha256:[0-9a-f]{64})?$").expect("a pattern");
    assert!(is_exact.is_match(builder), "{builder}");
    // Its tags have no versions; `scripts/pin-images.sh` says which it is.
    assert!(runtime.starts_with("gcr.io/distroless/static-debian12:nonroot"), "{runtime}");
    for (name, service) in services() {
        let image = service["image"].as_str().expect("an image");
        let tag = image.rsplit_once(':').map_or("", |(_, tag)| tag);
        assert!(tag.contains(|char: char| char.is_ascii_digit()) && !tag.contains("latest"), "{name}: {image}");
    }
    // What pins them knows both.
    let script = text("scripts/pin-images.sh");
    assert!(script.contains(r"BUILDER\|RUNTIME"));
}

/// The program, for a user without rights, and nothing that could start anything else.
#[test]
fn the_image_has_no_shell_and_no_root() {
    let stages = stages();
    let (_, lines) = stages.last().expect("a stage");
    let of = |word: &str| lines.iter().filter_map(|line| line.strip_prefix(word)).collect::<Vec<_>>();
    assert_eq!(of("USER "), ["65532:65532"]);
    assert_eq!(of("ENTRYPOINT "), [r#"["luthien"]"#]);
    for word in ["RUN ", "SHELL ", "CMD ", "ADD ", "ONBUILD ", "HEALTHCHECK CMD ", "EXPOSE "] {
        assert!(of(word).is_empty(), "{word}: {:?}", of(word));
    }
    for line in of("COPY ") {
        assert!(line.starts_with("--from=build "), "{line}");
    }
    let program = of("COPY ").into_iter().find(|line| line.ends_with(" /usr/local/bin/luthien")).expect("the program");
    assert!(!program.contains("--chown"), "who runs it could change it: {program}");
    for (name, service) in services() {
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(service["cap_drop"], serde_json::json!(["ALL"]), "{name}");
        assert_eq!(service["security_opt"], serde_json::json!(["no-new-privileges:true"]), "{name}");
        if service["build"].is_object() {
            assert_eq!(service["user"], "65532:65532", "{name}");
        }
        assert!(service["privileged"].is_null() && service["pid"].is_null(), "{name}");
    }
}

#[test]
fn what_is_copied_is_not_ignored_and_nothing_else_is_sent() {
    let ignored = text(".dockerignore");
    let mut sent: Vec<&str> = ignored.lines().filter_map(|line| line.strip_prefix('!')).collect();
    let mut copied = copied();
    sent.sort_unstable();
    copied.sort_unstable();
    assert_eq!(copied, sent);
    assert!(ignored.lines().any(|line| line == "*"));
}

#[test]
fn every_file_that_sources_include_is_copied() {
    let included = Regex::new(r#"include_(?:str|bytes)!\("((?:\.\./)+[^"]+)"\)"#).expect("a pattern");
    let (mut files, mut seen) = (Vec::new(), 0);
    sources(&root().join("src"), &mut files);
    // Tests stand in files of that name, and are no part of the program.
    for file in files.into_iter().filter(|file| !file.ends_with("tests.rs")) {
        let source = fs::read_to_string(&file).expect("a source");
        for found in included.captures_iter(&source) {
            let path = file.parent().expect("a folder").join(&found[1]).canonicalize().expect("a file");
            let path = path.strip_prefix(root().canonicalize().expect("the root")).expect("a file of ours").to_owned();
            // That of documentation tests, which no build of the program reads.
            if path == Path::new("README.md") {
                continue;
            }
            assert!(copied().iter().any(|copied| path.starts_with(copied)), "the image is built without {path:?}");
            seen += 1;
        }
    }
    assert!(seen > 0);
}
