//! What is fuzzed: functions that take any bytes, and panic where the product does what it never may.
//!
//! Each target is one function and stands here once. `fuzz/` runs them under libFuzzer; [`replay`] runs them in
//! `make test`, over seeds, over the inputs that once found something, and over mutations by lot.

mod bodies;
mod cel;
mod convert;
mod framer;
mod input;
mod json;
mod kubernetes;
#[cfg(test)]
mod mutate;
mod oracle;
mod policies;
mod remote;
#[cfg(test)]
mod replay;
mod requests;
mod rules;
pub mod seeds;
mod settings;
mod shell;
mod spool;
mod streams;

use self::seeds::Seed;

/// Something that is fuzzed.
pub struct Target {
    /// As in `make fuzz TARGET=…`, and the folder of its regressions.
    pub name: &'static str,
    /// Takes any bytes.
    pub run: fn(&[u8]),
    /// Where it begins.
    pub seeds: fn() -> Vec<Seed>,
    /// How many mutations are run in `make test`.
    pub mutations: usize,
}

/// Every target.
pub const TARGETS: [Target; 16] = [
    Target { name: "framer", run: framer::run, seeds: seeds::framer, mutations: 1000 },
    Target { name: "anthropic", run: streams::anthropic, seeds: seeds::anthropic, mutations: 600 },
    Target { name: "openai_chat", run: streams::openai_chat, seeds: seeds::openai_chat, mutations: 600 },
    Target { name: "openai_responses", run: streams::openai_responses, seeds: seeds::openai_responses, mutations: 250 },
    Target { name: "bodies", run: bodies::run, seeds: seeds::bodies, mutations: 600 },
    Target { name: "requests", run: requests::run, seeds: seeds::requests, mutations: 1500 },
    Target { name: "convert_requests", run: convert::requests, seeds: seeds::requests, mutations: 1500 },
    Target { name: "convert_answers", run: convert::answers, seeds: seeds::answers, mutations: 500 },
    Target { name: "rules", run: rules::run, seeds: seeds::rules, mutations: 100 },
    Target { name: "settings", run: settings::run, seeds: seeds::settings, mutations: 40 },
    Target { name: "kubernetes", run: kubernetes::run, seeds: seeds::kubernetes, mutations: 100 },
    Target { name: "remote", run: remote::run, seeds: seeds::remote, mutations: 3000 },
    Target { name: "cel", run: cel::run, seeds: seeds::cel, mutations: 600 },
    Target { name: "shell", run: shell::run, seeds: seeds::shell, mutations: 100 },
    Target { name: "json", run: json::run, seeds: seeds::json, mutations: 3000 },
    Target { name: "spool", run: spool::run, seeds: seeds::spool, mutations: 300 },
];
