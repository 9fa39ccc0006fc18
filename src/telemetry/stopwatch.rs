//! Where the time of a call goes: into its own work, or into waiting for somebody.

use std::{
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use futures::future::poll_fn;
use tokio::time::Instant;

/// Whom a call waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    /// Who asks: for the request to come, and for what was said to be taken.
    Client,
    /// Policies that decide later, judges among them.
    Policies,
    /// Who answers.
    Provider,
    /// The record of the call, to be on the disk.
    Record,
}

/// Where the time of a call went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Times {
    /// Its own work.
    pub own: Duration,
    pub(super) waits: [Duration; On::ALL.len()],
}

/// Measures one call. Its time is its own while it is polled; between two polls it waits.
#[derive(Debug)]
pub struct Stopwatch {
    /// Up to here, the time is accounted for.
    since: Instant,
    waits: Option<On>,
    times: Times,
    /// Its own work up to where [`Stopwatch::take_work`] begins.
    counted: Duration,
}

impl On {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Client, Self::Policies, Self::Provider, Self::Record];

    /// How metrics call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Policies => "policies",
            Self::Provider => "provider",
            Self::Record => "record",
        }
    }
}

impl Times {
    /// What it waited for, and how long.
    pub fn waits(&self) -> impl Iterator<Item = (On, Duration)> {
        On::ALL.into_iter().zip(self.waits)
    }

    /// All of it.
    pub fn all(&self) -> Duration {
        self.own + self.waits.iter().sum::<Duration>()
    }

    fn wait(&mut self, on: On) -> &mut Duration {
        let [client, policies, provider, record] = &mut self.waits;
        match on {
            On::Client => client,
            On::Policies => policies,
            On::Provider => provider,
            On::Record => record,
        }
    }
}

impl Stopwatch {
    /// Begins, with work.
    pub fn start() -> Self {
        Self { since: Instant::now(), waits: None, times: Times::default(), counted: Duration::ZERO }
    }

    /// From here on, it waits.
    pub fn wait(&mut self, on: On) {
        self.settle(Some(on));
    }

    /// From here on, it works.
    pub fn work(&mut self) {
        if self.waits.is_some() {
            self.settle(None);
            self.counted = self.times.own;
        }
    }

    /// Where its time went so far.
    pub fn times(&mut self) -> Times {
        self.settle(self.waits);
        self.times
    }

    /// How much of its own work it did since it was last woken up, or since it was last asked for.
    pub fn take_work(&mut self) -> Duration {
        self.settle(self.waits);
        let before = std::mem::replace(&mut self.counted, self.times.own);
        self.times.own.saturating_sub(before)
    }

    /// Runs `future`: while it is polled, that is work; when it has nothing to do, it waits for `on`.
    pub async fn watch<T>(&mut self, on: On, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        poll_fn(|wakeup| self.poll(on, future.as_mut(), wakeup)).await
    }

    fn poll<T>(&mut self, on: On, future: Pin<&mut impl Future<Output = T>>, wakeup: &mut Context<'_>) -> Poll<T> {
        self.work();
        let outcome = future.poll(wakeup);
        if outcome.is_pending() {
            self.wait(on);
        }
        outcome
    }

    /// Accounts for the time up to now.
    fn settle(&mut self, next: Option<On>) {
        let now = Instant::now();
        let past = now.duration_since(self.since);
        match self.waits {
            Some(on) => *self.times.wait(on) += past,
            None => self.times.own += past,
        }
        (self.since, self.waits) = (now, next);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use tokio::time::{advance, sleep};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn work_and_waits_are_told_apart_and_are_all_of_the_time() {
        let began = Instant::now();
        let mut watch = Stopwatch::start();
        advance(SECOND).await;
        // It works while it is polled, and waits between.
        watch
            .watch(On::Provider, async {
                advance(2 * SECOND).now_or_never();
                sleep(4 * SECOND).await;
                advance(8 * SECOND).now_or_never();
            })
            .await;
        watch.watch(On::Record, sleep(16 * SECOND)).await;
        watch.wait(On::Client);
        advance(32 * SECOND).await;
        watch.work();
        let times = watch.times();
        let waits: Vec<_> = times.waits().map(|(on, wait)| (on.name(), wait.as_secs())).collect();
        assert_eq!(times.own, 11 * SECOND);
        assert_eq!(waits, [("client", 32), ("policies", 0), ("provider", 4), ("record", 16)]);
        assert_eq!(times.all(), began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn the_work_since_the_last_wake_up_is_known() {
        let mut watch = Stopwatch::start();
        advance(SECOND).await;
        watch.watch(On::Client, sleep(SECOND)).await;
        advance(2 * SECOND).await;
        // What is ready at once is no wake-up.
        watch.watch(On::Client, async {}).await;
        advance(SECOND).await;
        assert_eq!(watch.take_work(), 3 * SECOND);
        advance(4 * SECOND).await;
        assert_eq!(watch.take_work(), 4 * SECOND);
    }
}
