//! The pages in a real browser. Their pictures are in `target/screens/`.

use serde_json::json;

use crate::{
    common::streams::Dialect,
    fakes::{provider::Provider, script::Script},
    harness::{
        browser::{Browser, Look},
        client::{Request, Version},
        gateway::Gateway,
        samples,
    },
};

const POLICY: &str = "\
# What may leave, and what may not.
policies:
  - name: no-falcons
    type: blocked_content
    config: { patterns: [falcon], on_match: refuse }
  - name: loud
    type: uppercase
    mode: shadow
    on_fault: open
    match: { model: [\"claude-*\", \"gpt-*\"], header: { x-team: \"^(red|blue)$\" } }
";

/// Text that does harm where it is taken for HTML, or where nothing breaks or isolates it.
fn hostile() -> String {
    let long = "x".repeat(4000);
    format!("<script>alert(1)</script><img src=x onerror=alert(2)>\"'\u{202e}\u{5e9}\u{5dc}\u{5d5}\u{5dd}{long}")
}

async fn call(gateway: &Gateway, model: &str) -> String {
    let answer = gateway.call(Version::Http1, Request::call(Dialect::OpenaiChat, model, true)).await;
    answer.header("x-luthien-call-id").unwrap().to_owned()
}

#[tokio::test]
async fn the_monitor_shows_calls_live_and_filters_them() {
    let provider = Provider::start().await;
    provider.otherwise(Script::sse(samples::text(Dialect::OpenaiChat, &["a falcon"])));
    let mut gateway = Gateway::with(&provider).policy(POLICY).start().await;
    let mut browser = Browser::start(&gateway.admin_url()).await;
    browser.goto("/activity/monitor").await;
    browser.wait("#connection[data-state=live]").await;
    browser.wait("#nothing").await;
    let id = call(&gateway, "model-one").await;
    browser.wait("tr.event:has-text('call.closed')").await;
    let closed = browser.text("tr.event:has-text('call.closed')").await;
    assert!(closed.contains("refused") && closed.contains("model-one"), "{closed}");
    let decided = browser.text("tr.event:has-text('policy.decided')").await;
    assert!(decided.contains("no-falcons") && decided.contains("refuse"), "{decided}");
    assert_eq!(browser.count(&format!("tr.event a[href='/debug/calls/{id}']")).await, browser.count("tr.event").await);

    // The filters stand in the address, and are those of the stream.
    browser.fill("input[name=model]", "model-t*").await;
    browser.fill("input[name=event_type]", "call.*,request.received").await;
    browser.press("Enter").await;
    browser.wait("#connection[data-state=live]").await;
    assert_eq!(browser.at().await, "/activity/monitor?event_type=call.*%2Crequest.received&model=model-t*");
    assert_eq!(browser.count("tr.event").await, 0);
    call(&gateway, "model-one").await;
    call(&gateway, "model-two").await;
    browser.wait("tr.event:has-text('call.closed')").await;
    let rows = browser.texts("tr.event .kind").await;
    assert_eq!(rows, ["call.closed", "request.received"]);
    assert!(browser.texts("tr.event .model").await.iter().all(|model| model == "model-two"));

    // By keys: pause, which holds back what comes; details; on again.
    browser.press("Escape").await;
    browser.press("p").await;
    browser.wait("#connection[data-state=paused]").await;
    call(&gateway, "model-three").await;
    browser.wait("#pause:has-text('2 new')").await;
    assert_eq!(browser.count("tr.event").await, 2);
    browser.press("j").await;
    assert!(browser.focused().await.contains("Details of call.closed"));
    browser.press("Enter").await;
    let details = browser.text("tr.detail pre").await;
    assert!(details.contains("\"outcome\": \"refused\""), "{details}");
    browser.press("p").await;
    browser.wait("tr.event:has-text('model-three')").await;
    browser.press("c").await;
    browser.wait("#nothing").await;

    // A filter that is none is explained.
    browser.goto("/activity/monitor?event_type=calls").await;
    browser.wait("#mistake").await;
    assert!(browser.text("#mistake").await.contains("call.opened"));
    browser.goto("/activity/monitor").await;
    browser.wait("#connection[data-state=live]").await;
    browser.nothing_wrong().await;
    gateway.kill9().await;
    browser.wait("#connection[data-state=reconnecting]").await;
}

#[tokio::test]
async fn a_flood_is_shown_as_far_as_a_page_can_hold_it() {
    let provider = Provider::start().await;
    provider.otherwise(Script::sse(samples::text(Dialect::OpenaiChat, &["x"])));
    let gateway = Gateway::with(&provider).policy(POLICY).start().await;
    let mut browser = Browser::start(&gateway.admin_url()).await;
    browser.goto("/activity/monitor").await;
    browser.wait("#connection[data-state=live]").await;
    let flood = async |calls: usize| {
        for _ in 0..calls / 8 {
            futures::future::join_all((0..8).map(|_| call(&gateway, "gpt-many"))).await;
        }
    };
    flood(160).await;
    // While it is paused, more comes than it keeps.
    browser.click("#pause").await;
    flood(160).await;
    browser.click("#pause:has-text('new')").await;
    browser.wait("tr.gap:has-text('events are missing here')").await;
    flood(8).await;
    let last = call(&gateway, "gpt-last").await;
    browser.wait(&format!("tr.event:has-text('call.closed') a[href='/debug/calls/{last}']")).await;
    assert_eq!(browser.count("tbody > tr").await, 500);
    browser.nothing_wrong().await;
    gateway.stop().await;
}

#[tokio::test]
async fn hostile_text_does_no_harm() {
    let provider = Provider::start().await;
    let name = json!("<img src=x onerror=alert(3)>\u{202e}wwwwwwwwwwwwwwwwwwwwwwwwww");
    let policy = format!("policies: [{{ name: {name}, type: uppercase, mode: shadow, match: {{ model: \"*\" }} }}]");
    let gateway = Gateway::with(&provider).policy(&policy).start().await;
    let mut browser = Browser::start(&gateway.admin_url()).await;
    for look in Look::ALL {
        browser.look(look).await;
        browser.goto("/activity/monitor").await;
        browser.wait("#connection[data-state=live]").await;
        provider.expect(Script::sse(samples::text(Dialect::OpenaiChat, &[&hostile()])));
        call(&gateway, &hostile()).await;
        browser.wait("tr.event:has-text('call.closed')").await;
        browser.click("tr.event .toggle >> nth=1").await;
        browser.wait("tr.detail pre").await;
        browser.looks_well(&format!("monitor-hostile-{}", look.name)).await;
        browser.goto("/policies").await;
        browser.looks_well(&format!("policies-hostile-{}", look.name)).await;
        assert_eq!(browser.count("main img, main script").await, 0);
    }
    gateway.stop().await;
}

#[tokio::test]
async fn people_log_in_and_out() {
    let provider = Provider::start().await;
    let gateway = Gateway::with(&provider)
        .env("LUTHIEN_ADMIN_TOKEN", "{ env: TOKEN }")
        .env("TOKEN", "open-sesame")
        .env("LUTHIEN_ADMIN_VIEWER_TOKEN", "{ env: VIEWER }")
        .env("VIEWER", "look-sesame")
        .start()
        .await;
    let mut browser = Browser::start(&gateway.admin_url()).await;
    for look in Look::ALL {
        browser.look(look).await;
        browser.goto("/activity/monitor?model=a*").await;
        assert_eq!(browser.at().await, "/login?next=%2Factivity%2Fmonitor%3Fmodel%3Da*");
        browser.looks_well(&format!("login-{}", look.name)).await;
        browser.fill("input[name=token]", "wrong").await;
        browser.press("Enter").await;
        browser.wait("[role=alert]:has-text('not the token')").await;
        browser.looks_well(&format!("login-wrong-{}", look.name)).await;
        browser.fill("input[name=token]", "look-sesame").await;
        browser.press("Enter").await;
        browser.wait("#connection[data-state=live]").await;
        assert_eq!(browser.at().await, "/activity/monitor?model=a*");
        assert_eq!(browser.text(".topbar .badge").await, "viewer");
        browser.looks_well(&format!("monitor-empty-{}", look.name)).await;
        browser.click("text=Sign out").await;
        browser.wait("input[name=token]").await;
        assert_eq!(browser.at().await, "/login");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn pages_look_well_in_the_dark_in_the_light_and_on_a_phone() {
    let provider = Provider::start().await;
    let gateway = Gateway::with(&provider).policy(POLICY).start().await;
    let mut browser = Browser::start(&gateway.admin_url()).await;
    browser.goto("/").await;
    browser.wait("h2:has-text('No calls yet')").await;
    browser.looks_well("overview-empty").await;
    for look in Look::ALL {
        browser.look(look).await;
        browser.goto("/activity/monitor").await;
        browser.wait("#connection[data-state=live]").await;
        for (model, text) in [("claude-sonnet-4-5", "hello"), ("gpt-5", "a falcon")] {
            provider.expect(Script::sse(samples::text(Dialect::OpenaiChat, &[text])));
            let red = Request::call(Dialect::OpenaiChat, model, true).header("x-team", "red");
            gateway.call(Version::Http1, red).await;
            browser.wait(&format!("tr.event:has-text('call.closed'):has-text('{model}')")).await;
        }
        browser.looks_well(&format!("monitor-{}", look.name)).await;
        for (path, name) in [("/", "overview"), ("/policies", "policies"), ("/nothing", "not-found")] {
            browser.goto(path).await;
            browser.wait("h1").await;
            browser.looks_well(&format!("{name}-{}", look.name)).await;
        }
        // From the keyboard alone: past the navigation into the page.
        browser.press("Tab").await;
        assert!(browser.focused().await.contains("skip-link"));
    }
    gateway.stop().await;
}
