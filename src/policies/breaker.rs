//! A circuit breaker: a side that fails again and again is not asked for a while, so that calls fail at once and not after
//! their time limit. Replicas tell each other, where they share something.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use recloser::{AsyncRecloser, Recloser};

use super::http::Unanswered;
use crate::shared_state::SharedState;

/// Questions that say whether the other side works.
const LOOKED_AT: usize = 10;
/// How long nobody is asked when half of them failed.
pub(super) const PAUSE: Duration = Duration::from_secs(10);

/// A circuit breaker before one other side.
pub(super) struct Breaker {
    name: String,
    own: AsyncRecloser,
    /// Since somebody was turned away, until somebody is answered.
    rests: AtomicBool,
    circuit: Option<Circuit>,
}

/// Where replicas tell each other that a side is not to be asked.
#[derive(Clone)]
pub struct Circuit {
    /// What the side is called, among all that are told of.
    pub key: String,
    /// Where it is told.
    pub shared: Arc<SharedState>,
}

impl Breaker {
    /// Before the side of this name.
    pub(super) fn new(name: &str, circuit: Option<Circuit>) -> Self {
        let own = Recloser::custom().error_rate(0.5).closed_len(LOOKED_AT).half_open_len(1).open_wait(PAUSE).build();
        Self { name: name.to_owned(), own: AsyncRecloser::from(own), rests: AtomicBool::new(false), circuit }
    }

    /// Whether the last question was turned away, and none was answered since.
    pub(super) fn rests(&self) -> bool {
        self.rests.load(Ordering::Relaxed)
    }

    /// Asks, unless nobody is to be asked.
    pub(super) async fn ask<T>(&self, question: impl Future<Output = Result<T, Unanswered>>) -> Result<T, Unanswered> {
        let resting = || {
            self.rests.store(true, Ordering::Relaxed);
            Err(Unanswered::Resting(self.name.clone()))
        };
        if let Some(Circuit { key, shared }) = &self.circuit
            && shared.get(&place(key)).await.is_some()
        {
            return resting();
        }
        match self.own.call_with(Unanswered::is_theirs, question).await {
            Ok(answer) => {
                self.rests.store(false, Ordering::Relaxed);
                Ok(answer)
            }
            Err(recloser::Error::Inner(error)) => Err(error),
            Err(recloser::Error::Rejected) => {
                if let Some(Circuit { key, shared }) = &self.circuit {
                    shared.put_new(&place(key), "open", PAUSE).await;
                }
                resting()
            }
        }
    }
}

fn place(key: &str) -> String {
    format!("circuit:{key}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_is_not_asked_is_known_until_a_question_is_answered() {
        let breaker = Breaker::new("judges", None);
        for _ in 0..2 * LOOKED_AT {
            assert!(!breaker.rests(), "nobody was turned away yet");
            let failed = Unanswered::Gone { name: "judges".to_owned(), why: "it fell over".to_owned() };
            if let Err(Unanswered::Resting(_)) = breaker.ask(async { Err::<(), _>(failed) }).await {
                break;
            }
        }
        assert!(breaker.rests());
        let again = Breaker { rests: AtomicBool::new(true), ..Breaker::new("judges", None) };
        again.ask(async { Ok(()) }).await.unwrap();
        assert!(!again.rests());
    }
}
