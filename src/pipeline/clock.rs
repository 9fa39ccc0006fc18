//! Time limits, each its own clock.
//!
//! Exact deadlines, not polling: [`Clocks`] says when the next limit is due, and the driver sleeps until then.

use std::time::Duration;

use tokio::time::Instant;

use crate::model::{Failure, FailureKind, seconds};

/// Notices that the provider fell silent.
///
/// Runs only while we wait for the provider: it restarts at zero on every chunk, and when our own work ends.
#[derive(Debug)]
pub struct TimeoutMonitor {
    limit: Duration,
    started: Instant,
    /// Since when it runs. `None`: paused.
    since: Option<Instant>,
    chunks: u64,
}

/// The provider fell silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stalled {
    /// How long nothing came.
    pub silent_for: Duration,
    /// The limit.
    pub limit: Duration,
    /// Since the request was sent.
    pub elapsed: Duration,
    /// Chunks that came.
    pub chunks: u64,
}

impl TimeoutMonitor {
    /// A monitor of a request that was sent at `started`. Runs from `now` on.
    pub fn new(limit: Duration, started: Instant, now: Instant) -> Self {
        Self { limit, started, since: Some(now), chunks: 0 }
    }

    /// A chunk came.
    pub fn keepalive(&mut self, now: Instant) {
        self.chunks += 1;
        if self.since.is_some() {
            self.since = Some(now);
        }
    }

    /// We are at work ourselves: silence is not the provider's.
    pub fn pause(&mut self) {
        self.since = None;
    }

    /// We wait for the provider again.
    pub fn resume(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }

    /// When the limit is due.
    pub fn deadline(&self) -> Option<Instant> {
        self.since.map(|since| since + self.limit)
    }

    /// Whether the limit is reached.
    pub fn check(&self, now: Instant) -> Result<(), Stalled> {
        match self.since {
            Some(since) if now.duration_since(since) >= self.limit => Err(Stalled {
                silent_for: now.duration_since(since),
                limit: self.limit,
                elapsed: now.duration_since(self.started),
                chunks: self.chunks,
            }),
            Some(_) | None => Ok(()),
        }
    }
}

impl From<Stalled> for Failure {
    fn from(stalled: Stalled) -> Self {
        Self::stalled(stalled.silent_for, stalled.limit, stalled.elapsed, stalled.chunks)
    }
}

/// A limit that runs once, from its beginning to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline {
    limits: Limits,
    since: Instant,
    limit: Duration,
}

/// What a [`Deadline`] limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limits {
    /// The client's sending of its request.
    Upload,
    /// The wait for the first byte of a stream.
    FirstByte,
    /// The wait for the first byte of an answer that is not streamed.
    FirstByteJson,
    /// The whole answer.
    Total,
    /// The time that is left when the process is asked to stop.
    Drain,
}

impl Limits {
    /// Its name in the configuration.
    pub const fn setting(self) -> &'static str {
        match self {
            Self::Upload => "timeouts.upload",
            Self::FirstByte => "timeouts.first_byte",
            Self::FirstByteJson => "timeouts.first_byte_json",
            Self::Total => "timeouts.total",
            Self::Drain => "timeouts.drain",
        }
    }
}

impl Deadline {
    /// A limit that runs from `since`.
    pub fn new(limits: Limits, since: Instant, limit: Duration) -> Self {
        Self { limits, since, limit }
    }

    /// When it is due.
    pub fn at(&self) -> Instant {
        self.since + self.limit
    }

    /// What the client is told once it is due.
    pub fn failure(&self, now: Instant) -> Failure {
        let setting = self.limits.setting();
        let (limit, elapsed) = (seconds(self.limit), seconds(now.duration_since(self.since)));
        let (kind, message) = match self.limits {
            Limits::Upload => (
                FailureKind::UploadTimeout,
                format!("the request was not complete within {limit} ({setting}); {elapsed} since it began"),
            ),
            Limits::FirstByte | Limits::FirstByteJson => (
                FailureKind::FirstByteTimeout,
                format!("the provider sent nothing within {limit} ({setting}); {elapsed} since the request"),
            ),
            Limits::Total => (
                FailureKind::TotalTimeout,
                format!("the answer was not complete within {limit} ({setting}); {elapsed} since the request"),
            ),
            Limits::Drain if self.limit.is_zero() => {
                (FailureKind::ShuttingDown, "the gateway is shutting down; try again".to_owned())
            }
            Limits::Drain => {
                (FailureKind::ShuttingDown, format!("the gateway is shutting down and waited for {limit}; try again"))
            }
        };
        Failure::new(kind, message).by_limit(setting)
    }
}

/// The clocks of one call.
#[derive(Debug, Default)]
pub struct Clocks {
    /// The client sends its request.
    pub upload: Option<Deadline>,
    /// The provider has not begun to answer.
    pub first_byte: Option<Deadline>,
    /// The provider answers.
    pub stall: Option<TimeoutMonitor>,
    /// The whole answer.
    pub total: Option<Deadline>,
    /// The process is to stop.
    pub drain: Option<Deadline>,
    /// The client waits for what is held, or for a provider of another dialect: the next keepalive is due.
    pub keepalive: Option<Instant>,
}

/// What is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Due {
    /// A limit was reached.
    Failure(Failure),
    /// A keepalive.
    Keepalive,
}

impl Clocks {
    /// When something is due that no chunk of the provider's can put off.
    pub fn next_fixed(&self) -> Option<Instant> {
        self.fixed().map(|deadline| deadline.at()).chain(self.keepalive).min()
    }

    /// When the provider will have been silent for too long. A chunk that is here already comes before this.
    pub fn next_silence(&self) -> Option<Instant> {
        let stall = self.stall.as_ref().and_then(TimeoutMonitor::deadline);
        self.first_byte.map(|deadline| deadline.at()).into_iter().chain(stall).min()
    }

    /// What of [`Clocks::next_fixed`] is due now.
    pub fn due(&self, now: Instant) -> Option<Due> {
        if let Some(deadline) = self.fixed().find(|deadline| deadline.at() <= now) {
            return Some(Due::Failure(deadline.failure(now)));
        }
        self.keepalive.filter(|at| *at <= now).map(|_| Due::Keepalive)
    }

    /// What of [`Clocks::next_silence`] is due now.
    pub fn silence(&self, now: Instant) -> Option<Failure> {
        let first_byte = self.first_byte.filter(|deadline| deadline.at() <= now);
        first_byte
            .map(|deadline| deadline.failure(now))
            .or_else(|| self.stall.as_ref()?.check(now).err().map(Failure::from))
    }

    fn fixed(&self) -> impl Iterator<Item = Deadline> {
        [self.upload, self.total, self.drain].into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::time::advance;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn gaps_shorter_than_the_limit_never_fire() {
        let start = Instant::now();
        let mut monitor = TimeoutMonitor::new(10 * SECOND, start, start);
        for _ in 0..100 {
            advance(9 * SECOND).await;
            assert_eq!(monitor.check(Instant::now()), Ok(()));
            monitor.keepalive(Instant::now());
        }
        advance(10 * SECOND).await;
        let stalled = monitor.check(Instant::now()).unwrap_err();
        assert_eq!(
            stalled,
            Stalled { silent_for: 10 * SECOND, limit: 10 * SECOND, elapsed: 910 * SECOND, chunks: 100 }
        );
    }

    #[tokio::test(start_paused = true)]
    async fn our_own_work_never_counts_as_silence() {
        let start = Instant::now();
        let mut monitor = TimeoutMonitor::new(10 * SECOND, start, start);
        advance(9 * SECOND).await;
        monitor.pause();
        assert_eq!(monitor.deadline(), None);
        advance(100 * SECOND).await;
        monitor.keepalive(Instant::now());
        assert_eq!(monitor.check(Instant::now()), Ok(()));
        monitor.resume(Instant::now());
        advance(9 * SECOND).await;
        monitor.resume(Instant::now());
        assert_eq!(monitor.check(Instant::now()), Ok(()), "it restarted at zero when our work ended");
        advance(SECOND).await;
        assert!(monitor.check(Instant::now()).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn the_clock_that_is_due_first_is_the_next() {
        let now = Instant::now();
        let mut clocks = Clocks {
            total: Some(Deadline::new(Limits::Total, now, 60 * SECOND)),
            stall: Some(TimeoutMonitor::new(10 * SECOND, now, now)),
            keepalive: Some(now + 5 * SECOND),
            ..Clocks::default()
        };
        assert_eq!((clocks.next_fixed(), clocks.next_silence()), (Some(now + 5 * SECOND), Some(now + 10 * SECOND)));
        advance(5 * SECOND).await;
        assert_eq!(clocks.due(Instant::now()), Some(Due::Keepalive));
        clocks.keepalive = None;
        assert_eq!(clocks.next_fixed(), Some(now + 60 * SECOND));
        advance(5 * SECOND).await;
        assert_eq!(clocks.due(Instant::now()), None);
        let failure = clocks.silence(Instant::now()).unwrap();
        assert_eq!(failure.kind, FailureKind::Stalled);
        assert!(failure.message.contains("10s (limit 10s"), "{}", failure.message);
    }

    /// What happens, and how many seconds after what happened before.
    #[derive(Debug, Clone, Copy)]
    enum Step {
        Chunk,
        Pause,
        Resume,
    }

    proptest! {
        /// Against a model that counts the seconds in which nothing came and we were not at work.
        #[test]
        fn silence_counts_since_the_last_chunk_or_the_end_of_our_work(
            steps in prop::collection::vec((0..15_u64, prop::sample::select(&[Step::Chunk, Step::Pause, Step::Resume][..])), 0..40),
        ) {
            let start = Instant::now();
            let mut now = start;
            let mut monitor = TimeoutMonitor::new(10 * SECOND, start, start);
            let mut silent = Some(0);
            for (seconds, step) in steps {
                now += Duration::from_secs(seconds);
                silent = silent.map(|silent| silent + seconds);
                let stalled = monitor.check(now).err().map(|stalled| stalled.silent_for.as_secs());
                prop_assert_eq!(stalled, silent.filter(|silent| *silent >= 10));
                prop_assert_eq!(monitor.deadline().is_none(), silent.is_none());
                match step {
                    Step::Chunk => {
                        monitor.keepalive(now);
                        silent = silent.map(|_| 0);
                    }
                    Step::Pause => {
                        monitor.pause();
                        silent = None;
                    }
                    Step::Resume => {
                        monitor.resume(now);
                        silent = silent.or(Some(0));
                    }
                }
            }
        }
    }
}
