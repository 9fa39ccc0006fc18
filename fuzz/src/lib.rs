//! The targets that `make test` replays, for libFuzzer.
//!
//! Everything is the tests' own code, included from there: nothing stands here twice.

#![allow(dead_code, unused_imports, reason = "tests use more of it")]

mod common;
mod core;
#[path = "../../tests/fuzz/mod.rs"]
mod fuzz;

use std::{fs, path::Path};

/// Runs the target of that name.
pub fn run(name: &str, data: &[u8]) {
    (target(name).run)(data);
}

/// What a target does before its first input: where `LUTHIEN_FUZZ_SEEDS` names a folder, its seeds are written there, and
/// that is all. The product turns some panics into answers; so they must not end the process, as libFuzzer's hook would.
pub fn begin(name: &str) {
    drop(std::panic::take_hook());
    let Some(folder) = std::env::var_os("LUTHIEN_FUZZ_SEEDS") else { return };
    let seeds = (target(name).seeds)();
    for (number, seed) in seeds.iter().enumerate() {
        fs::write(Path::new(&folder).join(format!("seed-{number:05}")), &seed.bytes).expect("a disk with room");
    }
    eprintln!("{} seeds of {name}", seeds.len());
    std::process::exit(0);
}

fn target(name: &str) -> &'static fuzz::Target {
    fuzz::TARGETS.iter().find(|target| target.name == name).expect("a target of that name")
}
