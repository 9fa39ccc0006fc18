//! docs/security.md: what it says that a test shows is shown by a test.

use std::{fs, path::Path};

use regex::Regex;

use crate::compose::document::{root, text};

/// Every test function, as the folder or file that it stands in and its name.
fn tests(folder: &Path, found: &mut Vec<(String, String)>) {
    let test =
        Regex::new(r"#\[(?:tokio::)?test(?:\([^)]*\))?\]\s*(?:#\[[^\]]*\]\s*)*(?:async )?fn (\w+)").expect("a pattern");
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            tests(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = fs::read_to_string(&path).expect("a source");
            let names = test.captures_iter(&source).map(|captures| captures[1].to_owned());
            found.extend(names.map(|name| (path.display().to_string(), name)));
        }
    }
}

#[test]
fn every_test_that_the_page_names_is_there() {
    let mut found = Vec::new();
    for folder in ["src", "tests"] {
        tests(&root().join(folder), &mut found);
    }
    assert!(found.len() > 500, "{}", found.len());
    let page = text("docs/security.md");
    let named = Regex::new(r"`(\w+)::(\w+)`").expect("a pattern");
    let (mut missing, mut count) = (Vec::new(), 0);
    for captures in named.captures_iter(&page) {
        let (place, name) = (&captures[1], &captures[2]);
        count += 1;
        let is_there = |(path, test): &(String, String)| {
            test == name && Path::new(path).iter().any(|part| part.to_string_lossy().trim_end_matches(".rs") == place)
        };
        if !found.iter().any(is_there) {
            missing.push(format!("{place}::{name}"));
        }
    }
    assert!(missing.is_empty(), "{missing:?}");
    assert!(count > 60, "{count}");
    let mut shows = false;
    for line in page.lines() {
        let is_head = line.ends_with("| shown by |");
        shows = is_head || (shows && line.starts_with('|'));
        assert!(!shows || is_head || line.starts_with("|---") || named.is_match(line), "{line}");
    }
}
