//! Untouched bytes stay untouched.

use std::sync::Arc;

use luthien::policy::{Factory, Watch};
use serde_json::json;

use super::support::{WatchAll, built_in, error_event, rules, run, streams, truncated};

const SIZES: [usize; 5] = [1, 7, 64, 4096, usize::MAX];

fn check(policies: impl Fn() -> Vec<Arc<dyn Factory>>) {
    let mut failures = Vec::new();
    for stream in streams() {
        let mut expected = stream.body.to_vec();
        let rules = rules(policies());
        let baseline = run(stream.dialect, &rules, &stream.body, usize::MAX).concat();
        if baseline != expected {
            expected.extend(error_event(stream.dialect, &truncated()));
        }
        for size in SIZES {
            let out = run(stream.dialect, &rules, &stream.body, size).concat();
            if out != expected {
                let at = out.iter().zip(&expected).position(|(a, b)| a != b).unwrap_or(out.len().min(expected.len()));
                failures.push(format!(
                    "{} ({}) size {size}: differs at {at} of {}: {:?}",
                    stream.name,
                    stream.class,
                    expected.len(),
                    String::from_utf8_lossy(&out[at.min(out.len())..(at + 200).min(out.len())])
                ));
                break;
            }
        }
    }
    assert!(failures.is_empty(), "{}\n{} failures", failures.join("\n"), failures.len());
}

#[test]
fn without_a_policy() {
    check(Vec::new);
}

#[test]
fn with_a_policy_that_watches_all_as_it_comes() {
    check(|| vec![Arc::new(WatchAll(Watch::Deltas))]);
}

#[test]
fn with_a_policy_that_watches_all_as_a_whole() {
    check(|| vec![Arc::new(WatchAll(Watch::Whole))]);
}

#[test]
fn with_a_replacement_that_never_matches() {
    let config = json!({"replacements": {"\u{1}never": "x"}, "include_tool_calls": true, "match_capitalization": true});
    check(|| vec![built_in("string_replacement", config.clone())]);
}
