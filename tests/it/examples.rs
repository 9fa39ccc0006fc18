//! The examples for policy authors do what they say, and stay small.

#![expect(clippy::duplicate_mod, reason = "each example has its own copy of what runs it")]

#[path = "../../examples/simple_string_replacement.rs"]
#[expect(dead_code, reason = "`main` is the example's own")]
mod simple_string_replacement;
#[path = "../../examples/simple_tool_filter.rs"]
#[expect(dead_code, reason = "`main` is the example's own")]
mod simple_tool_filter;
#[path = "../../examples/simple_uppercase.rs"]
#[expect(dead_code, reason = "`main` is the example's own")]
mod simple_uppercase;
#[path = "../../examples/support/mod.rs"]
#[expect(dead_code, reason = "`show` is for the examples' own `main`")]
mod support;

use luthien::policy::Simple;

use self::support::{ANSWER, run};

#[test]
fn each_does_what_it_says() {
    let upper = run(Simple::new(simple_uppercase::SimpleUppercase), ANSWER);
    assert!(upper.contains("I LOOK AT THE SECRET FILE.") && upper.contains("read_file"), "{upper}");

    let filter = simple_tool_filter::SimpleToolFilter { denied: vec!["delete_"] };
    let filtered = run(Simple::new(filter), ANSWER);
    assert!(filtered.contains("[delete_file is not allowed here]") && !filtered.contains("toolu_2"), "{filtered}");
    assert!(filtered.contains("toolu_1") && filtered.contains("\"stop_reason\":\"tool_use\""), "{filtered}");

    let replacement = simple_string_replacement::SimpleStringReplacement { from: "secret", to: "[redacted]" };
    let replaced = run(Simple::new(replacement), ANSWER);
    assert!(replaced.contains("I look at the [redacted] file.") && !replaced.contains("secret"), "{replaced}");
}

#[test]
fn each_is_under_forty_lines() {
    for (name, text) in [
        ("simple_uppercase", include_str!("../../examples/simple_uppercase.rs")),
        ("simple_tool_filter", include_str!("../../examples/simple_tool_filter.rs")),
        ("simple_string_replacement", include_str!("../../examples/simple_string_replacement.rs")),
    ] {
        assert!(text.lines().count() < 40, "{name} has {} lines", text.lines().count());
    }
}
