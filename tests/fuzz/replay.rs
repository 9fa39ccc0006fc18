//! Every target over its seeds, over the inputs that once found something, and over mutations by lot.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::PathBuf,
};

use super::{TARGETS, Target, mutate::mutated, seeds::Seed};
use crate::common::streams::repository;

/// Runs a target over everything, and says with which input it fails.
fn replay(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target of that name");
    for (file, bytes) in regressions(target) {
        run(target, &file, &bytes);
    }
    let seeds = (target.seeds)();
    assert!(seeds.iter().any(|seed| seed.is_committed), "{name} has no seeds");
    for seed in &seeds {
        run(target, &seed.name, &seed.bytes);
    }
    // The same everywhere, whether there are recordings or not.
    let committed: Vec<&[u8]> = seeds.iter().filter(|seed| seed.is_committed).map(|seed: &Seed| &*seed.bytes).collect();
    for number in 0..target.mutations {
        run(target, &format!("mutation-{number}"), &mutated(&committed, number));
    }
}

fn run(target: &Target, name: &str, input: &[u8]) {
    let outcome = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    if let Err(panic) = outcome {
        let file: String = name.chars().map(|char| if char.is_ascii_alphanumeric() { char } else { '-' }).collect();
        let folder = repository().join("target/fuzz").join(target.name);
        let path = folder.join(file);
        fs::create_dir_all(&folder).and_then(|()| fs::write(&path, input)).expect("a disk with room");
        eprintln!(
            "the input `{name}` of {} fails; it stands in {}; see Fuzzing in CONTRIBUTING.md",
            target.name,
            path.display()
        );
        resume_unwind(panic);
    }
}

/// Inputs that once found something.
fn regressions(target: &Target) -> Vec<(String, Vec<u8>)> {
    let folder = repository().join("tests/fuzz/regressions").join(target.name);
    let Ok(entries) = fs::read_dir(&folder) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("a file").path()).collect();
    files.sort();
    let read = |path: &PathBuf| (path.display().to_string(), fs::read(path).expect("a regression can be read"));
    files.iter().map(read).collect()
}

#[test]
fn every_folder_of_regressions_is_of_a_target() {
    let Ok(entries) = fs::read_dir(repository().join("tests/fuzz/regressions")) else { return };
    for entry in entries {
        let name = entry.expect("a folder").file_name();
        assert!(TARGETS.iter().any(|target| name == target.name), "there is no target {name:?}");
    }
}

/// One test for each target, so that they run side by side.
macro_rules! targets {
    ($($name:ident)*) => {
        $(#[test] fn $name() { replay(stringify!($name)); })*

        #[test]
        fn every_target_is_replayed() {
            let replayed = [$(stringify!($name)),*];
            assert_eq!(TARGETS.map(|target| target.name), replayed);
        }
    };
}

targets! {
    framer anthropic openai_chat openai_responses bodies requests convert_requests convert_answers rules settings kubernetes
    remote cel shell json spool
}
