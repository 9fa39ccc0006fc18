//! Bytes on a bare socket, for requests that no library would send.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{SOON, within};

/// Sends `bytes` and reads until the other side closes the connection. The request has to say that it may, unless it is
/// one after which nobody goes on.
pub(crate) async fn exchange(address: SocketAddr, bytes: &[u8]) -> String {
    let mut socket = TcpStream::connect(address).await.expect("the listener accepts");
    let told = String::from_utf8_lossy(bytes.get(..200.min(bytes.len())).unwrap_or_default()).into_owned();
    let exchanged = async {
        // Whoever refuses a request early reads no more of it.
        let _ = socket.write_all(bytes).await;
        let mut answer = Vec::new();
        // A reset behind an answer takes nothing from what was read.
        let _ = socket.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    };
    within(SOON, &format!("the end of the answer to {told:?}"), exchanged).await
}

/// The statuses of the answers that `text` holds, in order.
pub(crate) fn statuses(text: &str) -> Vec<u16> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("HTTP/1.1 "));
    lines.filter_map(|line| line.get(..3)?.parse().ok()).filter(|status| *status != 100).collect()
}
