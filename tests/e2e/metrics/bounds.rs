//! Labels do not grow with what clients send, and the parts of a call are all of it.

use std::{collections::BTreeSet, time::Duration};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    common::streams::Dialect,
    fakes::{provider::Provider, script::Script},
    harness::{
        client::{Request, Version, call_body},
        gateway::Gateway,
        samples,
    },
};

use super::{metrics_after, value};

/// Calls that differ in everything that a client can choose.
async fn chosen_by_clients(gateway: &Gateway, provider: &Provider, wave: u32) -> u32 {
    let mut calls = 0;
    for number in 0..6 {
        let word = format!("w{wave}-{number}");
        for dialect in Dialect::ALL {
            let mut body = call_body(dialect, &format!("model-{word}"), true);
            body["metadata"] = json!({ "user_id": word });
            provider.expect(Script::sse(samples::text(dialect, &["Hello", " you"])));
            let request = Request::post(dialect.path(), body.to_string()).header("x-session-id", &word);
            gateway.call(Version::Http1, request.header("user-agent", &word)).await;
            provider.expect(Script::json("{}").status(404));
            gateway.call(Version::Http1, Request::call(dialect, &format!("no-model-{word}"), false)).await;
            gateway.call(Version::Http1, Request::post(dialect.path(), "no JSON")).await;
            calls += 3;
        }
        gateway.call(Version::Http1, Request::new("GET", &format!("/v1/{word}?q={word}"))).await;
        calls += 1;
    }
    calls
}

#[tokio::test]
async fn labels_do_not_grow_with_what_clients_send() {
    let provider = Provider::start().await;
    let gateway = Gateway::with(&provider)
        .policy("policies: [{ name: upper, type: uppercase }]")
        .settings("telemetry: { metrics: { models: [favourite], most_models: 2 } }")
        .start()
        .await;
    provider.expect(Script::sse(samples::text(Dialect::Anthropic, &["Hello", " you"])));
    gateway.call(Version::Http1, Request::call(Dialect::Anthropic, "favourite", true)).await;
    let mut calls = 1;
    calls += chosen_by_clients(&gateway, &provider, 1).await;
    let series = |metrics: &str| -> BTreeSet<String> {
        let samples = metrics.lines().filter(|line| !line.starts_with('#'));
        samples.map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect()
    };
    let before = series(&metrics_after(&gateway, calls).await);
    calls += chosen_by_clients(&gateway, &provider, 2).await;
    let metrics = metrics_after(&gateway, calls).await;
    let new: Vec<_> = series(&metrics).difference(&before).cloned().collect();
    assert!(new.is_empty(), "more series after more calls of the same kinds: {new:#?}");
    let models: BTreeSet<&str> =
        metrics.split("model=\"").skip(1).map(|rest| rest.split_once('"').unwrap().0).collect();
    assert_eq!(models.into_iter().collect::<Vec<_>>(), ["", "favourite", "model-w1-0", "model-w1-1", "other"]);
    gateway.stop().await;
}

#[tokio::test]
async fn a_calls_work_and_waits_are_its_whole_duration() {
    let pause = Duration::from_secs(1);
    let (provider, judge) = (Provider::start().await, Provider::start().await);
    let verdict = json!({ "probability": 0.1, "explanation": "fine" }).to_string();
    let body = samples::whole(Dialect::OpenaiChat, &verdict, &[]);
    // The judge thinks about its answer, and so does the provider.
    judge.otherwise(Script::json("").pause(pause).then(body));
    let upstreams = format!(
        "- {{ name: fake, url: \"{}\", dialects: [anthropic_messages] }}\n\
         - {{ name: judges, url: \"{}\", dialects: [openai_chat], models: [no-client-asks-for-it], credentials: {{ env: JUDGE_KEY }} }}\n",
        provider.url(),
        judge.url()
    );
    let policy = "policies: [{ name: guard, type: tool_judge, config: { judge: { upstream: judges, model: j } } }]\n";
    let gateway =
        Gateway::with(&provider).upstreams(&upstreams).policy(policy).env("JUDGE_KEY", "sk-judge").start().await;
    let anthropic = Dialect::Anthropic;
    let answer = samples::tools(anthropic, "Working.", &[("a", "read_file", "{}")]);
    provider.expect(Script::stream().pause(pause).then(answer));
    gateway.call(Version::Http1, Request::stream(anthropic)).await;
    let metrics = metrics_after(&gateway, 1).await;
    let wait = |on: &str| value(&metrics, &format!("luthien_call_wait_seconds_sum{{on=\"{on}\"}}"));
    let (own, whole) =
        (value(&metrics, "luthien_overhead_seconds_sum"), value(&metrics, "luthien_call_duration_seconds_sum"));
    let waits: f64 = ["client", "policies", "provider", "record"].map(wait).iter().sum();
    assert!((own + waits - whole).abs() < 1e-6, "{own} and {waits} are not {whole}");
    let pause = pause.as_secs_f64();
    // It works a little while others pause, and no pause is counted as its own work.
    for on in ["provider", "policies"] {
        assert!(wait(on) + own >= pause, "{on}: {metrics}");
    }
    assert!(own > 0.0 && own < pause, "{metrics}");
    assert!(
        value(&metrics, "luthien_policy_duration_seconds_sum{policy=\"guard\",hook=\"on_block\"}") >= pause,
        "{metrics}"
    );
    assert!(value(&metrics, "luthien_chunk_overhead_seconds_count{direction=\"response\"}") >= 1.0, "{metrics}");
    gateway.stop().await;
}

#[tokio::test]
async fn a_slow_upload_is_a_wait_for_the_client() {
    let pause = Duration::from_secs(1);
    let provider = Provider::start().await;
    let gateway = Gateway::with(&provider).start().await;
    let dialect = Dialect::Anthropic;
    provider.expect(Script::sse(samples::text(dialect, &["Hello"])));
    let body = call_body(dialect, "slow-client", true).to_string();
    let (first, rest) = body.split_at(body.len() / 2);
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: gateway\r\ncontent-type: application/json\r\nauthorization: Bearer sk-test-client\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n",
        dialect.path(),
        body.len()
    );
    let mut client = TcpStream::connect(gateway.listen()).await.unwrap();
    client.write_all(format!("{head}{first}").as_bytes()).await.unwrap();
    // Its first half is with the gateway before the pause begins.
    while value(&gateway.admin(Request::new("GET", "/metrics")).await.text(), "luthien_held_bytes") < 1.0 {}
    tokio::time::sleep(pause).await;
    client.write_all(rest.as_bytes()).await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let metrics = metrics_after(&gateway, 1).await;
    let waited = value(&metrics, "luthien_call_wait_seconds_sum{on=\"client\"}");
    let own = value(&metrics, "luthien_overhead_seconds_sum");
    assert!(waited + own >= pause.as_secs_f64() && own < pause.as_secs_f64(), "{metrics}");
    assert!(value(&metrics, "luthien_chunk_overhead_seconds_count{direction=\"request\"}") >= 2.0, "{metrics}");
    gateway.stop().await;
}
