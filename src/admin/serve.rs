//! Serves a router on a listener that strangers may reach: each connection costs a bounded time and room.
//!
//! Who holds connections open would otherwise take what the external processor needs to accept Envoy's.

use std::{convert::Infallible, io, time::Duration};

use axum::{
    Router,
    extract::Request,
    http::StatusCode,
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_io_timeout::TimeoutStream;

/// So many connections at once; more wait in the listener's queue. A browser opens six, a scraper one.
const MOST: usize = 256;
/// How long a head may take, also that of the next request on a connection.
const HEAD: Duration = Duration::from_secs(10);
/// How long it may take until an answer begins, the request's body included. A search of many records takes seconds.
const ANSWER: Duration = Duration::from_mins(1);
/// How long the other side may take nothing of what it is sent.
const WRITE: Duration = Duration::from_secs(30);
/// Room for a head, and the most that is read ahead.
const BUFFER: usize = 64 << 10;
/// After a failure to accept that is not the other side's, such as too many open files.
const PAUSE: Duration = Duration::from_secs(1);

/// Serves until the future is dropped, and its connections with it.
pub async fn serve(listener: TcpListener, router: Router) -> Infallible {
    let router = router.layer(from_fn(in_time));
    let mut connections = JoinSet::new();
    loop {
        while connections.len() >= MOST {
            connections.join_next().await;
        }
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            // What goes wrong on a connection ends it, and concerns nobody else.
            Ok((socket, _)) => drop(connections.spawn(connection(socket, router.clone()))),
            Err(error) if is_theirs(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "the admin listener cannot accept connections");
                sleep(PAUSE).await;
            }
        }
    }
}

async fn connection(socket: TcpStream, router: Router) {
    let mut stream = TimeoutStream::new(socket);
    stream.set_write_timeout(Some(WRITE));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(Box::pin(stream)), TowerToHyperService::new(router));
    let _ = served.await;
}

async fn in_time(request: Request, next: Next) -> Response {
    let late = || (StatusCode::REQUEST_TIMEOUT, "this took too long; ask for less, or send the body sooner\n");
    timeout(ANSWER, next.run(request)).await.unwrap_or_else(|_| late().into_response())
}

fn is_theirs(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionRefused | ConnectionAborted | ConnectionReset)
}

#[cfg(test)]
mod tests {
    use axum::{body::to_bytes, routing::post};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
        time::Instant,
    };

    use super::*;

    async fn served(router: Router) -> (std::net::SocketAddr, JoinSet<()>) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            serve(listener, router).await;
        });
        (address, tasks)
    }

    fn echo() -> Router {
        let read = async |request: Request| to_bytes(request.into_body(), 100).await.map(|body| body.to_vec()).unwrap();
        Router::new().route("/", post(read))
    }

    /// What came back, once the other side has closed the connection, and after how long.
    async fn sends(address: std::net::SocketAddr, bytes: &[u8]) -> (String, Duration) {
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(bytes).await.unwrap();
        let (began, mut read) = (Instant::now(), Vec::new());
        socket.read_to_end(&mut read).await.unwrap();
        (String::from_utf8(read).unwrap(), began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_or_half_of_it_is_left() {
        let (address, _serving) = served(echo()).await;
        for head in ["", "GET / HTTP/1.1\r\nx: ", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nab"] {
            let (answer, waited) = sends(address, head.as_bytes()).await;
            assert_eq!(answer.starts_with("HTTP/1.1 200"), head.ends_with("ab"), "{answer}");
            assert!(waited >= HEAD && waited < 3 * HEAD, "{head:?}: {waited:?}");
        }
        let (answer, waited) = sends(address, b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\na").await;
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
        assert!(waited >= ANSWER && waited < ANSWER + 3 * HEAD, "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_one_too_many_waits_until_another_has_left() {
        let (address, _serving) = served(echo()).await;
        let mut idle = Vec::new();
        for _ in 0..MOST {
            idle.push(TcpStream::connect(address).await.unwrap());
        }
        let (answer, waited) =
            sends(address, b"POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 2\r\n\r\nab").await;
        assert!(answer.ends_with("ab"), "{answer}");
        assert!(waited >= HEAD, "{waited:?}");
    }

    #[tokio::test]
    async fn a_head_has_a_size() {
        let (address, _serving) = served(echo()).await;
        let (answer, _) = sends(address, format!("POST /{} HTTP/1.1\r\n", "a".repeat(2 * BUFFER)).as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
}
