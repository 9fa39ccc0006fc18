//! HTTP/1.1 on a bare socket, one request for each connection.

use std::{io, net::SocketAddr};

use bytes::{Buf, Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::JoinSet,
};

use super::client::{self, End, Hold, Place, Request, Response};

/// The rest of an answer.
pub(super) struct Body {
    read: OwnedReadHalf,
    buffer: BytesMut,
    rest: Rest,
    /// Sends the request, which may take longer than the answer; ends with the body.
    _upload: JoinSet<()>,
}

/// How the end of the body is told.
enum Rest {
    /// At the start of a chunk's size line.
    Chunked,
    /// Inside a chunk: this much of it, and its line end, are still to come.
    Chunk(usize),
    /// A content length of which this much is still to come.
    Length(usize),
    /// With the connection.
    Close,
}

pub(super) async fn send(address: SocketAddr, request: &Request) -> io::Result<Response> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (mut read, mut write) = stream.into_split();
    let head = request_head(address, request);
    let (payload, hold) = (request.body.clone(), request.hold.clone());
    let mut upload = JoinSet::new();
    upload.spawn(async move {
        // A gateway that refuses a body need not read it: whether all of it was taken shows in the answer.
        let _ = match hold {
            None => {
                async {
                    write.write_all(head.as_bytes()).await?;
                    write.write_all(&payload).await
                }
                .await
            }
            Some(hold) => held(&mut write, [head.as_bytes(), &payload].concat(), head.len(), &hold).await,
        };
        // Closing this half would tell the server that the client has left.
        std::future::pending::<()>().await;
    });
    let mut buffer = BytesMut::new();
    let (status, headers) = loop {
        let end = loop {
            if let Some(at) = memchr::memmem::find(&buffer, b"\r\n\r\n") {
                break at + 4;
            }
            if read.read_buf(&mut buffer).await? == 0 {
                return Err(io::Error::other("the connection closed before the head of the answer was complete"));
            }
        };
        let (status, headers) = answer_head(&buffer.split_to(end))?;
        if status != 100 {
            break (status, headers);
        }
    };
    let rest = rest(request, status, &headers)?;
    let body = client::Body::Http1(Body { read, buffer, rest, _upload: upload });
    Ok(Response { status, headers, body })
}

impl Body {
    pub(super) async fn piece(&mut self) -> Result<Bytes, End> {
        loop {
            match self.rest {
                Rest::Length(0) => return Err(End::Clean),
                Rest::Length(left) if !self.buffer.is_empty() => {
                    let taken = left.min(self.buffer.len());
                    self.rest = Rest::Length(left - taken);
                    return Ok(self.buffer.copy_to_bytes(taken));
                }
                Rest::Close if !self.buffer.is_empty() => return Ok(self.buffer.split().freeze()),
                Rest::Chunk(0) if self.buffer.len() >= 2 => {
                    if !self.buffer.starts_with(b"\r\n") {
                        return Err(End::Cut("a chunk is longer than its size".to_owned()));
                    }
                    self.buffer.advance(2);
                    self.rest = Rest::Chunked;
                    continue;
                }
                Rest::Chunk(left @ 1..) if !self.buffer.is_empty() => {
                    let taken = left.min(self.buffer.len());
                    self.rest = Rest::Chunk(left - taken);
                    return Ok(self.buffer.copy_to_bytes(taken));
                }
                Rest::Chunked => {
                    if let Some(at) = memchr::memmem::find(&self.buffer, b"\r\n") {
                        let line = String::from_utf8_lossy(&self.buffer[..at]).into_owned();
                        let size = usize::from_str_radix(line.split(';').next().unwrap_or_default(), 16)
                            .map_err(|_| End::Cut(format!("`{line}` is not the size of a chunk")))?;
                        if size > 0 {
                            self.buffer.advance(at + 2);
                            self.rest = Rest::Chunk(size);
                            continue;
                        }
                        // The last chunk; no trailers are asked for.
                        if self.buffer.len() >= at + 4 {
                            let clean = self.buffer[at..].starts_with(b"\r\n\r\n");
                            return Err(if clean {
                                End::Clean
                            } else {
                                End::Cut("trailers after the last chunk".to_owned())
                            });
                        }
                    }
                }
                Rest::Length(_) | Rest::Close | Rest::Chunk(_) => {}
            }
            match self.read.read_buf(&mut self.buffer).await {
                Ok(0) if matches!(self.rest, Rest::Close) => return Err(End::Clean),
                Ok(0) => return Err(End::Cut("the connection closed inside the body".to_owned())),
                Ok(_) => {}
                Err(error) => return Err(End::Cut(error.to_string())),
            }
        }
    }
}

/// Sends a request in two halves.
async fn held(write: &mut OwnedWriteHalf, request: Vec<u8>, head: usize, hold: &Hold) -> io::Result<()> {
    let half = match hold.at {
        Place::Head => head / 2,
        Place::Body => head + (request.len() - head) / 2,
    };
    write.write_all(&request[..half]).await?;
    hold.wait().await;
    write.write_all(&request[half..]).await
}

fn request_head(address: SocketAddr, request: &Request) -> String {
    let mut head = format!("{} {} HTTP/1.1\r\n", request.method, request.path);
    if !request.headers.iter().any(|(name, _)| name == "host") {
        head.extend(["host: ", &address.to_string(), "\r\n"]);
    }
    for (name, value) in &request.headers {
        head.push_str(name);
        head.push_str(": ");
        head.push_str(value);
        head.push_str("\r\n");
    }
    if !request.body.is_empty() || request.method == "POST" {
        head.push_str("content-length: ");
        head.push_str(&request.body.len().to_string());
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
    head
}

fn answer_head(head: &[u8]) -> io::Result<(u16, Vec<(String, String)>)> {
    let head = String::from_utf8_lossy(head);
    let mut lines = head.split("\r\n").filter(|line| !line.is_empty());
    let status = lines.next().unwrap_or_default();
    let status = status
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .ok_or_else(|| io::Error::other(format!("`{status}` is not a status line")))?;
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    Ok((status, headers))
}

fn rest(request: &Request, status: u16, headers: &[(String, String)]) -> io::Result<Rest> {
    let header = |wanted: &str| headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    if request.method == "HEAD" || matches!(status, 204 | 304) {
        return Ok(Rest::Length(0));
    }
    match (header("transfer-encoding"), header("content-length")) {
        (Some("chunked"), None) => Ok(Rest::Chunked),
        (None, Some(length)) => length.parse().map(Rest::Length).map_err(io::Error::other),
        (None, None) => Ok(Rest::Close),
        (coding, length) => {
            Err(io::Error::other(format!("transfer-encoding {coding:?} with content-length {length:?}")))
        }
    }
}
