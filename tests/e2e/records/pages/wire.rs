use std::time::Instant;

use serde_json::json;

use super::{RULES, answers, call, conversation, page, recorded, said};
use crate::{
    common::streams::Dialect,
    fakes::{provider::Provider, script::Script},
    harness::{
        client::Request,
        gateway::Gateway,
        samples::{self, CALLS},
    },
};

const HOSTILE: &str = "<script>alert('pwned')</script><img src=x onerror=alert(1)>";

#[tokio::test]
async fn lists_say_what_to_do_where_there_is_nothing() {
    let provider = Provider::start().await;
    for (settings, said) in [
        ("", "Nothing recorded yet"),
        ("recording: { level: metadata }", "can be read and searched"),
        ("recording: { level: \"off\" }", "Nothing is recorded"),
    ] {
        let gateway = Gateway::with(&provider).settings(settings).start().await;
        let calls = page(&gateway, "/debug/calls").await;
        assert_eq!(calls.header("content-type"), Some("text/html; charset=utf-8"));
        assert!(calls.text().contains(said), "{settings}: {}", calls.text());
        assert!(page(&gateway, "/debug/sessions").await.text().contains(if settings.contains("off") {
            said
        } else {
            "No sessions yet"
        }));
        if settings.contains("metadata") {
            answers(&provider, &json!([{ "type": "text", "text": "concealed" }]));
            let id = call(&gateway, said_once("s")).await;
            let shown = page(&gateway, &format!("/debug/calls/{id}")).await.text();
            assert!(
                shown.contains("the record of this call is <code>metadata</code>") && !shown.contains("concealed"),
                "{shown}"
            );
            assert!(page(&gateway, "/debug/sessions/s").await.text().contains("no texts are recorded"));
            let diff = page(&gateway, &format!("/debug/calls/{id}/diff")).await.text();
            assert!(diff.contains("Nothing was changed") && diff.contains("Its texts are not recorded"), "{diff}");
        }
        gateway.stop().await;
    }
    let gateway = Gateway::with(&provider).start().await;
    assert!(page(&gateway, "/debug/calls?text=nowhere").await.text().contains("No call fits"));
    let mistake = page(&gateway, "/debug/calls?from=yesterday&model=a").await;
    assert_eq!(mistake.status, 400);
    assert!(mistake.text().contains("`from` is no time") && mistake.text().contains("value=\"yesterday\""));
    for path in ["/debug/calls/nothing", "/debug/calls/nothing/diff", "/debug/sessions/nothing"] {
        let answer = page(&gateway, path).await;
        assert_eq!((answer.status, answer.header("content-type")), (404, Some("text/html; charset=utf-8")), "{path}");
        assert!(answer.text().contains("recording.keep"), "{path}");
    }
    gateway.stop().await;
}

fn said_once(session: &str) -> Request {
    said(session, &[json!({ "role": "user", "content": "Hello" })])
}

#[tokio::test]
async fn one_path_is_a_page_and_json() {
    let provider = Provider::start().await;
    let gateway = Gateway::with(&provider)
        .policy(RULES)
        .settings("recording: { level: full }")
        .env("LUTHIEN_ADMIN_TRACE_URL", "https://grafana.example/explore?call={call_id}")
        .start()
        .await;
    let [first, second] = conversation(&provider, &gateway, "s 1/x").await;
    for path in [
        "/debug/calls".to_owned(),
        format!("/debug/calls/{first}"),
        format!("/debug/calls/{first}/diff"),
        "/debug/sessions".to_owned(),
        "/debug/sessions/s%201%2Fx".to_owned(),
    ] {
        let shown = page(&gateway, &path).await;
        assert_eq!((shown.status, shown.header("content-type")), (200, Some("text/html; charset=utf-8")), "{path}");
        assert_eq!(gateway.admin(Request::new("GET", &path)).await.header("content-type"), Some("application/json"));
        let forced = page(&gateway, &format!("{path}?format=json")).await;
        assert_eq!((forced.status, forced.header("content-type")), (200, Some("application/json")), "{path}");
    }
    let list = page(&gateway, "/debug/calls?text=cathedral&limit=1").await.text();
    assert!(list.contains(&second) && !list.contains(&first) && !list.contains("Older"), "{list}");
    let list = page(&gateway, "/debug/calls?session=s+1%2Fx&limit=1").await.text();
    let older =
        list.split("href=\"").find_map(|rest| rest.split('"').next().filter(|href| href.contains("cursor="))).unwrap();
    let older = page(&gateway, &older.replace("&#38;", "&")).await.text();
    assert!(older.contains(&first) && !older.contains(&second) && older.contains("Newest"), "{older}");

    let shown = page(&gateway, &format!("/debug/calls/{first}")).await.text();
    for part in [
        "The call began",
        "Decision on tool call",
        "no-shell",
        "replace",
        "Where does the falcon nest",
        "Be brief.",
        "/debug/sessions/s%201%2Fx",
        &format!("https://grafana.example/explore?call={first}"),
        "1,200 in",
        "The tool rm_tree is not allowed here.",
    ] {
        assert!(shown.contains(part), "no `{part}` in {shown}");
    }
    let asked = page(&gateway, &format!("/debug/diff?call={first}")).await;
    assert_eq!((asked.status, asked.header("location")), (303, Some(&*format!("/debug/calls/{first}/diff"))));
    assert!(page(&gateway, "/debug/diff").await.text().contains("x-luthien-call-id"));
    let diff = page(&gateway, &format!("/debug/calls/{second}/diff")).await.text();
    assert!(diff.contains("<del>falcon</del><ins>sparrow</ins>") && diff.contains("no-falcons"), "{diff}");
    let side = page(&gateway, &format!("/debug/calls/{second}/diff?view=side")).await.text();
    assert!(side.contains("<del>falcon</del>") && side.contains("class=\"removed"), "{side}");
    assert!(page(&gateway, "/").await.text().contains("Last calls"));
    gateway.stop().await;
}

#[tokio::test]
async fn what_hostile_calls_say_is_text() {
    let provider = Provider::start().await;
    let gateway = Gateway::with(&provider).start().await;
    let arguments = json!({ "command": HOSTILE, "rest": "x".repeat(1_000_000), "turned": "\u{202e}abc" }).to_string();
    for dialect in Dialect::ALL {
        let tool = [("call_<b>x</b>", HOSTILE, &*arguments)];
        provider.expect(Script::sse(samples::tools(dialect, &HOSTILE.repeat(3), &tool)));
        let id = call(&gateway, Request::call(dialect, HOSTILE, true).header("x-session-id", HOSTILE)).await;
        recorded(&gateway, &id).await;
        let session = "%3Cscript%3Ealert('pwned')%3C%2Fscript%3E%3Cimg%20src=x%20onerror=alert(1)%3E";
        for path in [
            format!("/debug/calls/{id}"),
            format!("/debug/calls/{id}/diff"),
            "/debug/calls".to_owned(),
            "/debug/sessions".to_owned(),
            format!("/debug/sessions/{session}"),
            format!("/debug/calls?text={session}&model={session}"),
        ] {
            let shown = page(&gateway, &path).await;
            let text = shown.text();
            assert_eq!(shown.status, 200, "{path}");
            assert!(
                !text.contains("<script>alert") && !text.contains("<img src=x") && !text.contains("<b>x"),
                "{path}: {text}"
            );
            assert!(text.len() < 400_000, "{path}: {} bytes", text.len());
        }
        let shown = page(&gateway, &format!("/debug/calls/{id}")).await.text();
        assert!(shown.contains("more are not shown here") && shown.contains("onerror=alert(1)"), "{shown}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn viewers_see_no_way_to_delete_and_have_none() {
    let provider = Provider::start().await;
    let gateway = Gateway::with(&provider)
        .env("LUTHIEN_ADMIN_TOKEN", "{ env: TOKEN }")
        .env("TOKEN", "open-sesame")
        .env("LUTHIEN_ADMIN_VIEWER_TOKEN", "{ env: VIEWER }")
        .env("VIEWER", "look-sesame")
        .start()
        .await;
    provider.expect(Script::json(samples::whole(Dialect::Anthropic, "hi", &CALLS[..1])));
    let answer = gateway.call(crate::harness::client::Version::Http1, said_once("s")).await;
    let path = format!("/debug/calls/{}", answer.header("x-luthien-call-id").unwrap());
    let ask = async |token: &str, method, path: &str| {
        let request = Request::new(method, path).header("accept", "text/html");
        gateway.admin(request.header("authorization", &format!("Bearer {token}"))).await
    };
    while ask("open-sesame", "GET", &path).await.status == 404 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    for path in [&*path, "/debug/sessions/s"] {
        assert!(ask("open-sesame", "GET", path).await.text().contains("data-forget"), "{path}");
        let shown = ask("look-sesame", "GET", path).await;
        assert!(shown.status == 200 && !shown.text().contains("data-forget"), "{path}");
        assert_eq!(ask("look-sesame", "DELETE", path).await.status, 403, "{path}");
    }
    assert_eq!(page(&gateway, &path).await.header("location").map(|to| to.starts_with("/login?")), Some(true));
    assert_eq!(ask("open-sesame", "DELETE", &path).await.status, 200);
    assert_eq!(ask("open-sesame", "GET", &path).await.status, 404);
    gateway.stop().await;
}

#[tokio::test]
async fn a_long_conversation_is_there_at_once() {
    let provider = Provider::start().await;
    let gateway = Gateway::with(&provider).start().await;
    let mut messages = Vec::new();
    let text = "What a person says in a conversation, and what they are told, is often about this long. ".repeat(8);
    for turn in 0..100 {
        messages.push(json!({ "role": "user", "content": format!("{turn} {text}") }));
        answers(&provider, &json!([{ "type": "text", "text": format!("answer {turn}. {text}") }]));
        let answer = gateway.call(crate::harness::client::Version::Http1, said("long", &messages)).await;
        if turn == 99 {
            recorded(&gateway, answer.header("x-luthien-call-id").unwrap()).await;
        }
        messages.push(
            json!({ "role": "assistant", "content": [{ "type": "text", "text": format!("answer {turn}. {text}") }] }),
        );
    }
    let mut best = u128::MAX;
    for _ in 0..3 {
        let began = Instant::now();
        let shown = page(&gateway, "/debug/sessions/long?limit=100").await;
        best = best.min(began.elapsed().as_millis());
        let text = shown.text();
        assert_eq!(text.matches("class=\"exchange\"").count(), 100);
        // What a client repeats stands there once.
        assert_eq!((text.matches("answer 42. ").count(), text.matches(">42 What").count()), (1, 1));
    }
    println!("100 turns in {best} ms");
    // Without optimisation, beside other tests.
    assert!(best < 500, "{best} ms");
    gateway.stop().await;
}
