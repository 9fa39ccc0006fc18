//! Answers for clients of another dialect, from bytes to bytes.
//!
//! What a client is sent is held against what the plain reader makes of the provider's own bytes, in the common words of
//! [`said`], and against the validator of the client's dialect.

mod bounds;
mod endings;
mod interleaved;
mod made;
mod policies;
mod reasoning;
mod refusals;
mod said;
mod sloppy;
mod streams;
mod texts;

use std::sync::Arc;

use bytes::Bytes;
use luthien::{
    dialect::RequestView,
    model::Dialect,
    pipeline::{Response, ResponseLimits, Runner, Setup},
    policy::Rules,
};

use super::support::{self, LIMITS, Run};

/// Every dialect of a provider with every other one of a client.
pub fn pairs() -> impl Iterator<Item = (Dialect, Dialect)> {
    Dialect::ALL.into_iter().flat_map(|from| others(from).map(move |to| (from, to)))
}

pub fn others(from: Dialect) -> impl Iterator<Item = Dialect> {
    Dialect::ALL.into_iter().filter(move |to| *to != from)
}

/// What an answer from `from` to `to` is made after, to a client that asks for token counts.
pub fn setup(from: Dialect, to: Dialect, rules: &Arc<Rules>, limits: ResponseLimits) -> (Setup, Vec<Runner>) {
    let (setup, runners) = support::setup(from, rules, limits);
    let request = RequestView { model: "m".to_owned(), stream: true, include_usage: true, ..RequestView::default() };
    (Setup { client: to, request, created: 1_700_000_000, ..setup }, runners)
}

pub fn stream(from: Dialect, to: Dialect, rules: &Arc<Rules>) -> Run {
    let (setup, runners) = setup(from, to, rules, LIMITS);
    Run::new(Response::stream(setup, runners))
}

/// Runs a stream in chunks of one size.
pub fn run(from: Dialect, to: Dialect, rules: &Arc<Rules>, body: &Bytes, size: usize) -> Run {
    let mut run = stream(from, to, rules);
    for chunk in body.chunks(size.max(1)) {
        run.push(&body.slice_ref(chunk));
    }
    run.finish();
    run
}

/// Runs a body that is not streamed. Nothing comes of what fails.
pub fn run_body(from: Dialect, to: Dialect, rules: &Arc<Rules>, body: &Bytes) -> Bytes {
    let (setup, runners) = setup(from, to, rules, LIMITS);
    let mut run = Run::new(Response::body(setup, runners));
    run.push(body);
    run.finish();
    run.out.concat().into()
}

pub fn nobody() -> Arc<Rules> {
    support::rules(Vec::new())
}
