//! Readiness and the way to the end.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
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

/// Tells every call that the process is to stop.
#[derive(Debug)]
pub struct Drain(watch::Sender<bool>);

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

impl Drain {
    /// A drain that has not begun, and what calls watch.
    pub fn new() -> (Self, watch::Receiver<bool>) {
        let (sender, receiver) = watch::channel(false);
        (Self(sender), receiver)
    }

    /// Begins: calls in flight get `timeouts.drain` to end.
    pub fn begin(&self) {
        self.0.send_replace(true);
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
}
