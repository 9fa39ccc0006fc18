//! A client that reports what came over the wire, over HTTP/1.1 or HTTP/2.

use std::{net::SocketAddr, time::Duration};

use bytes::{Bytes, BytesMut};
use serde_json::Value;

use super::{SOON, http1, http2, within};
use crate::{common::streams::Dialect, fakes::script::Gate};

/// How the client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    Http1,
    /// With prior knowledge, in clear text.
    Http2,
}

/// A request. Header names are lower case.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
    /// Where the client stops on its way.
    pub(crate) hold: Option<Hold>,
}

/// A client stops in the middle of its request.
#[derive(Debug, Clone)]
pub(crate) struct Hold {
    pub(crate) at: Place,
    /// Opened as soon as it has stopped.
    pub(crate) reached: Gate,
    /// It goes on when this is open.
    pub(crate) open: Gate,
}

/// What is half sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// HTTP/1.1: half of the head. HTTP/2: the connection is made, and nothing sent yet.
    Head,
    Body,
}

/// An answer whose head has come. Dropping it closes the connection.
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(super) body: Body,
}

pub(super) enum Body {
    Http1(http1::Body),
    Http2(http2::Body),
}

/// A whole answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
    pub(crate) end: End,
}

/// How an answer ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// HTTP/1.1: `0\r\n\r\n` or the whole content length. HTTP/2: `END_STREAM`.
    Clean,
    /// The connection broke off, and how.
    Cut(String),
    /// HTTP/2: the stream was reset with this code.
    Reset(u32),
}

impl Version {
    pub(crate) const BOTH: [Self; 2] = [Self::Http1, Self::Http2];
}

impl Request {
    /// A request without a body.
    pub(crate) fn new(method: &'static str, path: &str) -> Self {
        Self { method, path: path.to_owned(), headers: Vec::new(), body: Bytes::new(), hold: None }
    }

    /// A JSON body, with a client's credential as the dialect's SDKs send it.
    pub(crate) fn post(path: &str, body: impl Into<Bytes>) -> Self {
        let request = Self::new("POST", path)
            .header("content-type", "application/json")
            .header("authorization", "Bearer sk-test-client");
        Self { body: body.into(), ..request }
    }

    /// A small call for a stream.
    pub(crate) fn stream(dialect: Dialect) -> Self {
        Self::call(dialect, "test-model", true)
    }

    /// A small call for a whole answer.
    pub(crate) fn whole(dialect: Dialect) -> Self {
        Self::call(dialect, "test-model", false)
    }

    /// A small call.
    pub(crate) fn call(dialect: Dialect, model: &str, stream: bool) -> Self {
        Self::post(dialect.path(), call_body(dialect, model, stream).to_string())
    }

    /// With this header, in place of one of that name.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self = self.without(name);
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Stops on its way.
    pub(crate) fn hold(mut self, at: Place, reached: &Gate, open: &Gate) -> Self {
        self.hold = Some(Hold { at, reached: reached.clone(), open: open.clone() });
        self
    }

    /// Without the header of that name.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(present, _)| present != name);
        self
    }
}

impl Response {
    /// The next piece of the body, or how it ended.
    pub(crate) async fn piece(&mut self) -> Result<Bytes, End> {
        let next = async {
            match &mut self.body {
                Body::Http1(body) => body.piece().await,
                Body::Http2(body) => body.piece().await,
            }
        };
        within(SOON, "the next piece of the answer", next).await
    }

    /// Reads until `text` has come, and returns everything read.
    pub(crate) async fn until(&mut self, text: &str) -> Bytes {
        let mut read = BytesMut::new();
        while memchr::memmem::find(&read, text.as_bytes()).is_none() {
            match self.piece().await {
                Ok(piece) => read.extend_from_slice(&piece),
                Err(end) => {
                    panic!("the answer ended ({end:?}) before {text:?}; it was {:?}", String::from_utf8_lossy(&read))
                }
            }
        }
        read.freeze()
    }

    /// Everything that comes within `span`, for a test that nothing more, or not a certain thing, comes yet.
    pub(crate) async fn during(&mut self, span: Duration) -> Bytes {
        let mut read = BytesMut::new();
        let all = async {
            while let Ok(piece) = self.piece().await {
                read.extend_from_slice(&piece);
            }
        };
        let _ = tokio::time::timeout(span, all).await;
        read.freeze()
    }

    /// Reads to the end.
    pub(crate) async fn finish(self) -> Answer {
        self.finish_after(Bytes::new()).await
    }

    /// Reads to the end; the answer begins with what has been `read` of it.
    pub(crate) async fn finish_after(mut self, read: Bytes) -> Answer {
        let mut body = BytesMut::from(&read[..]);
        let end = loop {
            match self.piece().await {
                Ok(piece) => body.extend_from_slice(&piece),
                Err(end) => break end,
            }
        };
        Answer { status: self.status, headers: self.headers, body: body.freeze(), end }
    }
}

impl Hold {
    /// Says that the client has come here, and waits.
    pub(super) async fn wait(&self) {
        self.reached.open();
        self.open.passed().await;
    }
}

impl Answer {
    /// The value of a header, if it came exactly once.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(present, _)| present == name).map(|(_, value)| value.as_str());
        values.next().filter(|_| values.next().is_none())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).expect("the body is UTF-8")
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("the body is not JSON ({error}): {}", self.text()))
    }
}

/// Sends a request and returns once the head of its answer has come; `Err` says how the connection failed before that.
pub(crate) async fn try_send(version: Version, address: SocketAddr, request: Request) -> Result<Response, String> {
    within(SOON, "the head of the answer", patient(version, address, request)).await
}

/// The same, however long it takes.
pub(crate) async fn patient(version: Version, address: SocketAddr, request: Request) -> Result<Response, String> {
    match version {
        Version::Http1 => http1::send(address, &request).await.map_err(|error| error.to_string()),
        Version::Http2 => http2::send(address, request).await.map_err(|error| error.to_string()),
    }
}

/// The same, for a request that must be answered.
pub(crate) async fn send(version: Version, address: SocketAddr, request: Request) -> Response {
    let what = format!("{} {}", request.method, request.path);
    try_send(version, address, request).await.unwrap_or_else(|error| panic!("{what} over {version:?}: {error}"))
}

/// The body of a small call.
pub(crate) fn call_body(dialect: Dialect, model: &str, stream: bool) -> Value {
    let messages = serde_json::json!([{ "role": "user", "content": "Hello" }]);
    match dialect {
        Dialect::Anthropic => {
            serde_json::json!({ "model": model, "max_tokens": 256, "messages": messages, "stream": stream })
        }
        Dialect::OpenaiChat => serde_json::json!({ "model": model, "messages": messages, "stream": stream }),
        Dialect::OpenaiResponses => serde_json::json!({ "model": model, "input": "Hello", "stream": stream }),
    }
}
