//! How Envoy is emptied before it ends.
//!
//! Envoy closes every connection at once when it is asked to end, so whoever ends it waits first: until those who send calls
//! have noticed that its health check fails, and until no call is in flight.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::admin::{AdminClient, AdminError};

/// How often Envoy is asked whether calls are in flight.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// So many questions in a row may go without an answer. Each waits for two seconds.
const MOST_SILENCE: u32 = 3;

/// How long Envoy is given.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// It serves at least for so long, because balancers send calls until they have noticed.
    pub notice: Duration,
    /// Calls in flight are waited for until so long after the beginning.
    pub wait: Duration,
}

/// How an Envoy was left.
#[derive(Debug)]
pub enum Left {
    /// No call is in flight.
    Empty,
    /// So many calls still are, and the time is over.
    Calls(u64),
    /// It has ended by itself.
    Gone,
}

/// Lets Envoy turn away nobody but tell everybody, and waits until no call is in flight. Several may do so at once.
pub async fn empty(admin: &AdminClient, patience: Patience) -> Result<Left, AdminError> {
    let Patience { notice, wait } = patience;
    let begun = Instant::now();
    let mut silences = 0;
    let mut told = false;
    loop {
        let asked = async {
            if !told {
                admin.drain().await?;
            }
            admin.active_requests().await
        };
        let active = match asked.await {
            Ok(active) => {
                (told, silences) = (true, 0);
                active
            }
            Err(error) if error.is_gone() => return Ok(Left::Gone),
            Err(error) if silences + 1 >= MOST_SILENCE => return Err(error),
            Err(_) => {
                silences += 1;
                1
            }
        };
        let elapsed = begun.elapsed();
        if active == 0 && elapsed >= notice.min(wait) {
            return Ok(Left::Empty);
        }
        if elapsed >= wait {
            return Ok(Left::Calls(active));
        }
        sleep(ASK_EVERY.min(wait.saturating_sub(elapsed))).await;
    }
}

#[cfg(test)]
mod tests {
    use std::{
        path::Path,
        sync::atomic::{AtomicU32, Ordering},
    };

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::UnixListener,
    };

    use super::*;
    use crate::envoy::Address;

    const SECOND: Duration = Duration::from_secs(1);

    /// An Envoy whose calls in flight are as many as it says of the number of its question.
    async fn against(dir: &Path, calls: impl Fn(u32) -> Option<u64>, patience: Patience) -> Result<Left, AdminError> {
        let socket = dir.join("admin.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let asked = AtomicU32::new(0);
        let server = async {
            let mut hung = Vec::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 512];
                let n = stream.read(&mut request).await.unwrap();
                let said = if request[..n].starts_with(b"POST ") {
                    "OK".to_owned()
                } else if let Some(calls) = calls(asked.fetch_add(1, Ordering::Relaxed)) {
                    format!("http.clients.downstream_rq_active: {calls}")
                } else {
                    // It hangs: the connection stays open and nothing comes.
                    hung.push(stream);
                    continue;
                };
                stream.write_all(format!("HTTP/1.1 200 OK\r\n\r\n{said}\n").as_bytes()).await.unwrap();
            }
        };
        let admin = AdminClient::new(Address::Pipe(socket));
        tokio::select! {
            () = server => unreachable!("it serves for ever"),
            left = empty(&admin, patience) => left,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_empty_envoy_serves_until_it_was_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let begun = Instant::now();
        let left = against(dir.path(), |_| Some(0), Patience { notice: 5 * SECOND, wait: 60 * SECOND }).await.unwrap();
        assert!(matches!(left, Left::Empty) && begun.elapsed() >= 5 * SECOND, "{left:?} after {:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn calls_are_waited_for_but_not_for_ever() {
        for (calls_end_at, expected) in [(3, Some(0)), (u32::MAX, None)] {
            let dir = tempfile::tempdir().unwrap();
            let begun = Instant::now();
            let calls = |question| Some(if question >= calls_end_at { 0 } else { 7 });
            let left = against(dir.path(), calls, Patience { notice: SECOND / 10, wait: 60 * SECOND }).await.unwrap();
            match (left, expected) {
                (Left::Empty, Some(_)) => assert!(begun.elapsed() < 60 * SECOND),
                (Left::Calls(7), None) => assert!(begun.elapsed() >= 60 * SECOND),
                (left, _) => panic!("{left:?} after {:?}", begun.elapsed()),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_envoy_that_hangs_is_an_error_and_one_hiccup_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let begun = Instant::now();
        let patience = Patience { notice: Duration::ZERO, wait: 600 * SECOND };
        against(dir.path(), |_| None, patience).await.unwrap_err();
        assert!(begun.elapsed() < 60 * SECOND, "{:?}", begun.elapsed());
        let dir = tempfile::tempdir().unwrap();
        let left = against(dir.path(), |question| (question % 3 == 2).then_some(0), patience).await.unwrap();
        assert!(matches!(left, Left::Empty), "{left:?}");
    }

    #[tokio::test]
    async fn an_envoy_that_has_ended_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("admin.sock");
        drop(UnixListener::bind(&socket).unwrap());
        let patience = Patience { notice: 600 * SECOND, wait: 600 * SECOND };
        let left = empty(&AdminClient::new(Address::Pipe(socket)), patience).await.unwrap();
        assert!(matches!(left, Left::Gone), "{left:?}");
    }
}
