//! Rules that change while the gateway runs.

use std::fs;

use crate::{
    common::streams::Dialect,
    fakes::{
        provider::Provider,
        script::{Gate, Script},
    },
    harness::{
        SOON,
        client::{Request, Version},
        gateway::Gateway,
        samples, within,
    },
};

const UPPER: &str = "policies: [{ name: upper, type: uppercase }]\n";
const REPLACE: &str =
    "policies: [{ name: words, type: string_replacement, config: { replacements: { hello: moin } } }]\n";

#[tokio::test]
async fn changed_rules_hold_for_new_calls_and_bad_ones_never() {
    let provider = Provider::start().await;
    let gateway = Gateway::with(&provider).policy(UPPER).start().await;
    let dialect = Dialect::OpenaiChat;
    let first = gateway.readyz("the first rules", |_| true).await["rules"]["hash"].clone();

    // A call that began under the first rules keeps them.
    let gate = Gate::new();
    let (mut text, open) = samples::Text::open(dialect, &["hello"]);
    let rest = text.delta(" hello again") + &text.close();
    provider.expect(Script::sse(open).wait(&gate).then(rest));
    let mut pinned = gateway.send(Version::Http1, Request::stream(dialect)).await;
    pinned.until("HELLO").await;

    // In place, as `echo >` does.
    fs::write(gateway.rules(), REPLACE).unwrap();
    let second = gateway.readyz("the second rules", |state| state["rules"]["hash"] != first).await;
    provider.expect(Script::sse(samples::text(dialect, &["hello"])));
    let answer = gateway.call(Version::Http1, Request::stream(dialect)).await.text();
    assert!(answer.contains("moin") && !answer.contains("HELLO"), "{answer}");
    gate.open();
    let text = String::from_utf8(pinned.finish().await.body.to_vec()).unwrap();
    assert!(text.contains(" HELLO AGAIN"), "{text}");

    // What does not compile changes nothing, and says so.
    fs::write(gateway.rules(), "policies: [{ name: x, type: upercase }]\n").unwrap();
    let state = gateway.readyz("the refusal", |state| !state["rules"]["last_error"].is_null()).await;
    assert_eq!(state["rules"]["hash"], second["rules"]["hash"]);
    assert_eq!(state["ready"], true);
    assert!(state["rules"]["last_error"].as_str().unwrap().contains("upercase"), "{state}");
    provider.expect(Script::sse(samples::text(dialect, &["hello"])));
    assert!(gateway.call(Version::Http1, Request::stream(dialect)).await.text().contains("moin"));
    assert!(gateway.output().contains("upercase"), "the log does not say why");
    metrics_say(&gateway, "luthien_rules_rejected 1\n").await;

    // A new file in its place, as editors do.
    let new = gateway.rules().with_extension("new");
    fs::write(&new, UPPER).unwrap();
    fs::rename(&new, gateway.rules()).unwrap();
    let state = gateway.readyz("the first rules again", |state| state["rules"]["hash"] == first).await;
    assert!(state["rules"]["last_error"].is_null(), "{state}");
    metrics_say(&gateway, "luthien_rules_rejected 0\n").await;
    metrics_say(&gateway, "luthien_rules_reloads_total{result=\"rejected\"} 1\n").await;
    gateway.stop().await;
}

/// Waits until the metrics have this line.
async fn metrics_say(gateway: &Gateway, line: &str) {
    let told = async { while !gateway.admin(Request::new("GET", "/metrics")).await.text().contains(line) {} };
    within(SOON, line, told).await;
}
