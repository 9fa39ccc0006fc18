//! The admin listener towards strangers. Who may do what is in `access`, what pages show in `browser` and `records::pages`.

use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::{
    common::streams::Dialect,
    fakes::{provider::Provider, script::Script},
    harness::{
        client::{Request, Version},
        gateway::Gateway,
        raw, samples,
    },
};

/// Who opens connections and says nothing on them takes nothing from calls, and waits for his turn like others.
#[tokio::test]
async fn idle_connections_cost_a_bounded_number_of_files() {
    const CONNECTIONS: usize = 600;
    let provider = Provider::start().await;
    provider.otherwise(Script::json(samples::whole(Dialect::Anthropic, "Hello", &[])));
    let gateway = Gateway::with(&provider).start().await;
    let before = gateway.open_files();
    let address: std::net::SocketAddr = gateway.admin_url().trim_start_matches("http://").parse().expect("an address");
    let mut idle = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut socket = TcpStream::connect(address).await.expect("the listener's queue has room");
        socket.write_all(b"GET / HTTP/1.1\r\nx: ").await.expect("the connection is open");
        idle.push(socket);
    }
    let answer = gateway.call(Version::Http1, Request::whole(Dialect::Anthropic)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let opened = gateway.open_files().saturating_sub(before);
    assert!(opened < 400, "{opened} files for {CONNECTIONS} connections");
    // In its turn, when those before it have had their time.
    assert_eq!(gateway.admin(Request::new("GET", "/healthz")).await.status, 200);
    gateway.stop().await;
}

#[tokio::test]
async fn nothing_but_its_pages_is_to_be_had() {
    let provider = Provider::start().await;
    let gateway = Gateway::with(&provider).start().await;
    let address = gateway.admin_url().trim_start_matches("http://").parse().expect("an address");
    for target in [
        "/assets/../../../../etc/passwd",
        "/assets/..%2f..%2f..%2fetc%2fpasswd",
        "/assets/%2e%2e/%2e%2e/Cargo.toml",
        "/assets/....//Cargo.toml",
        "/assets/",
        "/assets/base.css/",
        "/assets/base.css%00",
        "/assets/..\\..\\Cargo.toml",
        "/../luthien.yaml",
        "//etc/passwd",
        "/state/",
        "/%",
        "http://169.254.169.254/latest/meta-data",
    ] {
        let answer = raw::exchange(
            address,
            format!("GET {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").as_bytes(),
        )
        .await;
        let statuses = raw::statuses(&answer);
        assert!(statuses.iter().all(|status| (300..500).contains(status)), "{target}: {answer}");
        assert!(!answer.contains("root:") && !answer.contains("[package]"), "{target}: {answer}");
    }
    for (what, head) in [
        ("TRACE", "TRACE / HTTP/1.1\r\nhost: localhost\r\n".to_owned()),
        ("CONNECT", "CONNECT evil.example:80 HTTP/1.1\r\nhost: localhost\r\n".to_owned()),
        ("a method of its own", "STEAL / HTTP/1.1\r\nhost: localhost\r\n".to_owned()),
        ("a long query", format!("GET /debug/calls?text={} HTTP/1.1\r\nhost: localhost\r\n", "a".repeat(200_000))),
        ("many headers", format!("GET / HTTP/1.1\r\nhost: localhost\r\n{}", "a: b\r\n".repeat(1000))),
        ("two hosts", "GET /metrics HTTP/1.1\r\nhost: localhost\r\nhost: evil.example\r\n".to_owned()),
        ("another host in the target", "GET http://evil.example/metrics HTTP/1.1\r\nhost: localhost\r\n".to_owned()),
        (
            "chunked and a length",
            "POST /login HTTP/1.1\r\nhost: localhost\r\ncontent-length: 4\r\ntransfer-encoding: xchunked\r\n"
                .to_owned(),
        ),
        ("a large form", format!("POST /login HTTP/1.1\r\nhost: evil.example\r\ncontent-length: {}\r\n", u64::MAX)),
    ] {
        let answer = raw::exchange(address, format!("{head}connection: close\r\n\r\n").as_bytes()).await;
        assert!(!answer.starts_with("HTTP/1.1 2"), "{what}: {answer}");
    }
    // It answers still, and nothing of it is kept by anybody.
    let answer = gateway.admin(Request::new("GET", "/policies").header("accept", "text/html")).await;
    assert_eq!((answer.status, answer.header("cache-control")), (200, Some("no-store")));
    for (name, value) in [("x-frame-options", "DENY"), ("x-content-type-options", "nosniff")] {
        assert_eq!(answer.header(name), Some(value));
    }
    gateway.stop().await;
}
