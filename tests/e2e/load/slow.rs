//! Clients that are slow, or stand still: they cost a bounded amount, disturb nobody, and are ended by a limit.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};

use super::{growth, peak, quiet, span};
use crate::{
    common::streams::Dialect,
    fakes::{provider::Provider, script::Script},
    harness::{
        SOON,
        client::{End, Request, Response, Version},
        gateway::Gateway,
        samples, within,
    },
};

/// The most that one stream whose client does not read may take of Luthien and of Envoy, in MiB.
const MOST: [u64; 2] = [12, 24];
/// The limit that ends it.
const TOTAL: Duration = Duration::from_secs(6);
const LONG: Duration = Duration::from_mins(2);

/// How many clients are slow at the same time.
fn count() -> usize {
    if span().is_some() { 24 } else { 6 }
}

/// A stream of a gigabyte, as fast as it is taken.
fn endless(dialect: Dialect) -> Script {
    let (mut text, open) = samples::Text::open(dialect, &["Hello"]);
    let piece = Bytes::from(text.delta(&"again ".repeat(1000)).repeat(40));
    (0..4000).fold(Script::sse(open), |script, _| script.then(piece.clone()))
}

#[tokio::test]
async fn clients_that_do_not_read_are_bounded_and_ended_and_disturb_nobody() {
    let provider = Provider::start().await;
    let settings =
        format!("timeouts: {{ total: {}s, upload: 15s }}\nrecording: {{ level: metadata }}", TOTAL.as_secs());
    let gateway = Gateway::with(&provider).settings(&settings).start().await;
    let dialects = [Dialect::Anthropic, Dialect::OpenaiChat];
    for dialect in dialects {
        provider.on_model(&format!("endless-{}", dialect.path()), endless(dialect));
    }
    let short = samples::text(Dialect::OpenaiChat, &["Hello"]);
    provider.on_model("short", Script::sse(short.clone()));
    let other = Request::call(Dialect::OpenaiChat, "short", true);
    assert_eq!(gateway.call(Version::Http1, other.clone()).await.text(), short);
    let before = gateway.usage();
    let began = Instant::now();
    let mut slow = Vec::new();
    for number in 0..count() {
        let dialect = dialects[number % 2];
        let request = Request::call(dialect, &format!("endless-{}", dialect.path()), true);
        let version = Version::BOTH[number / 2 % 2];
        slow.push((version, gateway.send(version, request).await));
    }
    // Others are served all the while, until the limit has ended every slow one.
    let others = async {
        let mut made = 0;
        while gateway.metric("luthien_calls_in_flight").await > 0.0 {
            assert_eq!(gateway.call(Version::BOTH[made % 2], other.clone()).await.text(), short);
            made += 1;
        }
        made
    };
    let (made, most) = peak(&gateway, within(LONG, "the limit", others)).await;
    assert!(began.elapsed() >= TOTAL, "a slow client was ended early");
    let [luthien, envoy] = growth(before, most);
    println!(
        "{} clients that do not read: Luthien took {luthien} MiB more, Envoy {envoy} MiB; {made} calls were made beside them",
        count()
    );
    let most = MOST.map(|most| most * count() as u64);
    assert!(luthien <= most[0] && envoy <= most[1], "Luthien took {luthien} MiB more, Envoy {envoy} MiB");
    assert!(made >= 3, "only {made} calls were made beside the slow ones");
    for request in provider.requests() {
        if !String::from_utf8_lossy(&request.body).contains("short") {
            request.abandoned(SOON).await;
        }
    }
    // Over HTTP/1 who reads on in the end is told; over HTTP/2 Envoy has given up.
    for (version, response) in slow {
        let (end, tail) = rest_of(response).await;
        let told = end == End::Clean && tail.contains("timeouts.total");
        assert!(told || (version == Version::Http2 && end != End::Clean), "{version:?} {end:?}: {tail}");
    }
    quiet(&gateway).await;
    gateway.stop().await;
}

/// How an answer ends of which some is left, and its last bytes.
async fn rest_of(mut response: Response) -> (End, String) {
    let (mut tail, mut read) = (BytesMut::new(), 0);
    let end = loop {
        match response.piece().await {
            Ok(piece) => {
                read += piece.len();
                tail.extend_from_slice(&piece);
                let too_much = tail.len().saturating_sub(4096);
                let _ = tail.split_to(too_much);
            }
            Err(end) => break end,
        }
    };
    assert!(read < 64 << 20, "{read} bytes waited for the client");
    (end, String::from_utf8_lossy(&tail).into_owned())
}

/// Sends the head of a request and a little of its body, then a byte now and then, and returns what is answered and when.
async fn trickle(address: SocketAddr, head: String, start: &[u8], pause: Duration) -> (String, Duration) {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let began = Instant::now();
    stream.write_all(&[head.as_bytes(), start].concat()).await.expect("the gateway reads");
    let (mut read, mut write) = stream.into_split();
    let mut upload = JoinSet::new();
    upload.spawn(async move {
        // Until nobody takes it any more.
        while write.write_all(b" ").await.is_ok() {
            tokio::time::sleep(pause).await;
        }
    });
    let mut answer = Vec::new();
    // The connection may be reset behind the answer, because more of the request comes.
    let _ = read.read_to_end(&mut answer).await;
    (String::from_utf8_lossy(&answer).into_owned(), began.elapsed())
}

#[tokio::test]
async fn clients_that_upload_byte_by_byte_are_ended_with_408_and_disturb_nobody() {
    const UPLOAD: Duration = Duration::from_secs(3);
    let provider = Provider::start().await;
    // There is room for all that is announced.
    let settings = "timeouts: { upload: 3s }\nlimits: { held_total: 64GiB }";
    let gateway = Gateway::with(&provider).settings(settings).start().await;
    let short = samples::text(Dialect::OpenaiChat, &["Hello"]);
    provider.on_model("short", Script::sse(short.clone()));
    let other = Request::call(Dialect::OpenaiChat, "short", true);
    assert_eq!(gateway.call(Version::Http1, other.clone()).await.text(), short);
    let before = gateway.usage();
    let mut clients = JoinSet::new();
    let count = if span().is_some() { 1000 } else { 200 };
    for number in 0..count {
        let dialect = Dialect::ALL[number % 3];
        // What is announced is counted, and no memory is taken for it: a thousand of these would be 31 GiB.
        let length = ["content-length: 33000000", "transfer-encoding: chunked"][number % 2];
        let head = format!(
            "POST {} HTTP/1.1\r\nhost: gateway\r\ncontent-type: application/json\r\n{length}\r\n\r\n",
            dialect.path()
        );
        // One chunk that is never complete, for the second.
        let start: &[u8] = if number % 2 == 0 { b"{" } else { b"1000000\r\n{" };
        let address = gateway.listen();
        clients.spawn(async move { (dialect, trickle(address, head, start, Duration::from_millis(100)).await) });
    }
    let ended = async {
        let mut made = 0;
        loop {
            tokio::select! {
                client = clients.join_next() => match client {
                    None => return made,
                    Some(client) => {
                        let (dialect, (answer, took)) = client.expect("a client ran");
                        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
                        assert!(answer.contains("timeouts.upload"), "{answer}");
                        let anthropic = answer.contains("{\"type\":\"error\"");
                        assert_eq!(anthropic, dialect == Dialect::Anthropic, "{answer}");
                        assert!(took >= UPLOAD, "ended after {took:?}");
                    }
                },
                answer = gateway.call(Version::Http1, other.clone()) => {
                    assert_eq!(answer.text(), short);
                    made += 1;
                }
            }
        }
    };
    let (made, most) = peak(&gateway, within(LONG, "the end of all uploads", ended)).await;
    let [luthien, envoy] = growth(before, most);
    println!(
        "{count} slow uploads: Luthien took {luthien} MiB more, Envoy {envoy} MiB; {made} calls were made beside them"
    );
    assert!(luthien <= 64 && envoy <= 128, "Luthien took {luthien} MiB more, Envoy {envoy} MiB");
    quiet(&gateway).await;
    assert!(provider.requests().iter().all(|request| request.body.len() < 1000), "an upload reached the provider");
    gateway.stop().await;
}

/// Envoy alone sees these: Luthien is told of a request when its head is complete.
#[tokio::test]
async fn clients_that_send_their_heads_byte_by_byte_are_ended_by_envoy() {
    let provider = Provider::start().await;
    let gateway = Gateway::with(&provider).start().await;
    let mut clients = JoinSet::new();
    for _ in 0..100 {
        let address = gateway.listen();
        let head = "POST /v1/messages HTTP/1.1\r\nhost: gateway\r\nx-slow:".to_owned();
        clients.spawn(trickle(address, head, b"", Duration::from_millis(200)));
    }
    while let Some(client) = clients.join_next().await {
        let (answer, took) = client.expect("a client ran");
        assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("\"request_timeout\""), "{answer}");
        assert!(took >= Duration::from_secs(10), "ended after {took:?}");
    }
    gateway.metric_is("luthien_calls_in_flight", |value| value == 0.0).await;
    gateway.stop().await;
}
