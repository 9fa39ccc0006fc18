//! Expressions of `match.when`.

use luthien::{
    model::Entrance,
    policy::{CallFacts, Fit, When},
};

use super::input::Input;

/// An expression is refused with a remedy, or says something of every call.
pub fn run(data: &[u8]) {
    let Some(text) = Input::new(data).text() else { return };
    let when = match When::compile(text) {
        Ok(when) => when,
        Err(error) => return assert!(!error.message.is_empty() && !error.remedy.is_empty()),
    };
    assert_eq!(when.source(), text);
    let entrance = Entrance::default();
    let headers = [("x-team".to_owned(), "a\"b".repeat(50)), ("x-team".to_owned(), String::new())];
    let facts = CallFacts {
        entrance: &entrance,
        id: "0190",
        dialect: "anthropic_messages",
        model: "claude-sonnet-4-5",
        upstream: "anthropic",
        path: "/v1/messages?beta=true",
        client: Some("team-a"),
        session: None,
        stream: true,
        headers: &headers,
    };
    for facts in [
        facts,
        CallFacts { client: None, headers: &[], stream: false, ..facts },
        CallFacts { model: "", path: "", ..facts },
    ] {
        let fit = when.fit(&facts);
        assert_eq!(fit, when.fit(&facts), "an expression says the same twice");
        if let Fit::Fails(why) = fit {
            assert!(!why.is_empty() && why.chars().count() <= 300, "{why}");
        }
    }
}
