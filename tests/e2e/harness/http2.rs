//! HTTP/2 with prior knowledge, one request for each connection.

use std::{error::Error, net::SocketAddr};

use bytes::Bytes;
use h2::{RecvStream, client::SendRequest};
use tokio::{net::TcpStream, task::JoinSet};

use super::client::{self, End, Hold, Place, Request, Response};

/// The rest of an answer.
pub(super) struct Body {
    stream: RecvStream,
    /// The connection and the upload; they end with the body.
    _tasks: JoinSet<()>,
    /// Keeps the connection open.
    _sender: SendRequest<Bytes>,
}

pub(super) async fn send(address: SocketAddr, request: Request) -> Result<Response, Box<dyn Error>> {
    let socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    let (sender, connection) = h2::client::Builder::new()
        .initial_window_size(1 << 20)
        .initial_connection_window_size(1 << 20)
        .handshake(socket)
        .await?;
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        // How the connection ended shows in the stream.
        let _ = connection.await;
    });
    let mut sender = sender.ready().await?;
    if let Some(hold) = request.hold.as_ref().filter(|hold| hold.at == Place::Head) {
        hold.wait().await;
    }
    let mut head = http::Request::builder().method(request.method).uri(format!("http://{address}{}", request.path));
    for (name, value) in &request.headers {
        head = head.header(name, value);
    }
    let head = head.body(()).expect("the test's request is well formed");
    let (answer, upload) = sender.send_request(head, request.body.is_empty())?;
    if !request.body.is_empty() {
        tasks.spawn(send_body(upload, request.body, request.hold));
    }
    let (head, stream) = answer.await?.into_parts();
    let headers = head
        .headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    let body = client::Body::Http2(Body { stream, _tasks: tasks, _sender: sender });
    Ok(Response { status: head.status.as_u16(), headers, body })
}

impl Body {
    pub(super) async fn piece(&mut self) -> Result<Bytes, End> {
        match self.stream.data().await {
            Some(Ok(piece)) => {
                // Fails only when the stream is over, which the next read reports.
                let _ = self.stream.flow_control().release_capacity(piece.len());
                Ok(piece)
            }
            None => Err(End::Clean),
            Some(Err(error)) => Err(match error.reason() {
                Some(code) if error.is_reset() => End::Reset(code.into()),
                _ => End::Cut(error.to_string()),
            }),
        }
    }
}

/// Sends the body as fast as the peer takes it; gives up when the peer refuses the rest.
async fn send_body(mut upload: h2::SendStream<Bytes>, mut body: Bytes, hold: Option<Hold>) {
    if let Some(hold) = hold.filter(|hold| hold.at == Place::Body) {
        // Small enough for the first window.
        if upload.send_data(body.split_to(body.len() / 2), false).is_err() {
            return;
        }
        hold.wait().await;
    }
    while !body.is_empty() {
        upload.reserve_capacity(body.len());
        let Some(Ok(room)) = std::future::poll_fn(|context| upload.poll_capacity(context)).await else { return };
        let piece = body.split_to(room.min(body.len()));
        if upload.send_data(piece, body.is_empty()).is_err() {
            return;
        }
    }
}
