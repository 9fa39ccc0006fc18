//! Untouched bytes stay untouched.

use std::sync::Arc;

use luthien::{
    model::Dialect,
    policy::{Factory, OnFault, Release, Watch},
};
use serde_json::json;

use super::{
    support::{WatchAll, before_error, built_in, rules_with, run, streams, truncated},
    validator,
};

const SIZES: [usize; 5] = [usize::MAX, 1, 7, 64, 4096];

/// Byte by byte only up to this length: what a policy sees does not depend on it, and long recordings take long.
const SHORT: usize = 8 << 10;

/// Streams that end before their end: what came of them leaves, then the client is told.
const TRUNCATED: [&str; 2] = ["anthropic/17-truncated-eof", "openai-responses/16-truncated-eof"];

fn check(policies: &[Arc<dyn Factory>]) {
    check_release(policies, Release::Block);
}

fn check_release(policies: &[Arc<dyn Factory>], release: Release) {
    let mut failures = Vec::new();
    let rules = rules_with(policies.to_vec(), release, OnFault::Closed);
    for stream in streams() {
        let truncated = TRUNCATED.contains(&stream.name.as_str()).then(truncated);
        // What says one thing in two ways is not for a policy to judge: it may end with an error.
        let may_end = stream.dialect == Dialect::OpenaiResponses
            && !policies.is_empty()
            && !validator::problems(stream.dialect, &stream.body).is_empty();
        let expected = &stream.body;
        for size in SIZES {
            if size < 64 && stream.body.len() > SHORT && !policies.is_empty() {
                continue;
            }
            let whole = run(stream.dialect, &rules, &stream.body, size).out.concat();
            let out = match &truncated {
                Some(failure) => before_error(stream.dialect, &whole, failure).unwrap_or(&whole),
                None => &whole,
            };
            if may_end && ended_unread(expected, out) {
                continue;
            }
            if out != expected || (truncated.is_some() && out.len() == whole.len()) {
                let at = out.iter().zip(expected).position(|(a, b)| a != b).unwrap_or(out.len().min(expected.len()));
                failures.push(format!(
                    "{} size {size}: differs at {at} of {}: {:?}",
                    stream.name,
                    expected.len(),
                    String::from_utf8_lossy(&out[at.min(out.len())..(at + 200).min(out.len())])
                ));
                break;
            }
        }
    }
    assert!(failures.is_empty(), "{}\n{} failures", failures.join("\n"), failures.len());
}

/// Whether the beginning of a stream left, and then the word that it cannot be read.
fn ended_unread(stream: &[u8], out: &[u8]) -> bool {
    let same = out.iter().zip(stream).take_while(|(out, stream)| out == stream).count();
    let rest = String::from_utf8_lossy(&out[same..]);
    rest.contains("cannot be read") && rest.matches("data:").count() <= 1
}

fn never(extra: &[&str]) -> Arc<dyn Factory> {
    let mut config = json!({"replacements": {"\u{1}never": "x"}});
    for key in extra {
        config[key] = json!(true);
    }
    built_in("string_replacement", &config)
}

#[test]
fn without_a_policy() {
    check(&[]);
}

#[test]
fn with_a_policy_that_watches_all_as_it_comes() {
    check(&[Arc::new(WatchAll(Watch::Deltas))]);
}

#[test]
fn with_a_policy_that_watches_all_as_a_whole() {
    check(&[Arc::new(WatchAll(Watch::Whole))]);
}

#[test]
fn with_a_replacement_that_never_matches() {
    for extra in [&[][..], &["include_tool_calls"], &["include_tool_calls", "match_capitalization"]] {
        check(&[never(extra)]);
    }
}

#[test]
fn with_policies_that_only_look_on() {
    check(&[built_in("noop", &json!({}))]);
    check(&[built_in("debug_log", &json!({}))]);
}

#[test]
fn with_three_policies_that_watch() {
    check(&[Arc::new(WatchAll(Watch::Whole)), Arc::new(WatchAll(Watch::Deltas)), never(&["include_tool_calls"])]);
}

#[test]
fn with_the_tool_calls_of_a_turn_released_together() {
    check_release(&[], Release::Turn);
    check_release(&[Arc::new(WatchAll(Watch::Whole)), Arc::new(WatchAll(Watch::Deltas))], Release::Turn);
}
