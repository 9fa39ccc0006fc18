//! Untouched bytes stay untouched.

use std::sync::Arc;

use luthien::policy::{Factory, OnFault, Release, Watch};
use serde_json::json;

use super::support::{WatchAll, built_in, error_event, rules_with, run, streams, truncated};

const SIZES: [usize; 5] = [usize::MAX, 1, 7, 64, 4096];

/// Byte by byte only up to this length: what a policy sees does not depend on it, and long recordings take long.
const SHORT: usize = 8 << 10;

/// Streams that end before their end: what came of them leaves, then the client is told.
const TRUNCATED: [&str; 1] = ["anthropic/17-truncated-eof"];

fn check(policies: &[Arc<dyn Factory>]) {
    check_release(policies, Release::Block);
}

fn check_release(policies: &[Arc<dyn Factory>], release: Release) {
    let mut failures = Vec::new();
    let rules = rules_with(policies.to_vec(), release, OnFault::Closed);
    for stream in streams() {
        let mut expected = stream.body.to_vec();
        if TRUNCATED.contains(&stream.name.as_str()) {
            expected.extend(error_event(stream.dialect, &truncated()));
        }
        for size in SIZES {
            if size < 64 && stream.body.len() > SHORT && !policies.is_empty() {
                continue;
            }
            let out = run(stream.dialect, &rules, &stream.body, size).out.concat();
            if out != expected {
                let at = out.iter().zip(&expected).position(|(a, b)| a != b).unwrap_or(out.len().min(expected.len()));
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
