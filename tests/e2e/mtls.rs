//! Envoy and Luthien over TCP: both show a certificate, and certificates are replaced while calls go on.

use std::{fs, net::SocketAddr, time::Duration};

use regex::Regex;
use tokio::{net::TcpStream, time};

use crate::{
    common::streams::Dialect,
    fakes::{
        provider::Provider,
        script::{Gate, Script},
    },
    harness::{
        SOON,
        authority::{Authority, Pair, shows},
        client::{End, Request, Version},
        gateway::Gateway,
        mounted::Mounted,
        samples, within,
    },
};

/// A gateway whose Envoy reaches Luthien over TLS, with the certificates that both show.
struct Secured {
    gateway: Gateway,
    address: SocketAddr,
    /// Luthien's.
    server: Mounted,
    /// Envoy's.
    _client: Mounted,
}

fn files<'f>(pair: &'f Pair, client_ca: &'f Authority) -> [(&'static str, &'f str); 3] {
    [("tls.crt", &pair.cert), ("tls.key", &pair.key), ("ca.crt", &client_ca.pem)]
}

impl Secured {
    async fn start(provider: &Provider, authority: &Authority, server: &Pair, client: &Pair) -> Self {
        let (server, client) = (Mounted::new(&files(server, authority)), Mounted::new(&files(client, authority)));
        let path = |mounted: &Mounted, name| mounted.path(name).display().to_string();
        let settings = format!(
            "extproc:\n  listen: 127.0.0.1:0\n  tls: {{ cert: {}, key: {}, client_ca: {} }}\n  envoy: {{ cert: {}, key: {}, ca: {} }}",
            path(&server, "tls.crt"),
            path(&server, "tls.key"),
            path(&server, "ca.crt"),
            path(&client, "tls.crt"),
            path(&client, "tls.key"),
            path(&client, "ca.crt"),
        );
        let gateway = Gateway::with(provider).settings(&settings).start().await;
        let configuration = fs::read_to_string(gateway.state_folder().join("envoy.yaml")).unwrap();
        let port = Regex::new(r"(?s)cluster_name: _luthien_extproc.*?port_value: (\d+)").unwrap();
        let port: u16 = port.captures(&configuration).expect("the port of ext_proc")[1].parse().unwrap();
        Self { gateway, address: SocketAddr::from(([127, 0, 0, 1], port)), server, _client: client }
    }

    /// Waits until the metrics have this line.
    async fn says(&self, line: &str) {
        let told = async {
            while !self.gateway.admin(Request::new("GET", "/metrics")).await.text().contains(line) {
                time::sleep(Duration::from_millis(20)).await;
            }
        };
        within(SOON, line, told).await;
    }

    async fn call(&self, provider: &Provider) {
        let dialect = Dialect::Anthropic;
        provider.expect(Script::sse(samples::text(dialect, &["Hello"])));
        let answer = self.gateway.call(Version::Http1, Request::stream(dialect)).await;
        assert_eq!((answer.status, &answer.end), (200, &End::Clean), "{}", answer.text());
        assert_eq!(answer.text(), samples::text(dialect, &["Hello"]));
    }
}

#[tokio::test]
async fn only_who_shows_a_certificate_of_the_authority_gets_in() {
    let provider = Provider::start().await;
    let (ours, others) = (Authority::new("ours"), Authority::new("others"));
    let (server, client, stranger) = (ours.sign(), ours.sign(), others.sign());
    let secured = Secured::start(&provider, &ours, &server, &client).await;
    secured.call(&provider).await;
    // Whoever says nothing keeps nobody waiting.
    let silent = TcpStream::connect(secured.address).await.unwrap();
    let shown =
        within(Duration::from_secs(5), "a handshake", shows(secured.address, &ours, Some(&client), &server)).await;
    assert!(shown.unwrap());
    shows(secured.address, &ours, None, &server).await.expect_err("a client without a certificate");
    shows(secured.address, &ours, Some(&stranger), &server).await.expect_err("a client of another authority");
    drop(silent);
    secured.gateway.stop().await;
}

#[tokio::test]
async fn certificates_are_replaced_while_a_stream_goes_on_and_bad_ones_never() {
    let provider = Provider::start().await;
    let (ours, others) = (Authority::new("ours"), Authority::new("others"));
    let [first, second, third] = [ours.sign(), ours.sign(), ours.sign()];
    let (client, stranger) = (ours.sign(), others.sign());
    let mut secured = Secured::start(&provider, &ours, &first, &client).await;
    let address = secured.address;
    let (gate, dialect) = (Gate::new(), Dialect::OpenaiChat);
    let (mut text, open) = samples::Text::open(dialect, &["Hello"]);
    let rest = text.delta(" again") + &text.close();
    let whole = format!("{open}{rest}");
    provider.expect(Script::sse(open).wait(&gate).then(rest));
    let mut stream = secured.gateway.send(Version::Http2, Request::stream(dialect)).await;
    let read = stream.until("Hello").await;
    assert!(shows(address, &ours, Some(&client), &first).await.unwrap());

    secured.server.swap(&files(&second, &ours));
    secured.says(r#"luthien_rotations_total{key="extproc.tls",result="ok"} 1"#).await;
    assert!(shows(address, &ours, Some(&client), &second).await.unwrap());

    // A key that does not belong to the certificate.
    let mixed = Pair { cert: third.cert.clone(), key: second.key.clone() };
    for bad in [files(&mixed, &ours), [("tls.crt", "x"), ("tls.key", "x"), ("ca.crt", "x")]] {
        let refused = secured.gateway.output().matches("certificates of ext_proc refused").count();
        secured.server.swap(&bad);
        secured.says(r#"luthien_rotation_failing{key="extproc.tls"} 1"#).await;
        let told = async {
            while secured.gateway.output().matches("certificates of ext_proc refused").count() == refused {
                time::sleep(Duration::from_millis(20)).await;
            }
        };
        within(SOON, "the refusal", told).await;
        assert!(shows(address, &ours, Some(&client), &second).await.unwrap());
    }
    assert!(secured.gateway.output().contains("the last good ones stay in force"));
    secured.call(&provider).await;

    // Another authority for clients: for connections that begin now.
    secured.server.swap(&files(&third, &others));
    secured.says(r#"luthien_rotation_failing{key="extproc.tls"} 0"#).await;
    assert!(shows(address, &ours, Some(&stranger), &third).await.unwrap());
    shows(address, &ours, Some(&client), &third).await.expect_err("a client of the authority before");
    gate.open();
    let answer = stream.finish_after(read).await;
    assert_eq!((answer.text(), answer.end), (whole, End::Clean));
    secured.gateway.stop().await;
}
