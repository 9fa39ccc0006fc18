//! One direction of imports, and each library in its place.

use std::{collections::BTreeMap, fs, path::Path};

/// Every module and its rank: a file imports only from lower ranks, and modules of equal rank never see each other.
const RANKS: [(&str, u32); 23] = [
    ("json", 0),
    ("wire", 0),
    ("telemetry", 0),
    ("lifecycle", 0),
    ("redact", 1),
    ("shared_state", 1),
    ("model", 1),
    ("dialect", 2),
    ("policy", 2),
    ("journal", 2),
    ("policies", 3),
    ("pipeline", 3),
    ("record", 3),
    ("store", 4),
    ("config", 4),
    ("extproc", 5),
    ("admin", 5),
    ("envoy", 5),
    ("demo", 5),
    ("app", 6),
    ("cli", 7),
    ("lib", 8),
    ("main", 8),
];

/// Libraries that only some modules may know.
const CONFINED: [(&str, &[&str]); 35] = [
    ("tonic", &["extproc", "policies"]),
    ("tonic_health", &["extproc"]),
    ("prost", &["extproc", "policies"]),
    ("tonic_prost", &["policies"]),
    ("pbjson", &["policies"]),
    ("hmac", &["admin", "policies"]),
    ("askama", &["admin"]),
    ("governor", &["admin"]),
    ("redis", &["shared_state"]),
    ("envoy_types", &["extproc"]),
    ("axum", &["admin", "demo"]),
    ("cel", &["policy"]),
    ("clap", &["cli", "main"]),
    ("similar", &["admin", "cli"]),
    ("saphyr", &["config", "envoy", "policies"]),
    ("prometheus_client", &["telemetry"]),
    ("procfs", &["telemetry"]),
    ("opentelemetry", &["telemetry"]),
    ("opentelemetry_otlp", &["telemetry"]),
    ("opentelemetry_sdk", &["telemetry"]),
    ("rustix", &["app", "envoy"]),
    ("sqlx", &["store"]),
    ("zstd", &["record", "store"]),
    ("crc32fast", &["record"]),
    ("reqwest", &["policies"]),
    ("rustls", &["extproc", "policies"]),
    ("tokio_rustls", &["extproc"]),
    ("backon", &["policies"]),
    ("recloser", &["policies"]),
    ("moka", &["policies"]),
    ("minijinja", &["policies"]),
    ("brush_parser", &["policies"]),
    ("stacker", &["policies"]),
    ("kube", &["config"]),
    ("k8s_openapi", &["config"]),
];

/// The core knows neither time nor logs.
const PURE: [&str; 4] = ["json", "wire", "model", "dialect"];

#[test]
fn a_file_imports_only_from_lower_ranks() {
    let ranks = BTreeMap::from(RANKS);
    let mut wrong = Vec::new();
    for (module, file, line, text) in lines() {
        let mine = *ranks.get(module.as_str()).unwrap_or_else(|| panic!("{file}: the module `{module}` has no rank"));
        for used in names_after(&text, "crate::") {
            let Some(rank) = ranks.get(used.as_str()) else { continue };
            if used != module && *rank >= mine {
                wrong.push(format!("{file}:{line}: `{module}` (rank {mine}) imports `{used}` (rank {rank}): {text}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn libraries_stay_in_their_modules() {
    let mut wrong = Vec::new();
    for (module, file, line, text) in lines() {
        for (library, modules) in CONFINED {
            if names(&text, library) && !modules.contains(&module.as_str()) {
                wrong.push(format!("{file}:{line}: `{library}` belongs to {modules:?}: {text}"));
            }
        }
        for library in ["tokio", "tracing"] {
            if names(&text, library) && PURE.contains(&module.as_str()) {
                wrong.push(format!("{file}:{line}: the core does without `{library}`: {text}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_rules_see_what_they_forbid() {
    assert_eq!(
        names_after("use crate::{model::{Block, Event}, wire::Frame, json};", "crate::"),
        ["model", "wire", "json"]
    );
    assert_eq!(names_after("let x = crate::json::quote(y);", "crate::"), ["json"]);
    assert!(names("use tonic::Status;", "tonic") && names("tonic::transport::Error", "tonic"));
    assert!(!names("/// tonic: a library", "tonic") && !names("use tonic_health::server;", "tonic"));
}

/// Every line of code of every source file, with its module; `use` trees are joined to one line. Tests may use anything.
fn lines() -> Vec<(String, String, usize, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut out = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs") {
                let file = path.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
                let module = file.split(['/', '.']).next().unwrap().to_owned();
                let text = fs::read_to_string(&path).unwrap();
                let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
                out.extend(joined(code).into_iter().map(|(line, text)| (module.clone(), file.clone(), line, text)));
            }
        }
    }
    assert!(out.len() > 1000);
    out
}

fn joined(text: &str) -> Vec<(usize, String)> {
    let mut out: Vec<(usize, String)> = Vec::new();
    let mut open = false;
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.starts_with("//") {
            continue;
        }
        if let (true, Some((_, last))) = (open, out.last_mut()) {
            last.push(' ');
            last.push_str(line);
        } else {
            open = line.starts_with("use ") || line.starts_with("pub use ");
            out.push((number, line.to_owned()));
        }
        open &= !line.ends_with(';');
    }
    out
}

/// Whether a line of code names a crate.
fn names(text: &str, library: &str) -> bool {
    !text.starts_with("//")
        && text.match_indices(&format!("{library}::")).any(|(at, _)| {
            !text[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_' || before == ':')
        })
}

/// The names directly behind `prefix`, also those of a list in braces.
fn names_after(text: &str, prefix: &str) -> Vec<String> {
    let mut out = Vec::new();
    for (at, _) in text.match_indices(prefix) {
        let rest = &text[at + prefix.len()..];
        let Some(list) = rest.strip_prefix('{') else {
            out.push(rest.chars().take_while(|char| char.is_alphanumeric() || *char == '_').collect());
            continue;
        };
        let mut depth = 0;
        let mut name = String::new();
        for char in list.chars() {
            match char {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => out.push(std::mem::take(&mut name)),
                _ if depth == 0 => name.push(char),
                _ => {}
            }
        }
        out.push(name);
    }
    out.iter()
        .map(|name| name.split("::").next().unwrap_or_default().trim().to_owned())
        .filter(|name| !name.is_empty())
        .collect()
}
