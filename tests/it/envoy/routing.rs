//! Through Envoy, the double and the demo provider: routing by header, what is hidden from whom, what ext_proc is told.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::HeaderMap;
use luthien::demo;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

use super::double::Double;
use super::gateway::{Gateway, demo_at};

/// Runs `client` against Envoy with a double that names `upstream`, and a provider that remembers the last headers.
async fn through<F: Future<Output = ()>>(upstream: &'static str, client: impl FnOnce(Setup) -> F) {
    let mut gateway = Gateway::new();
    let headers: Arc<Mutex<HeaderMap>> = Arc::default();
    let keep = Arc::clone(&headers);
    let provider = Router::new().fallback(move |headers: HeaderMap, body: String| async move {
        *keep.lock().unwrap() = headers;
        format!("provider got {} bytes", body.len())
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    gateway.placement.demo = Some(demo_at(&listener));
    let double = Double { upstream, ..Double::default() };
    let socket = gateway.extproc_socket();
    let told = double.clone();
    let client = |base| client(Setup { base, double: told, headers });
    let log = gateway.dir.path().join("envoy-access.log");
    tokio::select! {
        () = double.serve(&socket) => panic!("the double ended"),
        served = axum::serve(listener, provider) => panic!("the provider ended: {served:?}"),
        () = gateway.run(client) => {}
    }
    // Written when Envoy ends, at the latest.
    let log = std::fs::read_to_string(log).unwrap();
    assert!(log.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{log}");
    assert!(!log.contains("s3cret"), "a query does not belong into the log: {log}");
}

struct Setup {
    base: String,
    double: Double,
    headers: Arc<Mutex<HeaderMap>>,
}

#[tokio::test]
async fn the_header_that_luthien_sets_chooses_the_provider_and_stays_here() {
    through("demo", |setup| async move {
        let response = super::http()
            .post(format!("{}/v1/messages?key=s3cret", setup.base))
            .header("x-luthien-upstream", "_luthien_extproc")
            .header("x-luthien-client", "forged")
            .header("x-envoy-retry-on", "5xx")
            .header("x-envoy-upstream-rq-timeout-ms", "1")
            .header("x-request-id", "mine")
            .header("x-forwarded-for", "203.0.113.9")
            .header("session_id", "with an underscore")
            .body("x".repeat(300_000))
            .send()
            .await
            .unwrap();
        assert_eq!(response.text().await.unwrap(), "provider got 300000 bytes");

        for name in ["x-luthien-upstream", "x-luthien-client", "x-envoy-retry-on", "x-envoy-upstream-rq-timeout-ms"] {
            assert_eq!(setup.double.request_header(name), None, "{name} of a client reached ext_proc");
        }
        let id = setup.double.request_header("x-request-id").unwrap();
        assert_ne!(id, "mine");
        assert_eq!(setup.double.attribute("request.id"), Some(id));

        let headers = setup.headers.lock().unwrap().clone();
        let names: Vec<&str> = headers.keys().map(axum::http::HeaderName::as_str).collect();
        let leaked = |name: &&&str| {
            name.starts_with("x-luthien-") || name.starts_with("x-envoy-") || name.starts_with("x-forwarded-")
        };
        assert_eq!(names.iter().find(leaked), None, "{names:?}");
        assert!(!names.contains(&"x-request-id") && !names.contains(&"accept-encoding"), "{names:?}");
        assert_eq!(headers["session_id"], "with an underscore");
    })
    .await;
}

#[tokio::test]
async fn ext_proc_is_told_where_the_answer_came_from() {
    through("demo", |setup| async move {
        super::http().get(format!("{}/v1/models", setup.base)).send().await.unwrap().text().await.unwrap();
        let told = |name| setup.double.attribute(name).unwrap_or_else(|| panic!("{name} is missing"));
        assert!(told("source.address").starts_with("127.0.0.1:"));
        assert_eq!(told("xds.cluster_name"), "demo");
        assert!(told("upstream.address").starts_with("127.0.0.1:"));
        assert_eq!(told("response.code_details"), "via_upstream");
        told("connection.id");
        told("response.flags");
    })
    .await;
}

#[tokio::test]
async fn a_provider_that_does_not_exist_is_an_error_in_the_dialects_shape() {
    through("nobody", |setup| async move {
        let response = super::http().get(format!("{}/v1/messages", setup.base)).send().await.unwrap();
        assert_eq!(response.status(), 503);
        let body: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
        assert_eq!(body["error"]["details"]["error_code"], "provider_unavailable");
        // This one passes ext_proc, which learns the reason and may say more.
        assert_eq!(setup.double.attribute("response.code_details").as_deref(), Some("cluster_not_found"));
    })
    .await;
}

/// A provider that has seen the request may have begun to generate: asking again would bill twice.
#[tokio::test]
async fn a_request_that_reached_the_provider_is_never_sent_again() {
    let mut gateway = Gateway::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    gateway.placement.demo = Some(demo_at(&listener));
    let double = Double { upstream: "demo", ..Double::default() };
    let socket = gateway.extproc_socket();
    let asked = AtomicUsize::new(0);
    let hangs_up = async {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 16];
            stream.read_exact(&mut request).await.unwrap();
            asked.fetch_add(1, Ordering::SeqCst);
        }
    };
    let client = async |base: String| {
        let request = super::http().post(format!("{base}/v1/messages"));
        let response = request.header("x-envoy-retry-on", "5xx,reset").body("{}").send().await.unwrap();
        assert_eq!(response.status(), 503);
        let body: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
        assert_eq!(body["error"]["details"]["error_code"], "provider_unavailable");
    };
    tokio::select! {
        () = double.serve(&socket) => panic!("the double ended"),
        () = hangs_up => {}
        () = gateway.run(client) => {}
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn http2_without_tls_works_by_prior_knowledge() {
    through("demo", |setup| async move {
        luthien::policies::http::choose_cryptography();
        let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
        let response = client.post(format!("{}/v1/messages", setup.base)).body("hello").send().await.unwrap();
        assert_eq!(response.version(), reqwest::Version::HTTP_2);
        assert_eq!(response.text().await.unwrap(), "provider got 5 bytes");
    })
    .await;
}

#[tokio::test]
async fn the_demo_provider_streams_through_it() {
    let mut gateway = Gateway::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    gateway.placement.demo = Some(demo_at(&listener));
    let direct = format!("http://{}", listener.local_addr().unwrap());
    let double = Double { upstream: "demo", ..Double::default() };
    let socket = gateway.extproc_socket();
    let client = async |base: String| {
        let body = json!({
            "model": "demo", "max_tokens": 9, "stream": true,
            "messages": [{ "role": "user", "content": "long secret" }],
        });
        let ask = async |base: &str| {
            let request = super::http().post(format!("{base}/v1/messages")).body(body.to_string());
            request.send().await.unwrap().text().await.unwrap()
        };
        let (through, straight) = (ask(&base).await, ask(&direct).await);
        assert_eq!(through.len(), straight.len(), "only the ids may differ");
        assert!(through.ends_with("data: {\"type\":\"message_stop\"}\n\n"));
    };
    tokio::select! {
        () = double.serve(&socket) => panic!("the double ended"),
        served = demo::serve(listener) => panic!("the provider ended: {served:?}"),
        () = gateway.run(client) => {}
    }
}
