//! What Envoy answers by itself, with no ext_proc service there at all.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::gateway::Gateway;

#[tokio::test]
async fn without_luthien_nothing_passes_and_the_sdks_understand_why() {
    let gateway = Gateway::new();
    gateway
        .run(async |base| {
            let client = super::http();
            for (path, version, anthropic) in [
                ("/v1/messages?beta=true", false, true),
                ("/v1/messages/count_tokens", false, true),
                ("/v1/models", true, true),
                ("/v1/models", false, false),
                ("/v1/chat/completions", false, false),
                ("/v1/responses", false, false),
                ("/anything", false, false),
            ] {
                let mut request = client.post(format!("{base}{path}")).body("{}");
                if version {
                    request = request.header("anthropic-version", "2023-06-01");
                }
                let response = request.send().await.unwrap();
                assert_eq!(response.status(), 503, "{path}");
                assert_eq!(response.headers()["content-type"], "application/json", "{path}");
                assert_eq!(response.headers()["retry-after"], "2", "{path}");
                let body: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
                assert!(body["error"]["message"].as_str().unwrap().contains("policy service"), "{path} {body}");
                if anthropic {
                    assert_eq!((&body["type"], &body["error"]["type"]), (&json!("error"), &json!("api_error")));
                    assert!(body["request_id"].is_string(), "{path} {body}");
                } else {
                    assert_eq!(body.get("type"), None, "{path} {body}");
                    assert_eq!(body["error"]["type"], "server_error", "{path} {body}");
                    assert!(body["error"].get("param").is_some_and(Value::is_null), "{path} {body}");
                }
            }
        })
        .await;
}

#[tokio::test]
async fn the_liveness_answer_needs_no_luthien() {
    let gateway = Gateway::new();
    gateway
        .run(async |base| {
            let url = format!("{base}/");
            let client = super::http();
            assert_eq!(client.get(&url).send().await.unwrap().status(), 200);
            assert_eq!(client.head(&url).send().await.unwrap().status(), 200);
            assert_eq!(client.post(&url).send().await.unwrap().status(), 503, "only a probe is answered");
            let query = client.get(format!("{url}?a=b")).send().await.unwrap();
            assert_eq!(query.status(), 200);
        })
        .await;
}

/// Sends bytes and reads until Envoy closes. Returns the status and the JSON body.
async fn raw(base: &str, request: &str) -> (u16, Value) {
    let mut stream = TcpStream::connect(base.strip_prefix("http://").unwrap()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A reset after the answer is Envoy's way to stop an upload that it does not want.
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer to {request:.60}: {answer}"));
    (head[9..12].parse().unwrap(), serde_json::from_str(body).unwrap_or_else(|e| panic!("{e}: {answer}")))
}

#[tokio::test]
async fn what_envoy_refuses_is_answered_at_once() {
    let gateway = Gateway::new();
    let large = format!("GET /v1/models HTTP/1.1\r\nhost: a\r\nx-large: {}\r\n\r\n", "a".repeat(100_000));
    let upgrade = "GET /v1/responses HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: WebSocket\r\n\
                   sec-websocket-version: 13\r\nsec-websocket-key: x3JJHMbDL1EzLkh9GBhXDw==\r\n\r\n";
    let smuggle = "POST /v1/messages HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n";
    gateway
        .run(async |base| {
            for (request, status, code) in [
                (large.as_str(), 431, "request_too_large"),
                (upgrade, 426, "upgrade_not_supported"),
                (smuggle, 400, "malformed_request"),
                ("GET /v1/%2fmodels HTTP/1.1\r\nhost: a\r\n\r\n", 400, "malformed_request"),
                ("GET /v1/models HTTP/1.1\r\n\r\n", 400, "malformed_request"),
                ("not HTTP at all\r\n\r\n", 400, "malformed_request"),
            ] {
                let (got, body) = raw(&base, request).await;
                assert_eq!((got, &body["error"]["code"]), (status, &json!(code)), "{request:.60} {body}");
            }
            let (status, body) = raw(&base, "GET /v1/messages HTTP/1.1\r\n\r\n").await;
            assert_eq!((status, &body["error"]["type"]), (400, &json!("invalid_request_error")));
            assert_eq!(body["type"], "error");
        })
        .await;
}
