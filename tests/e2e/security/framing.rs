//! Where a request ends: who reads it otherwise than the gateway takes a part of it for another request.

use super::{Scene, body};
use crate::harness::{
    client::{self, Request, Version},
    raw,
};

/// A second request within the first one's body, for whoever ends that one too early.
const SMUGGLED: &str = "POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}";

fn framed(headers: &str, body: &str) -> String {
    format!(
        "POST /v1/messages HTTP/1.1\r\nhost: gateway\r\ncontent-type: application/json\r\nconnection: close\r\n{headers}\r\n{body}"
    )
}

#[tokio::test]
async fn a_request_ends_where_everybody_ends_it_or_is_refused() {
    let scene = Scene::start(|builder| builder.settings("unpoliced: { otherwise: pass }")).await;
    let body = body();
    let length = body.len();
    let chunk = format!("{length:x}\r\n{body}\r\n0\r\n\r\n");
    for (what, headers) in [
        ("two lengths", format!("content-length: {length}\r\ncontent-length: 0\r\n")),
        ("a list of lengths", format!("content-length: {length}, 0\r\n")),
        ("a length with a sign", format!("content-length: +{length}\r\n")),
        ("a negative length", "content-length: -1\r\n".to_owned()),
        ("a length in hexadecimal", "content-length: 0x10\r\n".to_owned()),
        ("a length beyond every number", format!("content-length: {length}00000000000000000000000\r\n")),
        ("an empty length", "content-length:\r\n".to_owned()),
    ] {
        scene.is_refused(framed(&headers, &body), what).await;
    }
    for (what, headers) in [
        ("chunked and a length", format!("transfer-encoding: chunked\r\ncontent-length: {length}\r\n")),
        ("a length and chunked", "content-length: 4\r\ntransfer-encoding: chunked\r\n".to_owned()),
        ("chunked twice", "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n".to_owned()),
        ("chunked and identity", "transfer-encoding: chunked, identity\r\n".to_owned()),
        ("gzip and chunked", "transfer-encoding: gzip, chunked\r\n".to_owned()),
        ("nearly chunked", "transfer-encoding: xchunked\r\n".to_owned()),
        ("chunked in quotes", "transfer-encoding: \"chunked\"\r\n".to_owned()),
        ("a space before the colon", "transfer-encoding : chunked\r\n".to_owned()),
        ("a tab before chunked", "transfer-encoding:\u{b}chunked\r\n".to_owned()),
    ] {
        let (answer, received) = scene.sends(framed(&headers, &(chunk.clone() + SMUGGLED))).await;
        scene.is_policed(&answer, &received, what);
        assert!(received.iter().all(|request| request.path == "/v1/messages"), "{what}");
        assert!(received.len() <= 1, "{what}: {}", received.len());
    }
    scene.stop().await;
}

#[tokio::test]
async fn chunks_are_read_as_the_standard_says_or_not_at_all() {
    let scene = Scene::start(|builder| builder).await;
    let (body, chunked) = (body(), "transfer-encoding: chunked\r\n");
    let length = body.len();
    let (first, rest) = body.split_at(20);
    let pieces = format!(
        "14;x=\"y\"\r\n{first}\r\n{:X} ; a\r\n{rest}\r\n0\r\nx-luthien-upstream: forbidden\r\n\r\n",
        rest.len()
    );
    let (answer, received) = scene.sends(framed(chunked, &pieces)).await;
    scene.is_policed(&answer, &received, "extensions and trailers");
    assert!(received.iter().all(|request| request.header("x-luthien-upstream").is_none()));
    for (what, chunks) in [
        ("a size that is no number", format!("zz\r\n{body}\r\n0\r\n\r\n")),
        ("a negative size", format!("-{length:x}\r\n{body}\r\n0\r\n\r\n")),
        ("a size beyond every number", format!("1ffffffffffffffff{length:x}\r\n{body}\r\n0\r\n\r\n")),
        ("a size with a prefix", format!("0x{length:x}\r\n{body}\r\n0\r\n\r\n")),
        ("a chunk that is longer than its size", format!("5\r\n{body}\r\n0\r\n\r\n")),
    ] {
        scene.is_refused(framed(chunked, &chunks), what).await;
    }
    scene.stop().await;
}

/// What stands behind a request is a request of its own, and judged as one.
#[tokio::test]
async fn a_request_behind_another_is_judged_as_well() {
    let scene = Scene::start(|builder| builder).await;
    let (body, head) = (body(), "POST /v1/messages HTTP/1.1\r\nhost: gateway\r\ncontent-type: application/json\r\n");
    let length = body.len();
    let one = format!("{head}content-length: {length}\r\n\r\n{body}");
    let last =
        format!("{head}connection: close\r\nx-luthien-upstream: forbidden\r\ncontent-length: {length}\r\n\r\n{body}");
    let (answer, received) = scene.sends(format!("{one}{last}")).await;
    assert_eq!(raw::statuses(&answer), [200, 200], "{answer}");
    assert_eq!(received.len(), 2);
    scene.is_policed(&answer, &received, "two requests at once");
    scene.stop().await;
}

#[tokio::test]
async fn http2_says_each_thing_once() {
    let scene = Scene::start(|builder| builder).await;
    for (name, value) in [
        ("content-length", "1"),
        ("transfer-encoding", "chunked"),
        ("connection", "x-luthien-upstream"),
        ("host", "forbidden"),
        ("te", "gzip"),
        ("upgrade", "websocket"),
        ("proxy-connection", "keep-alive"),
    ] {
        let before = scene.provider.requests().len();
        // The library sends what it is told, or says that it may not.
        let request = Request::post("/v1/messages", body()).header(name, value);
        let answer = match client::try_send(Version::Http2, scene.gateway.listen(), request).await {
            Ok(answer) => String::from_utf8_lossy(&answer.finish().await.body).into_owned(),
            Err(refused) => refused,
        };
        let received = scene.provider.requests().split_off(before);
        scene.is_policed(&answer, &received, name);
        let own = scene.provider.address().to_string();
        for request in &received {
            assert_eq!(request.header("host"), Some(&*own), "{name}");
            assert_eq!(request.header("upgrade"), None, "{name}");
        }
    }
    scene.stop().await;
}
