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
    assert!(dockerfile.contains(&format!("FROM rust:{}.", env!("CARGO_PKG_RUST_VERSION"))));
    let installed = text("scripts/install-envoy.sh");
    let envoy = installed.lines().find_map(|line| line.strip_prefix("version=")).expect("a version");
    assert_eq!(services()["envoy"]["image"], format!("envoyproxy/envoy:v{envoy}"));
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
