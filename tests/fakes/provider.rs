//! A provider over HTTP/1.1 that answers from scripts, remembers what it was asked, and notices when its client leaves.
//!
//! Written on the socket rather than with an HTTP library: it must also break the protocol on purpose.

use std::{
    collections::{HashMap, VecDeque},
    future, io, iter,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::{Buf, Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinSet,
    time,
};

use super::script::{End, Framing, Script, Step};

/// The fake. Dropping it closes its listener and its connections.
pub(crate) struct Provider {
    address: SocketAddr,
    shared: Arc<Shared>,
    _connections: JoinSet<()>,
}

/// A request that reached the provider.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) method: String,
    /// With the query.
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
    fate: watch::Receiver<Fate>,
}

/// What became of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// The answer is being sent.
    Open,
    /// The script was played to its end.
    Played,
    /// The client closed the connection before that.
    Abandoned(Instant),
}

struct Shared {
    scripts: Mutex<Scripts>,
    received: watch::Sender<Vec<Received>>,
    forgets: AtomicBool,
}

#[derive(Default)]
struct Scripts {
    by_model: HashMap<String, Script>,
    by_text: Vec<(String, Script)>,
    queue: VecDeque<Script>,
    otherwise: Option<Script>,
}

struct Connection {
    read: OwnedReadHalf,
    write: OwnedWriteHalf,
    buffer: BytesMut,
}

struct Request {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Bytes,
}

impl Provider {
    /// Starts it on a free port of the loopback interface.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a loopback port is free");
        let address = listener.local_addr().expect("a bound listener has an address");
        let shared = Arc::new(Shared {
            scripts: Mutex::default(),
            received: watch::Sender::new(Vec::new()),
            forgets: AtomicBool::default(),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, Arc::clone(&shared)));
        Self { address, shared, _connections: tasks }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Answers the next request that no other rule covers with this script; several are used in order.
    pub(crate) fn expect(&self, script: Script) {
        self.scripts(|scripts| scripts.queue.push_back(script));
    }

    /// Answers every request whose body names this `model` with this script.
    pub(crate) fn on_model(&self, model: &str, script: Script) {
        self.scripts(|scripts| scripts.by_model.insert(model.to_owned(), script));
    }

    /// Answers every request whose body holds this text with this script.
    pub(crate) fn on_text(&self, text: &str, script: Script) {
        self.scripts(|scripts| scripts.by_text.push((text.to_owned(), script)));
    }

    /// Answers whatever nothing else covers with this script.
    pub(crate) fn otherwise(&self, script: Script) {
        self.scripts(|scripts| scripts.otherwise = Some(script));
    }

    /// From now on, requests are answered and forgotten: for tests that make too many to remember.
    pub(crate) fn forget(&self) {
        self.shared.forgets.store(true, Ordering::Relaxed);
    }

    /// Every request so far, in the order of their arrival.
    pub(crate) fn requests(&self) -> Vec<Received> {
        self.shared.received.borrow().clone()
    }

    /// The request of that number, counted from 0, once it has come.
    pub(crate) async fn request(&self, number: usize) -> Received {
        let mut received = self.shared.received.subscribe();
        let wait = received.wait_for(|received| received.len() > number);
        let all = time::timeout(Duration::from_secs(30), wait)
            .await
            .unwrap_or_else(|_| panic!("the provider did not get its request number {number}"));
        all.expect("the provider is alive")[number].clone()
    }

    fn scripts<R>(&self, change: impl FnOnce(&mut Scripts) -> R) -> R {
        change(&mut self.shared.scripts.lock().expect("no holder of the scripts panics"))
    }
}

impl Received {
    /// The value of a header, if it came exactly once.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    /// When the client closed the connection before the script was played. Fails when the script is played to its end,
    /// or nothing happens within `limit`.
    pub(crate) async fn abandoned(&self, limit: Duration) -> Instant {
        let mut fate = self.fate.clone();
        let wait = fate.wait_for(|fate| *fate != Fate::Open);
        let fate = time::timeout(limit, wait)
            .await
            .unwrap_or_else(|_| panic!("the connection to the provider was still open after {limit:?}"));
        match *fate.expect("the provider is alive") {
            Fate::Abandoned(when) => when,
            Fate::Open | Fate::Played => panic!("the provider sent its whole answer"),
        }
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.expect("the listener accepts");
        while connections.try_join_next().is_some() {}
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            // A client may leave at any moment, and the scripts break connections on purpose.
            let _ = serve(stream, &shared).await;
        });
    }
}

async fn serve(stream: TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (read, write) = stream.into_split();
    let mut connection = Connection { read, write, buffer: BytesMut::new() };
    while let Some(request) = connection.request().await? {
        let script = shared.pick(&request);
        let fate = shared.record(request);
        let played = tokio::select! {
            played = answer(&mut connection.write, &script) => played,
            () = left(&mut connection.read) => Err(io::ErrorKind::ConnectionAborted.into()),
        };
        fate.send_replace(if played.is_ok() { Fate::Played } else { Fate::Abandoned(Instant::now()) });
        played?;
        match script.end {
            End::Clean => {}
            End::Cut => return Ok(()),
            End::Reset => return connection.reset(),
        }
    }
    Ok(())
}

impl Shared {
    fn pick(&self, request: &Request) -> Script {
        let mut scripts = self.scripts.lock().expect("no holder of the scripts panics");
        let body: Option<serde_json::Value> = serde_json::from_slice(&request.body).ok();
        let model = body.as_ref().and_then(|body| body["model"].as_str());
        if let Some(script) = model.and_then(|model| scripts.by_model.get(model)) {
            return script.clone();
        }
        let holds = |text: &str| memchr::memmem::find(&request.body, text.as_bytes()).is_some();
        if let Some((_, script)) = scripts.by_text.iter().find(|(text, _)| holds(text)) {
            return script.clone();
        }
        scripts.queue.pop_front().or_else(|| scripts.otherwise.clone()).unwrap_or_else(|| {
            let text = format!("the fake provider has no script for {} {}", request.method, request.path);
            Script::json(serde_json::json!({ "error": { "message": text } }).to_string()).status(599)
        })
    }

    fn record(&self, request: Request) -> watch::Sender<Fate> {
        let (sender, fate) = watch::channel(Fate::Open);
        if self.forgets.load(Ordering::Relaxed) {
            return sender;
        }
        let Request { method, path, headers, body } = request;
        self.received.send_modify(|received| received.push(Received { method, path, headers, body, fate }));
        sender
    }
}

impl Connection {
    /// The next request, or nothing when the client has closed the connection.
    async fn request(&mut self) -> io::Result<Option<Request>> {
        let Some(head) = self.through(b"\r\n\r\n").await? else { return Ok(None) };
        let head = String::from_utf8_lossy(&head).into_owned();
        let mut lines = head.split("\r\n").filter(|line| !line.is_empty());
        let mut start = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
        let (method, path) = (start.next().unwrap_or_default(), start.next().unwrap_or_default());
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        if header(&headers, "expect").is_some() {
            self.write.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        let body = if header(&headers, "transfer-encoding").is_some_and(|coding| coding.contains("chunked")) {
            self.chunked().await?
        } else {
            let length = header(&headers, "content-length").map_or(Ok(0), str::parse).map_err(io::Error::other)?;
            self.exactly(length).await?
        };
        Ok(Some(Request { method, path, headers, body }))
    }

    async fn chunked(&mut self) -> io::Result<Bytes> {
        let mut body = BytesMut::new();
        loop {
            let line = self.through(b"\r\n").await?.ok_or(io::ErrorKind::UnexpectedEof)?;
            let size = String::from_utf8_lossy(&line);
            let size = size.trim().split(';').next().unwrap_or_default();
            let size = usize::from_str_radix(size, 16).map_err(io::Error::other)?;
            if size == 0 {
                while self.through(b"\r\n").await?.is_some_and(|trailer| trailer.len() > 2) {}
                return Ok(body.freeze());
            }
            body.extend_from_slice(&self.exactly(size).await?);
            self.exactly(2).await?;
        }
    }

    /// The bytes up to and with `mark`, or nothing when the connection ends first.
    async fn through(&mut self, mark: &[u8]) -> io::Result<Option<Bytes>> {
        loop {
            if let Some(at) = memchr::memmem::find(&self.buffer, mark) {
                return Ok(Some(self.buffer.split_to(at + mark.len()).freeze()));
            }
            if self.read.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }

    async fn exactly(&mut self, length: usize) -> io::Result<Bytes> {
        self.buffer.reserve(length.saturating_sub(self.buffer.len()));
        while self.buffer.len() < length {
            if self.read.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.buffer.copy_to_bytes(length))
    }

    fn reset(self) -> io::Result<()> {
        let stream = self.read.reunite(self.write).map_err(io::Error::other)?;
        // With no time to linger, closing sends RST instead of FIN.
        stream.set_zero_linger()
    }
}

/// Sends the answer.
async fn answer(write: &mut OwnedWriteHalf, script: &Script) -> io::Result<()> {
    for step in &script.before_head {
        play(write, step, script.framing).await?;
    }
    write.write_all(head(script).as_bytes()).await?;
    for step in &script.steps {
        play(write, step, script.framing).await?;
    }
    if script.end == End::Clean && script.framing == Framing::Chunked {
        write.write_all(b"0\r\n\r\n").await?;
    }
    write.flush().await
}

async fn play(write: &mut OwnedWriteHalf, step: &Step, framing: Framing) -> io::Result<()> {
    match step {
        Step::Write(bytes) if bytes.is_empty() => {}
        Step::Write(bytes) => {
            if framing == Framing::Chunked {
                write.write_all(format!("{:x}\r\n", bytes.len()).as_bytes()).await?;
            }
            write.write_all(bytes).await?;
            if framing == Framing::Chunked {
                write.write_all(b"\r\n").await?;
            }
        }
        Step::Pause(pause) => time::sleep(*pause).await,
        Step::Wait(gate) => gate.passed().await,
        Step::Reach(gate) => gate.open(),
        Step::Hang => future::pending().await,
    }
    Ok(())
}

fn head(script: &Script) -> String {
    let length = match script.framing {
        Framing::Chunked => "transfer-encoding: chunked".to_owned(),
        Framing::ContentLength => {
            let written = |step: &Step| if let Step::Write(bytes) = step { bytes.len() } else { 0 };
            format!("content-length: {}", script.steps.iter().map(written).sum::<usize>())
        }
    };
    let start = format!("HTTP/1.1 {} Scripted", script.status);
    let headers = script.headers.iter().map(|(name, value)| format!("{name}: {value}"));
    let end = [length, String::new(), String::new()];
    iter::once(start).chain(headers).chain(end).collect::<Vec<_>>().join("\r\n")
}

/// Returns when the client closes or resets the connection.
async fn left(read: &mut OwnedReadHalf) {
    let mut byte = [0];
    // A byte that waits here is the start of a request sent too early: nothing to learn from this connection.
    if let Ok(1..) = read.peek(&mut byte).await {
        future::pending::<()>().await;
    }
}

fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let mut values = headers.iter().filter(|(present, _)| present == name).map(|(_, value)| value.as_str());
    values.next().filter(|_| values.next().is_none())
}
