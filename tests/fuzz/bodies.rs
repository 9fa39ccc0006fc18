//! Answers that are not streamed, in every dialect.

use bytes::Bytes;
use luthien::{
    dialect::{self, Transcript},
    model::Dialect,
};

use super::{
    input::{Input, with_clock},
    oracle::{self, assert_no_panic},
    policies::Chosen,
};
use crate::core::support::{LIMITS, Run, rules};

/// Three bytes choose the dialect and the policies, the rest is the provider's body.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let dialect = input.pick(&Dialect::ALL);
    let (kind, seed) = (input.byte(), input.byte());
    let body = input.bytes();
    with_clock(|| {
        let untouched = pushed(dialect, &rules(Vec::new()), &body, usize::MAX);
        assert_eq!(untouched.failure, None, "a body without a policy passes");
        assert_eq!(untouched.out.concat(), body, "changed, though nobody changes anything");
        edited(dialect, kind, seed, &body);
    });
    // The pages and the record read whatever was said.
    let said = dialect::json(&body);
    let _ = dialect::tell_answer(&said);
    let _ = dialect::read_error(u16::from(kind) * 4, &body);
    let mut transcript = Transcript::body(LIMITS.body, false);
    transcript.push(&body);
    transcript.finish();
}

fn edited(dialect: Dialect, kind: u8, seed: u8, body: &Bytes) {
    let Some(before) = oracle::body(dialect, body) else { return };
    let chosen = Chosen::new(kind, seed, &before);
    let rules = chosen.rules();
    let whole = pushed(dialect, &rules, body, usize::MAX);
    let cut = pushed(dialect, &rules, body, 1 + usize::from(seed));
    let out = whole.out.concat();
    assert_eq!(cut.out.concat(), out, "depends on how it comes");
    assert_no_panic(&whole);
    if whole.failure.is_some() {
        return;
    }
    if chosen.keeps() {
        assert_eq!(out, *body, "changed, though everything is kept");
        return;
    }
    let after = oracle::body(dialect, &out);
    let after = after.unwrap_or_else(|| panic!("no JSON any more: {chosen:?}: {}", String::from_utf8_lossy(&out)));
    chosen.assert_gone(&after);
}

fn pushed(dialect: Dialect, rules: &std::sync::Arc<luthien::policy::Rules>, body: &Bytes, size: usize) -> Run {
    let mut run = Run::body(dialect, rules);
    for chunk in body.chunks(size) {
        run.push(&body.slice_ref(chunk));
    }
    run.finish();
    run
}
