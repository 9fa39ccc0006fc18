//! The client's part: HTTP/1.1 connections that ask one after another and note when what came.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use memchr::memmem;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

use crate::{
    plan::Load,
    provider::{ANSWER, events},
};

/// Times of one round, in microseconds.
pub(crate) struct Times {
    pub(crate) first_byte: Histogram<u64>,
    pub(crate) gap: Histogram<u64>,
    pub(crate) total: Histogram<u64>,
    /// The whole round.
    pub(crate) took: Duration,
}

impl Times {
    fn new() -> Self {
        let histogram = || Histogram::new_with_bounds(1, 600_000_000, 3).expect("the bounds are legal");
        Self { first_byte: histogram(), gap: histogram(), total: histogram(), took: Duration::ZERO }
    }

    fn add(&mut self, other: &Self) {
        self.first_byte.add(&other.first_byte).expect("the same bounds");
        self.gap.add(&other.gap).expect("the same bounds");
        self.total.add(&other.total).expect("the same bounds");
    }
}

/// Microseconds since then.
fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX).max(1)
}

/// A request of a load, head and body.
fn request(load: &Load) -> Vec<u8> {
    let stream = load.answer != "json";
    let text = "There was a gateway between an agent and its model, and it saw what went by. ".repeat(52);
    let mut body = format!(r#"{{"model":"m-1","max_tokens":1024,"stream":{stream},"messages":["#);
    let turn = |text: &str| format!(r#"{{"role":"user","content":[{{"type":"text","text":"{text}"}}]}},"#);
    // A long history is many turns of some kilobytes each.
    while body.len() + 2 * text.len() < load.request {
        body.push_str(&turn(&text));
    }
    let left = load.request.saturating_sub(body.len() + 100);
    body.push_str(&turn(&text[..left.min(text.len())]));
    body.pop();
    body.push_str("]}");
    let head = format!(
        "POST /v1/messages HTTP/1.1\r\nhost: gateway\r\ncontent-type: application/json\r\nx-api-key: sk-ant-bench\r\n\
         anthropic-version: 2023-06-01\r\n{ANSWER}: {}\r\ncontent-length: {}\r\n\r\n",
        load.answer,
        body.len()
    );
    [head, body].concat().into_bytes()
}

/// Puts the load on whoever listens there.
pub(crate) async fn run(load: &Load, at: SocketAddr) -> Times {
    let request = Arc::new(request(load));
    // Frames of whatever kind, blank lines among them.
    let frames = if load.answer == "json" { 0 } else { events().len() };
    let left = Arc::new(AtomicUsize::new(load.requests));
    let mut connections = Vec::new();
    for _ in 0..load.connections.min(load.requests) {
        connections.push(Connection::open(at).await);
    }
    let began = Instant::now();
    let mut clients = JoinSet::new();
    for mut connection in connections {
        let (request, left) = (Arc::clone(&request), Arc::clone(&left));
        clients.spawn(async move {
            let mut times = Times::new();
            while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
                connection.ask(&request, frames, &mut times).await;
            }
            times
        });
    }
    let mut all = Times::new();
    while let Some(times) = clients.join_next().await {
        all.add(&times.expect("a client runs to its end"));
    }
    all.took = began.elapsed();
    all
}

struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    async fn open(at: SocketAddr) -> Self {
        let stream = TcpStream::connect(at).await.expect("the gateway listens");
        stream.set_nodelay(true).expect("an option of every socket");
        Self { stream, buffer: Vec::with_capacity(64 << 10) }
    }

    async fn read(&mut self) {
        let count = self.stream.read_buf(&mut self.buffer).await.expect("the answer can be read");
        assert!(count > 0, "the connection ended: {}", String::from_utf8_lossy(&self.buffer));
    }

    /// One request and its whole answer, which must be the right one.
    async fn ask(&mut self, request: &[u8], frames: usize, times: &mut Times) {
        let began = Instant::now();
        self.buffer.clear();
        self.stream.write_all(request).await.expect("the request can be sent");
        let head = loop {
            self.read().await;
            if let Some(end) = memmem::find(&self.buffer, b"\r\n\r\n") {
                break String::from_utf8_lossy(&self.buffer[..end]).to_ascii_lowercase();
            }
        };
        assert!(head.starts_with("http/1.1 200"), "{}", String::from_utf8_lossy(&self.buffer));
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
        self.buffer.drain(..head.len() + 4);
        let (mut seen, mut body, mut last_event, mut tail) = (0, 0, None, Vec::new());
        loop {
            if !self.buffer.is_empty() {
                if body == 0 {
                    times.first_byte.saturating_record(micros(began));
                }
                body += self.buffer.len();
                // What ends a frame or the body may lie across two reads.
                let before = tail.len();
                tail.extend_from_slice(&self.buffer);
                let events = memmem::find_iter(&tail, b"\n\n").filter(|at| at + 2 > before).count();
                if events > 0 {
                    if let Some(last) = last_event.replace(Instant::now()) {
                        times.gap.saturating_record(micros(last));
                    }
                    seen += events;
                }
                if length.map_or_else(|| tail.ends_with(b"0\r\n\r\n"), |length| body >= length) {
                    break;
                }
                tail.drain(..tail.len().saturating_sub(64));
            }
            self.buffer.clear();
            self.read().await;
        }
        times.total.saturating_record(micros(began));
        // A replaced word that was cut in two leaves in one piece.
        assert!(seen <= frames && seen >= frames - frames / 10, "{seen} of {frames} frames of an answer");
        assert!(frames == 0 || memmem::find(&tail, b"message_stop").is_some(), "an answer without its end");
        assert!(body > 100, "an answer of {body} bytes");
    }
}
