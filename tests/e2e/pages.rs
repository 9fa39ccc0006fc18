//! The pages, as they come over the wire.

use std::fs;

use crate::{
    fakes::provider::Provider,
    harness::{
        client::{Answer, Request},
        gateway::Gateway,
    },
};

const HOSTILE: &str = "<script>alert('pwned')</script>";

async fn page(gateway: &Gateway, path: &str) -> Answer {
    gateway.admin(Request::new("GET", path).header("accept", "text/html")).await
}

#[tokio::test]
async fn every_answer_forbids_what_it_does_not_need() {
    let provider = Provider::start().await;
    let gateway = Gateway::with(&provider).start().await;
    for (path, status) in [
        ("/", 200),
        ("/policies", 200),
        ("/activity/monitor", 200),
        ("/nothing", 404),
        ("/readyz", 200),
        ("/metrics", 200),
    ] {
        let answer = page(&gateway, path).await;
        assert_eq!(answer.status, status, "{path}");
        let policy = answer.header("content-security-policy").unwrap();
        for part in ["default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"] {
            assert!(policy.split("; ").any(|given| given == part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "same-origin"),
            ("cache-control", "no-store"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{path}: {name}");
        }
    }
    let text = page(&gateway, "/").await.text();
    let assets: Vec<&str> = text.split('"').filter(|part| part.starts_with("/assets/")).collect();
    assert!(assets.len() >= 4, "{text}");
    for asset in assets {
        let answer = gateway.admin(Request::new("GET", asset)).await;
        assert_eq!((answer.status, answer.header("x-content-type-options")), (200, Some("nosniff")), "{asset}");
        assert_eq!(answer.header("cache-control"), Some("public, max-age=31536000, immutable"), "{asset}");
        let old = gateway.admin(Request::new("GET", asset.split('?').next().unwrap())).await;
        assert_eq!(old.header("cache-control"), Some("no-cache"), "{asset}");
        let known = Request::new("GET", asset).header("if-none-match", old.header("etag").unwrap());
        assert_eq!(gateway.admin(known).await.status, 304, "{asset}");
    }
    assert_eq!(gateway.admin(Request::new("GET", "/assets/../Cargo.toml")).await.status, 404);
    assert_eq!(gateway.admin(Request::new("GET", "/assets/%2e%2e%2fCargo.toml")).await.status, 404);
    gateway.stop().await;
}

#[tokio::test]
async fn the_policies_page_shows_what_is_in_force_and_why_another_is_not() {
    let provider = Provider::start().await;
    let policy = format!(
        "policies:\n  - name: \"{HOSTILE}\"\n    type: uppercase\n    mode: shadow\n    on_fault: open\n    timeout: 3s\n    \
         match: {{ model: [\"{HOSTILE}*\", b], header: {{ x-team: \"^red$\" }}, when: call.stream }}\n"
    );
    let policy = format!("# a comment; token sk-ant-0123456789abcdef\n{policy}");
    let gateway = Gateway::with(&provider).policy(&policy).start().await;
    let shown = page(&gateway, "/policies").await.text();
    assert!(!shown.contains("<script>alert"), "{shown}");
    for part in
        ["alert(&#39;pwned&#39;)", "uppercase", "shadow", "open", "3s", "x-team", "^red$", "call.stream", "a comment"]
    {
        assert!(shown.contains(part), "no `{part}` in {shown}");
    }
    assert!(!shown.contains("sk-ant-0123456789abcdef"), "{shown}");
    let told = gateway.admin(Request::new("GET", "/policies")).await.json();
    let version = gateway.admin(Request::new("GET", "/version")).await.json();
    assert_eq!(told["hash"], version["rules"]);
    let first = &told["policies"][0];
    assert_eq!((&first["name"], &first["mode"]), (&HOSTILE.into(), &"shadow".into()));
    assert_eq!((&first["on_fault"], &first["timeout"]), (&"open".into(), &"3s".into()));
    assert_eq!(first["match"][0]["value"], format!("{HOSTILE}*, b"));

    fs::write(gateway.rules(), format!("policies: [{{ name: a, type: \"{HOSTILE}\" }}]\n")).unwrap();
    gateway.readyz("the refusal", |state| state["rules"]["last_error"].is_string()).await;
    let refused = page(&gateway, "/policies").await.text();
    assert!(refused.contains("was refused") && refused.contains("there is no policy type"), "{refused}");
    assert!(refused.contains("x-team") && !refused.contains("<script>alert"), "{refused}");
    assert!(page(&gateway, "/").await.text().contains("has a mistake"));
    gateway.stop().await;
}

#[tokio::test]
async fn errors_are_pages_for_people_and_json_for_programs() {
    let provider = Provider::start().await;
    let gateway = Gateway::with(&provider).start().await;
    let answer = page(&gateway, "/nothing").await;
    assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(answer.text().contains("Not Found"));
    let answer = gateway.admin(Request::new("GET", "/nothing")).await;
    assert!(answer.json()["error"].as_str().unwrap().contains("/activity/monitor"));
    let refused = gateway.admin(Request::new("GET", "/").header("host", "evil").header("accept", "text/html")).await;
    assert_eq!(refused.status, 403);
    assert!(refused.text().contains("admin.token"), "{}", refused.text());
    gateway.stop().await;
}
