//! Who takes nothing any more, be it provider, Envoy or Luthien: the others are let go.

use std::time::Duration;

use tokio::{
    net::{TcpSocket, TcpStream},
    task::JoinSet,
};

use super::{MIB, quiet};
use crate::{
    common::streams::Dialect,
    fakes::{
        provider::Provider,
        script::{Gate, Script},
    },
    harness::{
        SOON,
        client::{self, End, Request, Version},
        errors,
        gateway::{Builder, Gateway},
        samples, within,
    },
};

/// Far more than any window, and than the system keeps of a connection.
const LARGE: usize = 12 * MIB as usize;
/// Longer than Envoy waits for a sign of life, and shorter than anything else that would end a call.
const LONG: Duration = Duration::from_mins(2);

fn large(dialect: Dialect) -> Request {
    let mut body = client::call_body(dialect, "m", true);
    body["metadata"] = serde_json::json!({ "padding": "x".repeat(LARGE) });
    Request::post(dialect.path(), body.to_string())
}

/// A provider that takes connections and never reads; its URL. It lives as long as the set.
fn deaf() -> (String, JoinSet<()>) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(16 << 10).expect("a small buffer");
    socket.bind(([127, 0, 0, 1], 0).into()).expect("a loopback port is free");
    let listener = socket.listen(64).expect("it listens");
    let url = format!("http://{}", listener.local_addr().expect("a bound listener has an address"));
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections: Vec<TcpStream> = Vec::new();
        loop {
            let (connection, _) = listener.accept().await.expect("the listener accepts");
            connections.push(connection);
        }
    });
    (url, tasks)
}

/// Envoy takes the whole request from Luthien, whatever the provider takes of it.
#[tokio::test]
async fn a_provider_that_never_reads_becomes_a_504() {
    let (url, _deaf) = deaf();
    let settings = "timeouts: { first_byte: 1s }\nlimits: { held_total: 40MiB }";
    let gateway = Builder::at(&url).settings(settings).start().await;
    for (version, dialect) in Version::BOTH.into_iter().cycle().zip(Dialect::ALL) {
        let answer = gateway.call(version, large(dialect)).await;
        assert_eq!(answer.status, 504, "{}", answer.text());
        assert!(errors::in_body(dialect, &answer).message.contains("timeouts.first_byte"));
        quiet(&gateway).await;
    }
    gateway.stop().await;
}

/// Nothing of Luthien's can reach such an Envoy; its calls end all the same, and what they hold is free for others.
#[tokio::test]
async fn an_envoy_that_stands_still_keeps_nothing_of_luthien() {
    let (provider, remote) = (Provider::start().await, Provider::start().await);
    let (asked, decided) = (Gate::new(), Gate::new());
    remote.otherwise(Script::json("{}").wait_at_first(&asked, &decided));
    let dialect = Dialect::OpenaiChat;
    provider.otherwise(Script::sse(samples::text(dialect, &["Hello"])));
    let settings = format!(
        "timeouts: {{ first_byte: 1s, total: 2s }}\nremotes: [{{ name: far, protocol: webhook, url: \"{}\", secret: {{ env: SECRET }} }}]",
        remote.url()
    );
    let policy = "policies: [{ name: asks, type: remote, on_fault: open, timeout: 1m, config: { remote: far, hooks: [request] } }]";
    let gateway = Gateway::with(&provider).settings(&settings).policy(policy).env("SECRET", "shared").start().await;
    let mut calls = JoinSet::new();
    let address = gateway.listen();
    calls.spawn(
        async move { client::patient(Version::Http1, address, large(dialect)).await.map(|answer| answer.status) },
    );
    within(SOON, "the remote policy is asked", asked.passed()).await;
    gateway.envoy().pause().await;
    decided.open();
    // More of the request than Envoy's window waits here.
    for name in ["luthien_calls_in_flight", "luthien_held_bytes"] {
        gateway.metric_is(name, |value| value == 0.0).await;
    }
    assert_eq!(provider.requests().len(), 0);
    gateway.envoy().resume();
    let status = within(SOON, "the call's end", calls.join_next()).await.expect("it was made").expect("it ran");
    assert_ne!(status, Ok(200));
    let answer = gateway.call(Version::Http2, Request::stream(dialect)).await;
    assert_eq!((answer.status, answer.end), (200, End::Clean));
    quiet(&gateway).await;
    gateway.stop().await;
}

/// With every call that it refuses, Envoy writes to its log, which nobody reads then.
#[tokio::test]
async fn a_luthien_that_stands_still_is_found_and_calls_are_refused() {
    const CALLS: usize = 400;
    let provider = Provider::start().await;
    let dialect = Dialect::OpenaiChat;
    provider.otherwise(Script::sse(samples::text(dialect, &["Hello"])));
    let gateway = Gateway::with(&provider).start().await;
    let made = gateway.call(Version::Http1, Request::stream(dialect)).await;
    assert_eq!(made.status, 200);
    gateway.freeze();
    let mut calls = JoinSet::new();
    for number in 0..CALLS {
        let (version, address) = (Version::BOTH[number % 2], gateway.listen());
        calls.spawn(async move {
            let answer = within(LONG, "a refusal", client::patient(version, address, Request::stream(dialect))).await;
            answer.expect("an answer").finish().await
        });
    }
    while let Some(answer) = calls.join_next().await {
        let answer = answer.expect("every call ends");
        assert_eq!(answer.status, 503, "{}", answer.text());
    }
    gateway.thaw();
    assert_eq!(provider.requests().len(), 1, "nothing passed without Luthien");
    let served = async { while gateway.call(Version::Http1, Request::stream(dialect)).await.status != 200 {} };
    within(SOON, "calls are served again", served).await;
    // What Envoy said meanwhile is not lost.
    let logged = async {
        while gateway.output().matches("ext_proc").count() < CALLS {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within(SOON, "Envoy's log", logged).await;
    quiet(&gateway).await;
    gateway.stop().await;
}
