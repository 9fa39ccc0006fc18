//! Readiness and the way to the end.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    time::Instant,
};

/// What still keeps the process from being ready, and why.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<Mutex<BTreeMap<&'static str, String>>>);

/// Something that is not ready, until [`Pending::ready`] is called.
#[derive(Debug)]
#[must_use = "the process is never ready until this is"]
pub struct Pending {
    readiness: Readiness,
    part: &'static str,
}

/// The request to stop.
#[derive(Debug)]
pub struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

/// The time that calls in flight have to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ending {
    /// Since when.
    pub since: Instant,
    /// How long.
    pub limit: Duration,
}

/// What has to end, and by when.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Endings {
    /// The process is to stop: every call ends, and none begins any more.
    pub process: Option<Ending>,
    /// The calls that were in flight when somebody asked for their end. Later ones are served.
    pub calls: Option<Ending>,
}

/// Tells every call by when it has to end. Nothing while the process serves.
#[derive(Debug, Clone)]
pub struct Drain(Arc<watch::Sender<Endings>>);

impl Readiness {
    /// A part that is not ready, for this reason.
    pub fn pending(&self, part: &'static str, reason: impl Into<String>) -> Pending {
        self.lock().insert(part, reason.into());
        Pending { readiness: self.clone(), part }
    }

    /// What is missing: parts with their reasons. Empty: ready.
    pub fn missing(&self) -> Vec<(&'static str, String)> {
        self.lock().iter().map(|(part, reason)| (*part, reason.clone())).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pending {
    /// Another reason why it is not ready.
    pub fn because(&self, reason: impl Into<String>) {
        self.readiness.lock().insert(self.part, reason.into());
    }

    /// It stays as it is.
    pub fn leave(self) {}

    /// It is ready.
    pub fn ready(self) {
        self.readiness.lock().remove(self.part);
    }
}

impl Stop {
    /// Listens for SIGTERM and SIGINT from now on.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next request to stop. Cancel-safe.
    pub async fn requested(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

impl Ending {
    /// So much time from now on.
    pub fn within(limit: Duration) -> Self {
        Self { since: Instant::now(), limit }
    }

    /// When it is over.
    pub fn at(&self) -> Instant {
        self.since + self.limit
    }
}

impl Endings {
    /// By when a call has to end that began then.
    pub fn of(&self, began: Instant) -> Option<Ending> {
        let calls = self.calls.filter(|ending| began <= ending.since);
        [self.process, calls].into_iter().flatten().min_by_key(Ending::at)
    }
}

impl Drain {
    /// A drain that has not begun, and what calls watch.
    pub fn new() -> (Self, watch::Receiver<Endings>) {
        let (sender, receiver) = watch::channel(Endings::default());
        (Self(Arc::new(sender)), receiver)
    }

    /// Ends the calls that are in flight.
    pub fn end_calls(&self) {
        self.0.send_modify(|endings| endings.calls = Some(Ending::within(Duration::ZERO)));
    }

    /// The process is to stop: calls have that time to end. Less time than before counts, more does not.
    pub fn begin(&self, ending: Ending) {
        self.0.send_if_modified(|endings| {
            let sooner = endings.process.is_none_or(|before| ending.at() < before.at());
            if sooner {
                endings.process = Some(ending);
            }
            sooner
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_when_every_part_is() {
        let readiness = Readiness::default();
        let (envoy, rules) = (readiness.pending("envoy", "is starting"), readiness.pending("rules", "are loading"));
        assert_eq!(readiness.missing().len(), 2);
        rules.ready();
        assert_eq!(readiness.missing(), [("envoy", "is starting".to_owned())]);
        envoy.ready();
        assert!(readiness.missing().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_to_end_gets_shorter_and_never_longer() {
        let (drain, draining) = Drain::new();
        assert_eq!(*draining.borrow(), Endings::default());
        let [first, longer, none] = [30, 60, 0].map(|seconds| Ending::within(Duration::from_secs(seconds)));
        for (begun, expected) in [(first, first), (longer, first), (none, none), (first, none)] {
            drain.begin(begun);
            assert_eq!(draining.borrow().process, Some(expected));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn calls_that_come_later_are_not_ended_with_those_in_flight() {
        let (drain, draining) = Drain::new();
        let second = Duration::from_secs(1);
        let before = Instant::now();
        tokio::time::advance(second).await;
        drain.end_calls();
        let asked = Instant::now();
        tokio::time::advance(second).await;
        let of = |began| draining.borrow().of(began).map(|ending| ending.at());
        assert_eq!((of(before), of(Instant::now())), (Some(asked), None));
        drain.begin(Ending::within(second));
        assert_eq!((of(before), of(Instant::now())), (Some(asked), Some(Instant::now() + second)));
    }
}
