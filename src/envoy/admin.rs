//! The few questions that Luthien asks Envoy's admin interface.
//!
//! One request for each connection, which ends with the answer, so that no HTTP client is needed over a Unix socket. The
//! health check of a container asks in the same way.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

use super::address::Address;

/// Envoy answers from its main thread, and Luthien what its health is, at once unless it hangs.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// A whole configuration takes longer to write.
const DUMP_WITHIN: Duration = Duration::from_secs(30);
/// Most of what is asked for here is short.
const LONGEST_ANSWER: u64 = 64 << 10;
/// The configuration of a gateway with thousands of routes.
const LONGEST_DUMP: u64 = 512 << 20;
/// The listener's `stat_prefix` is `clients`.
const ACTIVE_REQUESTS: &str = "GET /stats?filter=^http.clients.downstream_rq_active$";

/// Speaks to Envoy's admin interface.
#[derive(Debug, Clone)]
pub struct AdminClient {
    address: Address,
}

/// Envoy's admin interface did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// No answer.
    #[error("Envoy's admin interface at {address} does not answer: {error}")]
    Silent {
        /// Where.
        address: Address,
        /// What happened.
        error: io::Error,
    },
    /// Another answer than 200.
    #[error("Envoy's admin interface at {address} answered {status} to {what}")]
    Status {
        /// Where.
        address: Address,
        /// Method and path.
        what: &'static str,
        /// The HTTP status.
        status: u16,
    },
}

impl AdminError {
    /// Nobody listens at a socket that is there: Envoy has ended.
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Silent { error, .. } if error.kind() == io::ErrorKind::ConnectionRefused)
    }
}

impl AdminClient {
    /// For the admin interface at `address`.
    pub const fn new(address: Address) -> Self {
        Self { address }
    }

    /// Succeeds when Envoy listens: it answers 503 while it still loads certificates or waits for DNS.
    pub async fn ready(&self) -> Result<(), AdminError> {
        self.ask("GET /ready").await.map(drop)
    }

    /// Lets the listener's health check fail, and answers carry `connection: close` or GOAWAY from now on: the first step
    /// of an end. Calls that still come are served. May be repeated.
    pub async fn drain(&self) -> Result<(), AdminError> {
        self.ask("POST /healthcheck/fail").await?;
        // Without `skip_exit` they would not listen any more once Envoy's own time for a drain is over.
        self.ask("POST /drain_listeners?graceful&skip_exit").await.map(drop)
    }

    /// How many requests of clients are not answered completely.
    pub async fn active_requests(&self) -> Result<u64, AdminError> {
        let answer = self.ask(ACTIVE_REQUESTS).await?;
        let unread = || {
            let error = io::Error::new(io::ErrorKind::InvalidData, "this is no number of requests");
            AdminError::Silent { address: self.address.clone(), error }
        };
        // `http.clients.downstream_rq_active: 3`, among the sizes of its chunks; a statistic that nothing has touched is not
        // listed.
        let mut named = answer.lines().filter_map(|line| line.split_once("downstream_rq_active: "));
        named.next().map_or(Ok(0), |(_, count)| count.trim().parse().map_err(|_| unread()))
    }

    async fn ask(&self, what: &'static str) -> Result<String, AdminError> {
        let silent = |error| AdminError::Silent { address: self.address.clone(), error };
        let (status, body) = ask(&self.address, what).await.map_err(silent)?;
        if status == 200 { Ok(body) } else { Err(AdminError::Status { address: self.address.clone(), what, status }) }
    }
}

/// Asks for `what` (method and path) over plain HTTP, and returns status and body.
pub async fn ask(address: &Address, what: &str) -> io::Result<(u16, String)> {
    ask_within(address, what, ANSWER_WITHIN, LONGEST_ANSWER).await
}

/// The same for an answer that is long, as a whole configuration.
pub async fn ask_at_length(address: &Address, what: &str) -> io::Result<(u16, String)> {
    ask_within(address, what, DUMP_WITHIN, LONGEST_DUMP).await
}

async fn ask_within(address: &Address, what: &str, limit: Duration, longest: u64) -> io::Result<(u16, String)> {
    let exchanged = async {
        match address {
            Address::Pipe(path) => exchange(UnixStream::connect(path).await?, what, longest).await,
            Address::Socket { host, port } => {
                exchange(TcpStream::connect((host.as_str(), *port)).await?, what, longest).await
            }
        }
    };
    tokio::time::timeout(limit, exchanged).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    what: &str,
    longest: u64,
) -> io::Result<(u16, String)> {
    let request = format!("{what} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(longest).read_to_end(&mut answer).await?;
    read(&answer).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "this is not HTTP"))
}

/// Status and body of a whole answer, which Envoy sends in chunks (RFC 9112, 7.1).
fn read(answer: &[u8]) -> Option<(u16, String)> {
    let end = memchr::memmem::find(answer, b"\r\n\r\n").unwrap_or(answer.len());
    let (head, body) = answer.split_at(end);
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let status = head.strip_prefix("http/1.1 ")?.get(..3)?.parse().ok()?;
    let mut rest = body.get(4..).unwrap_or_default();
    if !head.contains("\r\ntransfer-encoding: chunked") {
        return Some((status, String::from_utf8_lossy(rest).into_owned()));
    }
    let mut whole = Vec::with_capacity(rest.len());
    loop {
        let line = memchr::memmem::find(rest, b"\r\n")?;
        let size = std::str::from_utf8(rest.get(..line)?).ok()?.split(';').next()?;
        let size = usize::from_str_radix(size.trim(), 16).ok()?;
        if size == 0 {
            return Some((status, String::from_utf8_lossy(&whole).into_owned()));
        }
        let from = line.checked_add(2)?;
        let to = from.checked_add(size)?;
        whole.extend_from_slice(rest.get(from..to)?);
        rest = rest.get(to.checked_add(2)?..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks a server that answers so.
    async fn against<T>(answer: &'static str, ask: impl AsyncFnOnce(AdminClient) -> T) -> T {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 512];
            let n = stream.read(&mut request).await.unwrap();
            assert!(request[..n].starts_with(b"GET /"), "{:?}", String::from_utf8_lossy(&request[..n]));
            stream.write_all(answer.as_bytes()).await.unwrap();
        };
        let client = AdminClient::new(Address::Pipe(path));
        tokio::join!(server, ask(client)).1
    }

    #[tokio::test]
    async fn active_requests_are_found_among_chunks_and_never_taken_for_none() {
        let active = async |answer| against(answer, async |client| client.active_requests().await).await;
        let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n26\r\nhttp.clients.downstream_rq_active: 12\n\r\n0\r\n\r\n";
        assert_eq!(active(chunked).await.unwrap(), 12);
        assert_eq!(active("HTTP/1.1 200 OK\r\n\r\nhttp.clients.downstream_rq_active: 3\n").await.unwrap(), 3);
        assert_eq!(active("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n").await.unwrap(), 0);
        active("HTTP/1.1 200 OK\r\n\r\nhttp.clients.downstream_rq_active: many\n").await.unwrap_err();
    }

    #[test]
    fn an_answer_in_chunks_is_read_as_one() {
        let chunked =
            |body: &str| read(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}").as_bytes());
        assert_eq!(chunked("3\r\n{\r\n\r\n1;x=y\r\n}\r\n0\r\n\r\n"), Some((200, "{\r\n}".to_owned())));
        // Cut off: never taken for a whole one.
        for cut in ["3\r\n{", "3\r\n{\r\n\r\n", "zz\r\n{}\r\n0\r\n\r\n", "ffffffffffffffff\r\n{}"] {
            assert_eq!(chunked(cut), None, "{cut:?}");
        }
        assert_eq!(read(b"HTTP/1.1 404 Not Found\r\na: b\r\n\r\n{}"), Some((404, "{}".to_owned())));
    }

    #[tokio::test]
    async fn only_200_is_ready() {
        let against = async |answer| against(answer, async |client| client.ready().await).await;
        against("HTTP/1.1 200 OK\r\n\r\nLIVE\n").await.unwrap();
        let error = against("HTTP/1.1 503 Service Unavailable\r\n\r\n").await.unwrap_err();
        assert!(matches!(error, AdminError::Status { status: 503, .. }), "{error}");
        assert!(matches!(against("SSH-2.0-something\r\n").await, Err(AdminError::Silent { .. })));
        assert!(matches!(against("").await, Err(AdminError::Silent { .. })));
    }
}
