//! Clients that do not take what Envoy has for them.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use futures::stream;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::double::Double;
use super::gateway::{Gateway, demo_at};

/// Over HTTP/2 `stream_flush_timeout` ends it.
#[tokio::test]
async fn a_client_over_http1_that_never_reads_is_closed() {
    let mut gateway = Gateway::new();
    gateway.change(|document| {
        let place = "/static_resources/listeners/0/per_connection_buffer_high_watermark_timeout";
        // Minutes, which are too long for a test.
        *document.pointer_mut(place).expect("there is a limit") = json!("1s");
    });
    let answering = watch::Sender::new(());
    let asked = answering.clone();
    let endless = Router::new().fallback(move || {
        let open = asked.subscribe();
        let pieces =
            stream::unfold(open, async |open| Some((Ok::<_, Infallible>(Bytes::from(vec![b'x'; 1 << 16])), open)));
        async { Body::from_stream(pieces) }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    gateway.placement.demo = Some(demo_at(&listener));
    let socket = gateway.extproc_socket();
    let client = async |base: String| {
        let mut client = TcpStream::connect(base.strip_prefix("http://").unwrap()).await.unwrap();
        client.write_all(b"GET /v1/models HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        client.readable().await.unwrap();
        assert_eq!(answering.receiver_count(), 1);
        tokio::time::timeout(Duration::from_secs(30), answering.closed()).await.expect("the provider is left");
    };
    tokio::select! {
        () = Double { upstream: "demo", ..Double::default() }.serve(&socket) => panic!("the double ended"),
        served = axum::serve(listener, endless) => panic!("the provider ended: {served:?}"),
        () = gateway.run(client) => {}
    }
}
