use serde_json::json;

use super::{RULES, answers, call, conversation, said};
use crate::{
    common::streams::Dialect,
    fakes::{provider::Provider, script::Script},
    harness::{
        browser::{Browser, Look},
        client::Request,
        gateway::Gateway,
        samples::{self, CALLS},
    },
};

#[tokio::test]
async fn the_diff_shows_a_replaced_word_and_a_blocked_tool_call() {
    let provider = Provider::start().await;
    let gateway = Gateway::with(&provider).policy(RULES).start().await;
    let [first, _] = conversation(&provider, &gateway, "birds").await;
    let mut browser = Browser::start(&gateway.admin_url()).await;
    for look in Look::ALL {
        browser.look(look).await;
        browser.goto(&format!("/debug/calls/{first}")).await;
        browser.click("text=Show changes").await;
        browser.wait(".change").await;
        assert_eq!(browser.text(".change:has(del) del").await, "falcon");
        assert_eq!(browser.text(".change:has(del) ins").await, "sparrow");
        assert!(browser.text(".change:has(del) .by").await.contains("no-falcons"));
        let blocked = browser.text(".change:has-text('removed'):has-text('rm_tree')").await;
        assert!(blocked.contains("no-shell") && blocked.contains("tool call"), "{blocked}");
        browser.looks_well(&format!("diff-{}", look.name)).await;
        // From the keyboard alone, to both sides.
        browser.click("text=Side by side").await;
        browser.wait(".diff-side .removed del:has-text('falcon')").await;
        browser.wait(".diff-side .added ins:has-text('sparrow')").await;
        browser.looks_well(&format!("diff-side-{}", look.name)).await;
    }
    browser.goto("/debug/diff").await;
    browser.looks_well("diff-ask").await;
    browser.fill("input[name=call]", &first).await;
    browser.press("Enter").await;
    browser.wait(".change").await;
    assert_eq!(browser.at().await, format!("/debug/calls/{first}/diff"));
    gateway.stop().await;
}

#[tokio::test]
async fn search_finds_a_call_by_a_word_and_lists_look_well() {
    let provider = Provider::start().await;
    let gateway = Gateway::with(&provider).policy(RULES).start().await;
    let mut browser = Browser::start(&gateway.admin_url()).await;
    browser.goto("/debug/calls").await;
    browser.looks_well("calls-empty").await;
    let [first, second] = conversation(&provider, &gateway, "3f0c9a52-7d6e-4f5a-9c43-0b1f6f6f1a11").await;
    for (dialect, model) in [(Dialect::OpenaiChat, "gpt-5-mini"), (Dialect::OpenaiResponses, "gpt-5.1-codex")] {
        provider.expect(Script::sse(samples::tools(dialect, "Working on it.", &CALLS)));
        call(&gateway, Request::call(dialect, model, true)).await;
    }
    provider.expect(Script::json("{\"error\":{\"message\":\"Overloaded, please try again later\"}}").status(529));
    call(&gateway, Request::call(Dialect::OpenaiChat, "gpt-5-mini", false)).await;
    for look in Look::ALL {
        browser.look(look).await;
        browser.goto("/debug/calls").await;
        browser.wait("tbody tr").await;
        assert_eq!(browser.count("tbody tr").await, 5);
        browser.looks_well(&format!("calls-{}", look.name)).await;
        browser.press("/").await;
        assert!(browser.focused().await.contains("name=\"text\""));
        browser.fill("input[name=text]", "cathedral north").await;
        browser.press("Enter").await;
        browser.wait("a:has-text('Clear')").await;
        assert_eq!(browser.count("tbody tr").await, 1);
        assert!(browser.at().await.contains("text=cathedral+north"));
        browser.press("j").await;
        assert!(browser.focused().await.contains(&second));
        browser.press("Enter").await;
        browser.wait("#timeline").await;
        assert!(browser.at().await.starts_with(&format!("/debug/calls/{second}")));
        // Without the words that a search marks.
        browser.goto(&format!("/debug/calls/{first}")).await;
        browser.looks_well(&format!("call-{}", look.name)).await;
        browser.goto("/").await;
        browser.looks_well(&format!("overview-calls-{}", look.name)).await;
    }
    browser.goto("/debug/calls?text=nowhere&outcome=completed&client=x").await;
    browser.looks_well("calls-nothing-fits").await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_session_shows_its_turns_and_is_deleted() {
    let provider = Provider::start().await;
    let gateway = Gateway::with(&provider).policy(RULES).start().await;
    conversation(&provider, &gateway, "birds").await;
    let mut browser = Browser::start(&gateway.admin_url()).await;
    for look in Look::ALL {
        browser.look(look).await;
        browser.goto("/debug/sessions").await;
        browser.looks_well(&format!("sessions-{}", look.name)).await;
        browser.click("text=birds").await;
        browser.wait(".exchange").await;
        assert_eq!(browser.count(".exchange").await, 2);
        let tool = browser.text(".exchange >> nth=0 >> .tool").await;
        assert!(
            tool.contains("read_file") && tool.contains("/notes/birds.md") && tool.contains("Birds of prey"),
            "{tool}"
        );
        assert!(browser.text(".exchange >> nth=0 >> .decisions").await.contains("no-shell"));
        let second = browser.text(".exchange >> nth=1").await;
        assert!(second.contains("sends 1 tool result") && second.contains("The sparrow nests"), "{second}");
        assert!(!second.contains("I look for"), "{second}");
        assert!(!browser.text(".exchange >> nth=0").await.contains("I read it first"));
        browser.click(".exchange >> nth=0 >> summary:has-text('thinking')").await;
        assert!(browser.text(".exchange >> nth=0").await.contains("I read it first"));
        browser.looks_well(&format!("session-{}", look.name)).await;
    }
    browser.click("[data-forget]").await;
    browser.wait("dialog[open]").await;
    browser.looks_well("session-delete").await;
    browser.press("Escape").await;
    browser.click("[data-forget]").await;
    browser.click("dialog [data-path]").await;
    browser.wait("h2:has-text('No sessions yet')").await;
    assert_eq!(browser.at().await, "/debug/sessions");
    browser.nothing_wrong().await;
    gateway.stop().await;
}

#[tokio::test]
async fn hostile_calls_do_no_harm() {
    let provider = Provider::start().await;
    let name = json!("<img src=x onerror=alert(3)>\u{202e}wwwwwwwwwwwwwwwwwwwwwwwwww");
    let rules = format!("policies: [{{ name: {name}, type: uppercase }}]");
    let gateway = Gateway::with(&provider).policy(&rules).start().await;
    let long = "x".repeat(4000);
    let hostile =
        format!("<script>alert(1)</script><img src=x onerror=alert(2)>\"'\u{202e}\u{5e9}\u{5dc}\u{5d5}\u{5dd}{long}");
    let session = format!("<script>alert(4)</script>{}", "s".repeat(120));
    answers(
        &provider,
        &json!([
            { "type": "text", "text": hostile },
            { "type": "tool_use", "id": "<b>", "name": format!("<script>alert(5)</script>{}", "n".repeat(300)),
              "input": { "<script>": hostile, "big": "y".repeat(1_000_000), "rtl": "\u{202e}\u{5e9}\u{5dc}\u{5d5}\u{5dd}" } },
        ]),
    );
    let question = json!({ "role": "user", "content": [{ "type": "text", "text": hostile },
        { "type": "image", "source": { "type": "url", "url": "javascript:alert(7)" } }] });
    let id = call(&gateway, said(&session, &[question])).await;
    let mut browser = Browser::start(&gateway.admin_url()).await;
    for look in Look::ALL {
        browser.look(look).await;
        for (path, name) in [
            ("/debug/calls".to_owned(), "calls"),
            (format!("/debug/calls/{id}"), "call"),
            (format!("/debug/calls/{id}/diff"), "diff"),
            (format!("/debug/calls/{id}/diff?view=side"), "diff-side"),
            ("/debug/sessions".to_owned(), "sessions"),
        ] {
            assert_eq!(browser.goto(&path).await, 200, "{path}");
            browser.looks_well(&format!("{name}-hostile-{}", look.name)).await;
            assert_eq!(browser.count("main img, main script").await, 0, "{path}");
        }
        browser.click(".row-link").await;
        browser.wait(".exchange").await;
        browser.looks_well(&format!("session-hostile-{}", look.name)).await;
        assert_eq!(browser.count("main img, main script").await, 0);
    }
    gateway.stop().await;
}
