//! More calls than there is room for: they are turned away in the client's dialect, for little memory, and no longer than there
//! is no room.

use std::{sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::Semaphore,
    task::JoinSet,
};

use super::{growth, peak, quiet, span};
use crate::{
    common::streams::Dialect,
    fakes::{
        provider::Provider,
        script::{Gate, Script},
    },
    harness::{
        client::{self, Answer, End, Place, Request, Version},
        errors,
        gateway::Gateway,
        samples, within,
    },
};

/// Calls that there is room for.
const ROOM: usize = 40;
/// Long enough for a flood on a busy machine.
const LONG: Duration = Duration::from_mins(2);

/// Fails unless the answer tells a client that there is no room, and when to come again.
fn is_shed(dialect: Dialect, answer: &Answer, limit: &str) {
    assert_eq!(answer.status, 503, "{}", answer.text());
    let told = errors::in_body(dialect, answer);
    assert!(told.message.contains(limit), "{told:?}");
    assert_eq!(told.code.as_deref().unwrap_or("gateway_overloaded"), "gateway_overloaded", "{told:?}");
    let after: u32 = answer.header("retry-after").expect("retry-after").parse().expect("seconds");
    assert!(after >= 1);
}

/// A small call with so many bytes more.
fn padded(dialect: Dialect, model: &str, bytes: usize) -> Request {
    let mut body = client::call_body(dialect, model, true);
    // Not into what Responses says again in its answer, which counts twice.
    let text = match dialect {
        Dialect::OpenaiResponses => &mut body["input"],
        Dialect::Anthropic | Dialect::OpenaiChat => &mut body["messages"][0]["content"],
    };
    *text = "x".repeat(bytes).into();
    Request::post(dialect.path(), body.to_string())
}

/// Calls of every dialect over both versions, all at once, each with the bytes that `size` says.
fn flood(gateway: &Gateway, count: usize, size: impl Fn(usize) -> usize) -> JoinSet<(Dialect, Answer)> {
    let mut calls = JoinSet::new();
    // Connections that are being made; a backlog that overflows is the system's business.
    let connecting = Arc::new(Semaphore::new(500));
    for number in 0..count {
        let (address, dialect, connecting) = (gateway.listen(), Dialect::ALL[number % 3], Arc::clone(&connecting));
        let (version, request) = (Version::BOTH[number / 3 % 2], padded(dialect, "m", size(number)));
        calls.spawn(async move {
            let turn = connecting.acquire().await.expect("never closed");
            let response = client::send(version, address, request).await;
            drop(turn);
            (dialect, response.finish().await)
        });
    }
    calls
}

#[tokio::test]
async fn a_flood_beyond_the_calls_is_shed_and_leaves_nothing() {
    let provider = Provider::start().await;
    let settings = format!("limits: {{ calls: {ROOM} }}");
    let gateway = Gateway::with(&provider).settings(&settings).start().await;
    let gate = Gate::new();
    let pieces = |dialect| {
        let (text, open) = samples::Text::open(dialect, &["Hello"]);
        (open, text.close())
    };
    let mut admitted = JoinSet::new();
    for number in 0..ROOM {
        let dialect = Dialect::ALL[number % 3];
        let (open, close) = pieces(dialect);
        provider.on_model(dialect.path(), Script::sse(open.clone()).wait(&gate).then(close.clone()));
        let request = Request::call(dialect, dialect.path(), true);
        let response = gateway.send(Version::BOTH[number % 2], request).await;
        admitted.spawn(async move {
            let answer = response.finish().await;
            assert_eq!((answer.status, &answer.end), (200, &End::Clean));
            assert_eq!(answer.text(), open + &close);
        });
    }
    assert_eq!(provider.requests().len(), ROOM);
    let before = gateway.usage();
    let count = if span().is_some() { 6000 } else { 1500 };
    // One in ten is large, so that most of its body is still on its way when it is refused.
    let mut calls = flood(&gateway, count, |number| if number % 10 == 0 { 2 << 20 } else { 100 });
    let all = async {
        while let Some(call) = calls.join_next().await {
            let (dialect, answer) = call.expect("a call was answered");
            is_shed(dialect, &answer, "limits.calls");
        }
    };
    let ((), most) = peak(&gateway, within(LONG, "the flood", all)).await;
    let [luthien, envoy] = growth(before, most);
    println!("{count} calls were shed: Luthien took {luthien} MiB more, Envoy {envoy} MiB");
    assert!(luthien <= 64 && envoy <= 512, "Luthien took {luthien} MiB more, Envoy {envoy} MiB");
    assert_eq!(gateway.metric("luthien_limited_total{limit=\"limits.calls\"}").await as usize, count);
    assert_eq!(provider.requests().len(), ROOM, "what was shed reached the provider");
    gate.open();
    while admitted.join_next().await.transpose().expect("who was admitted was served").is_some() {}
    quiet(&gateway).await;
    for dialect in Dialect::ALL {
        let answer = gateway.call(Version::Http1, Request::call(dialect, dialect.path(), true)).await;
        assert_eq!((answer.status, answer.end), (200, End::Clean));
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_flood_of_large_requests_is_shed_at_what_may_be_held() {
    const SIZE: usize = 4 << 20;
    let provider = Provider::start().await;
    provider.forget();
    for dialect in Dialect::ALL {
        provider.on_model(dialect.path(), Script::sse(samples::text(dialect, &["Hello"])));
        provider.on_model("m", Script::json("{}"));
    }
    let settings = "limits: { request_body: 8MiB, response_body: 8MiB, event: 4MiB, held: 8MiB, held_total: 32MiB }";
    let gateway = Gateway::with(&provider).settings(settings).start().await;
    let before = gateway.usage();
    let count = if span().is_some() { 1000 } else { 200 };
    let mut calls = flood(&gateway, count, |_| SIZE);
    let (mut served, mut shed) = (0, 0);
    let all = async {
        while let Some(call) = calls.join_next().await {
            let (dialect, answer) = call.expect("a call was answered");
            if answer.status == 200 {
                served += 1;
            } else {
                is_shed(dialect, &answer, "held");
                shed += 1;
            }
        }
    };
    let ((), most) = peak(&gateway, within(LONG, "the flood", all)).await;
    let [luthien, envoy] = growth(before, most);
    println!("{served} large calls were served, {shed} shed: Luthien took {luthien} MiB more, Envoy {envoy} MiB");
    assert!(served > 0 && shed > 0);
    // Beyond what is held, what is on its way: a window for each of Envoy's connections to Luthien.
    assert!(luthien <= 512 && envoy <= 5 * count as u64, "Luthien took {luthien} MiB more, Envoy {envoy} MiB");
    quiet(&gateway).await;
    for dialect in Dialect::ALL {
        let answer = gateway.call(Version::Http2, padded(dialect, dialect.path(), SIZE)).await;
        assert_eq!((answer.status, answer.end), (200, End::Clean));
    }
    gateway.stop().await;
}

/// Each of them brings half of what it announces, which would fit twice as often; only the others' halves would not.
#[tokio::test]
async fn uploads_that_were_admitted_are_never_starved_by_others() {
    const SIZE: usize = 4 << 20;
    const FIT: usize = 8;
    let provider = Provider::start().await;
    provider.otherwise(Script::json("{}"));
    let limit = FIT * SIZE + SIZE / 2;
    let settings =
        format!("limits: {{ request_body: 8MiB, response_body: 8MiB, event: 4MiB, held: 8MiB, held_total: {limit}B }}");
    let gateway = Gateway::with(&provider).settings(&settings).start().await;
    let (mut calls, open, count) = (JoinSet::new(), Gate::new(), 60);
    for number in 0..count {
        let (address, dialect) = (gateway.listen(), Dialect::ALL[number % 3]);
        let (version, request) = (Version::BOTH[number / 3 % 2], padded(dialect, "m", SIZE));
        let length = request.body.len().to_string();
        let request = request.hold(Place::Body, &Gate::new(), &open);
        let request = if version == Version::Http2 { request.header("content-length", &length) } else { request };
        calls.spawn(async move { (dialect, client::send(version, address, request).await.finish().await) });
    }
    let shed = async {
        for _ in FIT..count {
            let (dialect, answer) = calls.join_next().await.expect("more are shed").expect("a call was answered");
            is_shed(dialect, &answer, "limits.held_total");
        }
    };
    within(LONG, "the others", shed).await;
    gateway.metric_is("luthien_calls_in_flight", |value| value as usize == FIT).await;
    open.open();
    while let Some(call) = calls.join_next().await {
        let (_, answer) = call.expect("a call was answered");
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    assert_eq!(provider.requests().len(), FIT);
    quiet(&gateway).await;
    gateway.stop().await;
}

/// Beyond what Envoy takes, connections are closed; those that are there go on.
#[tokio::test]
async fn connections_beyond_what_envoy_takes_are_closed_and_disturb_nobody() {
    const MOST: usize = 4 * ROOM + 4096;
    let provider = Provider::start().await;
    provider.otherwise(Script::sse(samples::text(Dialect::OpenaiChat, &["Hello"])));
    let gateway = Gateway::with(&provider).settings(&format!("limits: {{ calls: {ROOM} }}")).start().await;
    let before = gateway.usage();
    let mut connections = Vec::new();
    for _ in 0..MOST + 100 {
        connections.push(TcpStream::connect(gateway.listen()).await.expect("the system takes it"));
    }
    // Of the last ones, Envoy closes as many as there are too many.
    let closed = async |connections: &[TcpStream]| {
        let mut closed = 0;
        for connection in connections {
            closed += usize::from(tokio::time::timeout(Duration::from_millis(1), connection.readable()).await.is_ok());
        }
        closed
    };
    let mut seen = 0;
    let all = async {
        while seen < 100 {
            seen = closed(&connections[MOST - 100..]).await;
        }
    };
    within(LONG, "connections that are closed", all).await;
    assert_eq!(closed(&connections[..MOST - 100]).await, 0, "a connection that had been taken was closed");
    let [luthien, envoy] = growth(before, gateway.usage());
    println!("{MOST} idle connections: Envoy took {envoy} MiB more, Luthien {luthien} MiB");
    assert!(envoy <= 256 && luthien <= 8, "Envoy took {envoy} MiB more, Luthien {luthien} MiB");
    // One of those that were taken is as good as ever.
    let answered = ask_over(&mut connections[0]).await;
    assert!(answered.starts_with("HTTP/1.1 200 "), "{answered}");
    drop(connections);
    let served = async {
        while client::try_send(Version::Http1, gateway.listen(), Request::stream(Dialect::OpenaiChat)).await.is_err() {}
    };
    within(LONG, "room for connections", served).await;
    quiet(&gateway).await;
    gateway.stop().await;
}

/// A call over a connection that is there already.
async fn ask_over(connection: &mut TcpStream) -> String {
    let request = Request::stream(Dialect::OpenaiChat);
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: gateway\r\ncontent-type: application/json\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n",
        request.path,
        request.body.len()
    );
    connection.write_all(&[head.as_bytes(), &request.body].concat()).await.expect("the gateway reads");
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).await.expect("a whole answer");
    String::from_utf8_lossy(&answer).into_owned()
}
