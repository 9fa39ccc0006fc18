//! The admin and probe listeners.

use std::net::TcpListener;

use crate::{
    common::streams::Dialect,
    fakes::{provider::Provider, script::Script},
    harness::{
        SOON,
        client::{self, Request, Version},
        gateway::Gateway,
        samples, within,
    },
};

#[tokio::test]
async fn health_readiness_version_and_metrics() {
    let provider = Provider::start().await;
    let gateway = Gateway::with(&provider).policy("policies: [{ name: upper, type: uppercase }]").start().await;
    let get = |path: &str| Request::new("GET", path);
    assert_eq!(gateway.admin(get("/healthz")).await.text(), "ok\n");
    let ready = gateway.admin(get("/readyz")).await;
    assert_eq!((ready.status, &ready.json()["ready"]), (200, &true.into()));
    assert_eq!(ready.json()["rules"]["last_error"], serde_json::Value::Null);
    let version = gateway.admin(get("/version")).await.json();
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(version["rules"], ready.json()["rules"]["hash"]);
    assert_eq!(gateway.admin(get("/nothing")).await.status, 404);

    for dialect in Dialect::ALL {
        provider.expect(Script::sse(samples::text(dialect, &["Hello", " you"])));
        assert!(gateway.call(Version::Http1, Request::stream(dialect)).await.text().contains("HELLO"));
        provider.expect(Script::stream().reset());
        gateway.call(Version::Http1, Request::stream(dialect)).await;
    }
    // A call is closed a moment after its client has the end of its answer.
    let closed = async {
        loop {
            let metrics = gateway.admin(get("/metrics").header("accept", "application/openmetrics-text")).await;
            if metrics.text().contains("luthien_calls_in_flight 0") {
                return metrics;
            }
        }
    };
    let metrics = within(SOON, "the end of every call", closed).await;
    assert!(metrics.header("content-type").is_some_and(|kind| kind.starts_with("application/openmetrics-text")));
    let text = metrics.text();
    for line in [
        "luthien_calls_total{dialect=\"openai_chat\",upstream=\"fake\",model=\"test-model\",outcome=\"completed\"} 1",
        "luthien_calls_total{dialect=\"openai_responses\",upstream=\"fake\",model=\"test-model\",outcome=\"completed\"} 1",
        "luthien_calls_total{dialect=\"anthropic_messages\",upstream=\"fake\",model=\"test-model\",outcome=\"completed\"} 1",
        "luthien_policy_decisions_total{policy=\"upper\",on=\"text\",decision=\"edit\",mode=\"enforce\"} ",
        "luthien_held_bytes 0",
        "luthien_time_to_first_byte_seconds_count{upstream=\"fake\",model=\"test-model\"} 3",
        "luthien_policy_duration_seconds_count{policy=\"upper\",hook=\"on_delta\"} ",
        "process_resident_memory_bytes ",
        "# EOF",
    ] {
        assert!(text.contains(line), "no `{line}` in\n{text}");
    }
    let older = gateway.admin(get("/metrics")).await;
    assert_eq!(older.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert!(older.text().contains("# TYPE luthien_calls_total counter\n") && !older.text().contains("# EOF"));
    gateway.stop().await;
}

#[tokio::test]
async fn a_token_is_asked_for_and_the_probe_listener_needs_none() {
    let provider = Provider::start().await;
    let probe = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gateway = Gateway::with(&provider)
        .settings(&format!("probe: {{ listen: \"{probe}\" }}"))
        .env("LUTHIEN_ADMIN_TOKEN", "{ env: TOKEN }")
        .env("TOKEN", "open-sesame")
        .start()
        .await;
    let get = |path: &str| Request::new("GET", path);
    assert_eq!(gateway.admin(get("/readyz")).await.status, 200);
    assert_eq!(gateway.admin(get("/metrics")).await.status, 401);
    assert_eq!(gateway.admin(get("/metrics").header("authorization", "Bearer wrong")).await.status, 401);
    assert_eq!(gateway.admin(get("/metrics").header("authorization", "Bearer open-sesame")).await.status, 200);
    for (path, status) in [("/healthz", 200), ("/readyz", 200), ("/metrics", 200), ("/version", 404)] {
        let answer = client::send(Version::Http1, probe, get(path)).await.finish().await;
        assert_eq!(answer.status, status, "{path}");
    }
    assert!(!gateway.output().contains("open-sesame") && !gateway.state().contains("open-sesame"));
    gateway.stop().await;
}

#[tokio::test]
async fn the_log_level_is_changed_while_it_runs_by_admins_only() {
    let provider = Provider::start().await;
    provider.otherwise(Script::sse(samples::text(Dialect::OpenaiChat, &["Hello"])));
    let gateway = Gateway::with(&provider)
        .policy("policies: [{ name: upper, type: uppercase }]")
        .settings("log: { format: json, level: warn }")
        .env("ADMIN", "of-the-admin")
        .env("VIEWER", "of-the-viewer")
        .env("LUTHIEN_ADMIN_TOKEN", "{ env: ADMIN }")
        .env("LUTHIEN_ADMIN_VIEWER_TOKEN", "{ env: VIEWER }")
        .start()
        .await;
    let ask = |token: &str, level: Option<&str>| {
        let request = match level {
            Some(level) => Request { method: "PUT", ..Request::post("/log/level", level.to_owned()) },
            None => Request::new("GET", "/log/level"),
        };
        request.header("authorization", &format!("Bearer {token}"))
    };
    let decisions = |gateway: &Gateway| gateway.output().matches("policy decided").count();
    let call = || gateway.call(Version::Http1, Request::stream(Dialect::OpenaiChat));
    call().await;
    assert_eq!((decisions(&gateway), gateway.output().matches("\"message\":\"call\"").count()), (0, 0));

    assert_eq!(gateway.admin(ask("of-the-admin", None)).await.json()["level"], "warn");
    let debug = r#"{"level":"luthien=debug,warn"}"#;
    assert_eq!(gateway.admin(ask("of-the-viewer", Some(debug))).await.status, 403);
    for wrong in [r#"{"level":"luthien=loud"}"#, r#"{"level":""}"#, r#"{"levle":"info"}"#, "info"] {
        let answer = gateway.admin(ask("of-the-admin", Some(wrong))).await;
        assert_eq!(answer.status, 400, "{wrong}: {}", answer.text());
    }
    assert_eq!(gateway.admin(ask("of-the-admin", None)).await.json()["level"], "warn");

    let answer = gateway.admin(ask("of-the-admin", Some(debug))).await;
    assert_eq!((answer.status, &answer.json()["level"]), (200, &"luthien=debug,warn".into()));
    call().await;
    within(SOON, "the line of the call", async {
        while !gateway.output().contains("\"message\":\"call\"") {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
    assert_eq!(decisions(&gateway), 1);
    gateway.stop().await;
}
