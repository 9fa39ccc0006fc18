//! The control socket: through it `luthien drain` asks for the end of calls that take too long, and nothing else. Calls that
//! come later are served: a container that is restarted drains as well, and the process goes on.
//!
//! A Unix socket, open to our own user. One line in, one line out.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    time::timeout,
};

use crate::lifecycle::Drain;

/// The socket's name, beside that of the external processor.
pub const SOCKET: &str = "control.sock";

/// The one request, and its answer.
const END: &str = "end calls\n";
const DONE: &str = "ok\n";

/// Whoever connects says at once what it wants.
const PATIENCE: Duration = Duration::from_secs(2);

/// Luthien was not asked, or did not understand.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// No answer.
    #[error("{} does not answer: {error}; does `luthien serve` run, with its sockets there?", socket.display())]
    Silent {
        /// The socket.
        socket: PathBuf,
        /// What happened.
        error: io::Error,
    },
    /// Another answer.
    #[error("{} is not a socket of this version of Luthien", .0.display())]
    Foreign(PathBuf),
}

/// Ends calls when somebody asks for it, for as long as it is polled.
pub(super) async fn serve(listener: UnixListener, drain: &Drain) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of files, most likely: nothing that trying again at once would help.
            tokio::time::sleep(PATIENCE).await;
            continue;
        };
        // One at a time: there is one to ask, and it asks once.
        if let Ok(Err(error)) = timeout(PATIENCE, answer(stream, drain)).await {
            tracing::debug!(%error, "somebody left the control socket");
        }
    }
}

async fn answer(stream: UnixStream, drain: &Drain) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    if line(read).await? != END {
        return write.write_all(b"unknown\n").await;
    }
    tracing::warn!("the time to end is over: calls in flight end with an error");
    drain.end_calls();
    write.write_all(DONE.as_bytes()).await
}

/// Asks the Luthien whose sockets stand in `dir` to end all calls, each with its dialect's error.
pub async fn end_calls(dir: &Path) -> Result<(), ControlError> {
    let socket = dir.join(SOCKET);
    let asked = async {
        let (read, mut write) = UnixStream::connect(&socket).await?.into_split();
        write.write_all(END.as_bytes()).await?;
        line(read).await
    };
    match timeout(PATIENCE, asked).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
        Ok(answer) if answer == DONE => Ok(()),
        Ok(_) => Err(ControlError::Foreign(socket)),
        Err(error) => Err(ControlError::Silent { socket, error }),
    }
}

async fn line(from: impl AsyncReadExt + Unpin) -> io::Result<String> {
    let mut line = String::new();
    BufReader::new(from.take(64)).read_line(&mut line).await?;
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::Endings;

    #[tokio::test]
    async fn calls_end_when_that_is_asked_for_and_for_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join(SOCKET);
        assert!(matches!(end_calls(dir.path()).await, Err(ControlError::Silent { .. })));
        let listener = UnixListener::bind(&socket).unwrap();
        let (drain, draining) = Drain::new();
        let client = async {
            let mut other = UnixStream::connect(&socket).await.unwrap();
            other.write_all(b"stop\n").await.unwrap();
            let mut said = String::new();
            other.read_to_string(&mut said).await.unwrap();
            assert_eq!((said.as_str(), *draining.borrow()), ("unknown\n", Endings::default()));
            end_calls(dir.path()).await.unwrap();
            assert!(draining.borrow().process.is_none());
            assert_eq!(draining.borrow().calls.map(|ending| ending.limit), Some(Duration::ZERO));
            end_calls(dir.path()).await.unwrap();
        };
        tokio::select! {
            () = serve(listener, &drain) => panic!("it ended"),
            () = client => {}
        }
    }

    #[tokio::test]
    async fn who_says_something_else_is_not_luthien() {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join(SOCKET)).unwrap();
        let other = async {
            let (read, mut write) = listener.accept().await.unwrap().0.into_split();
            line(read).await.unwrap();
            write.write_all(b"220 smtp\n").await.unwrap();
        };
        let (result, ()) = tokio::join!(end_calls(dir.path()), other);
        assert!(matches!(result, Err(ControlError::Foreign(_))));
    }
}
