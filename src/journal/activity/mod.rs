//! The live activity: the last events, and those that come.
//!
//! Telling never waits: events stand in a ring that forgets the oldest, and whoever listens too slowly reads how many it
//! missed.

mod bridge;
mod event;
mod said;

use std::{
    collections::VecDeque,
    fmt,
    str::FromStr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use tokio::sync::broadcast::{self, error::RecvError};

pub use bridge::bridge;
pub use event::{Event, Tokens, What};
pub use said::Said;

use super::{About, Fact, Milestone};

/// How many events are kept for those that come back.
const KEPT: usize = 4096;

/// The live activity of this process.
pub struct Activity {
    /// Tells the numbers of one process from those of another.
    epoch: u64,
    /// The name of this replica, where there are others.
    replica: Option<String>,
    ring: Mutex<Ring>,
    news: broadcast::Sender<Told>,
}

#[derive(Default)]
struct Ring {
    /// The number of the next event.
    next: u64,
    /// The number of the next event that is this replica's own.
    next_own: u64,
    events: VecDeque<Told>,
}

/// An event with its number.
#[derive(Debug, Clone)]
pub struct Told {
    /// Its number.
    pub id: Id,
    /// What is told.
    pub said: Said,
    /// Its number among this replica's own.
    own: Option<u64>,
}

/// The number of an event: which process told it, and which of its events it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Id {
    epoch: u64,
    number: u64,
}

/// Reads events as they come.
pub struct Listener {
    before: VecDeque<Told>,
    news: broadcast::Receiver<Told>,
    /// What is missing, before anything else is read.
    gap: Option<Event>,
    last: Id,
}

impl Default for Activity {
    fn default() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            epoch: u64::try_from(since.as_millis()).unwrap_or_default(),
            replica: None,
            ring: Mutex::default(),
            news: broadcast::channel(KEPT).0,
        }
    }
}

impl Activity {
    /// What happened within a call.
    pub(super) fn note(&self, about: &About, fact: &Fact) -> Option<Event> {
        Event::of(about, fact).inspect(|event| self.push(event.clone()))
    }

    /// How far a call has come.
    pub(super) fn mark(&self, about: &About, milestone: &Milestone) -> Option<Event> {
        Event::at(about, milestone).inspect(|event| self.push(event.clone()))
    }

    /// The live activity of one of several replicas.
    #[must_use]
    pub fn of_replica(self, name: &str) -> Self {
        Self { replica: Some(name.to_owned()), ..self }
    }

    /// Tells of an event.
    pub fn push(&self, mut event: Event) {
        event.replica.clone_from(&self.replica);
        let mut ring = self.ring();
        let own = ring.next_own;
        ring.next_own += 1;
        self.keep(ring, Said::Own(Arc::new(event)), Some(own));
    }

    /// Tells what another replica told.
    fn push_foreign(&self, said: Said) {
        self.keep(self.ring(), said, None);
    }

    fn keep(&self, mut ring: MutexGuard<'_, Ring>, said: Said, own: Option<u64>) {
        let told = Told { id: Id { epoch: self.epoch, number: ring.next }, said, own };
        ring.next += 1;
        if ring.events.len() == KEPT {
            ring.events.pop_front();
        }
        ring.events.push_back(told.clone());
        // In the order of their numbers. Fails where nobody listens.
        let _ = self.news.send(told);
    }

    /// Listens: to what comes, and before it to what came behind the event `last`.
    pub fn listen(&self, last: Option<Id>) -> Listener {
        let ring = self.ring();
        let now = Id { epoch: self.epoch, number: ring.next };
        let mut listener = Listener { before: VecDeque::new(), news: self.news.subscribe(), gap: None, last: now };
        let Some(last) = last else { return listener };
        let first = ring.next - ring.events.len() as u64;
        if last.epoch != self.epoch || last.number >= ring.next {
            // Another process told that one.
            listener.gap = Some(Event::now(What::Gap { missed: None }));
            listener.before.clone_from(&ring.events);
            return listener;
        }
        let missed = first.saturating_sub(last.number + 1);
        listener.gap = (missed > 0).then(|| Event::now(What::Gap { missed: Some(missed) }));
        listener.before = ring.events.iter().filter(|told| told.id.number > last.number).cloned().collect();
        listener
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listener {
    /// The next event. Never ends for as long as the process tells any.
    pub async fn next(&mut self) -> Option<Told> {
        if let Some(gap) = self.gap.take() {
            return Some(self.gap(gap));
        }
        if let Some(told) = self.before.pop_front() {
            self.last = told.id;
            return Some(told);
        }
        match self.news.recv().await {
            Ok(told) => {
                self.last = told.id;
                Some(told)
            }
            Err(RecvError::Lagged(missed)) => Some(self.gap(Event::now(What::Gap { missed: Some(missed) }))),
            Err(RecvError::Closed) => None,
        }
    }

    /// Stands behind the last event, so that whoever comes back to it is told again.
    fn gap(&self, gap: Event) -> Told {
        Told { id: self.last, said: Said::Own(Arc::new(gap)), own: None }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}-{}", self.epoch, self.number)
    }
}

/// What is no number of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no id of an event")]
pub struct NoId;

impl FromStr for Id {
    type Err = NoId;

    fn from_str(text: &str) -> Result<Self, NoId> {
        let (epoch, number) = text.split_once('-').ok_or(NoId)?;
        Ok(Self { epoch: epoch.parse().map_err(|_| NoId)?, number: number.parse().map_err(|_| NoId)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(number: u64) -> Event {
        Event::now(What::Gap { missed: Some(number) })
    }

    fn what(told: &Told) -> What {
        let Said::Own(event) = &told.said else { panic!("{told:?} is another's") };
        event.what.clone()
    }

    async fn next(listener: &mut Listener) -> What {
        what(&listener.next().await.unwrap())
    }

    #[tokio::test]
    async fn who_comes_back_reads_what_it_missed() {
        let activity = Activity::default();
        activity.push(numbered(10));
        let mut listener = activity.listen(None);
        activity.push(numbered(11));
        let told = listener.next().await.unwrap();
        assert_eq!(what(&told), What::Gap { missed: Some(11) });
        activity.push(numbered(12));
        activity.push(numbered(13));
        let mut back = activity.listen(Some(told.id.to_string().parse().unwrap()));
        activity.push(numbered(14));
        for number in 12..15 {
            assert_eq!(next(&mut back).await, What::Gap { missed: Some(number) });
        }
    }

    #[tokio::test]
    async fn what_is_forgotten_is_a_gap() {
        let activity = Activity::default();
        activity.push(numbered(0));
        let first = Id { epoch: activity.epoch, number: 0 };
        let mut slow = activity.listen(None);
        for number in 1..KEPT as u64 + 6 {
            activity.push(numbered(number));
        }
        let mut back = activity.listen(Some(first));
        assert_eq!(next(&mut back).await, What::Gap { missed: Some(5) });
        assert_eq!(next(&mut back).await, What::Gap { missed: Some(6) });
        assert_eq!(next(&mut slow).await, What::Gap { missed: Some(5) });
        let mut foreign = activity.listen(Some(Id { epoch: 1, number: 0 }));
        assert_eq!(next(&mut foreign).await, What::Gap { missed: None });
        assert_eq!(next(&mut foreign).await, What::Gap { missed: Some(6) });
    }

    #[test]
    fn ids_are_read_as_they_are_written() {
        let id = Id { epoch: 5, number: 7 };
        assert_eq!(id.to_string().parse(), Ok(id));
        for wrong in ["", "7", "-", "a-1", "1-", "1--1", "1-1-1"] {
            assert_eq!(wrong.parse::<Id>(), Err(NoId), "{wrong}");
        }
    }
}
