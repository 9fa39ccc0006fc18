//! What one call writes about itself.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use tokio::sync::{
    mpsc::{self, OwnedPermit},
    oneshot,
};

use super::{
    Closing, Head, Sent,
    spool::Shared,
    worker::{Draft, Job, LARGE, Lanes, Untold},
};
use crate::{
    dialect::Transcript,
    journal::activity::Event,
    model::{RecordLevel, Recorded},
    redact::Secrets,
    telemetry::metrics::Metrics,
};

/// So many events are recorded of one call.
const MOST_EVENTS: usize = 4000;
/// How long the end of an answer waits for its record where it need not be there.
const PATIENCE: Duration = Duration::from_secs(5);

/// Begins the recordings of calls.
pub struct Recorder {
    lanes: Lanes,
    room: Room,
    /// The host.
    replica: Arc<str>,
    metrics: Arc<Metrics>,
    /// The last call was not recorded.
    full: AtomicBool,
}

/// How much room there is to record calls.
#[derive(Debug, Clone)]
pub struct Room {
    /// Where records wait for the store.
    pub spool: Arc<Shared>,
    /// The most that may wait there, in bytes.
    pub most: u64,
    /// Whether no call goes on unrecorded.
    pub required: bool,
}

impl Room {
    /// Whether there is none.
    pub fn is_full(&self) -> bool {
        self.spool.bytes() >= self.most
    }
}

/// There is no room to record another call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// The record does not stand on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unwritten;

/// What was said in answer.
#[derive(Debug, Default)]
pub struct Said {
    /// By the provider.
    pub original: Option<Transcript>,
    /// To the client. `None`: the same.
    pub delivered: Option<Transcript>,
}

/// What one call writes about itself.
pub struct Recording {
    jobs: mpsc::Sender<Job>,
    /// The lane of large drafts, as long as nothing was handed in.
    large: Option<mpsc::Sender<Job>>,
    /// Room for the last entry, whatever else is on its way.
    last: Option<OwnedPermit<Job>>,
    required: bool,
    call: Arc<str>,
    replica: Arc<str>,
    /// The call's own credentials.
    secrets: Secrets,
    seq: u32,
    level: RecordLevel,
    raw: bool,
    head: Option<Head>,
    events: Vec<Event>,
    /// What is handed in with what comes next, or when that is waited for.
    held: Option<Box<Draft>>,
    metrics: Arc<Metrics>,
}

/// Events behind the end of a call.
#[derive(Debug)]
pub struct Afterwards {
    jobs: mpsc::Sender<Job>,
    call: Arc<str>,
    seq: u32,
    /// The call's own credentials.
    secrets: Secrets,
}

impl Recorder {
    /// Hands drafts in, as long as there is room.
    pub fn new(lanes: Lanes, room: Room, replica: &str, metrics: Arc<Metrics>) -> Self {
        Self { lanes, room, replica: replica.into(), metrics, full: AtomicBool::new(false) }
    }

    /// Whether no call goes on unrecorded.
    pub fn is_required(&self) -> bool {
        self.room.required
    }

    /// Begins to record a call.
    pub fn begin(&self, call: &Arc<str>) -> Result<Recording, Full> {
        let is_full = self.room.is_full() || (self.room.required && self.room.spool.is_failing());
        let room = if is_full { None } else { self.lanes.small.clone().try_reserve_owned().ok() };
        let was_full = self.full.swap(room.is_none(), Ordering::Relaxed);
        let Some(last) = room else {
            self.metrics.unrecorded.inc();
            if !was_full {
                tracing::warn!(spool_bytes = self.room.spool.bytes(), "calls cannot be recorded: the spool is full");
            }
            return Err(Full);
        };
        if was_full {
            tracing::info!("calls are recorded again");
        }
        Ok(Recording {
            jobs: self.lanes.small.clone(),
            large: Some(self.lanes.large.clone()),
            last: Some(last),
            required: self.room.required,
            call: Arc::clone(call),
            replica: Arc::clone(&self.replica),
            secrets: Secrets::default(),
            seq: 0,
            level: RecordLevel::Full,
            raw: false,
            head: None,
            events: Vec::new(),
            held: None,
            metrics: Arc::clone(&self.metrics),
        })
    }
}

impl Recording {
    /// The credential that the client sent. Stands nowhere in the record.
    pub fn hide(&mut self, secret: &str) {
        self.secrets.add(secret);
    }

    /// How much is recorded from here on.
    pub fn set(&mut self, recorded: Recorded) {
        self.level = recorded.level;
        self.raw = recorded.raw && recorded.level == RecordLevel::Full;
    }

    /// Whether texts are recorded.
    pub fn has_content(&self) -> bool {
        self.level == RecordLevel::Full
    }

    /// What is recorded.
    pub fn recorded(&self) -> Recorded {
        Recorded { level: self.level, raw: self.raw }
    }

    /// Something happened.
    pub fn event(&mut self, event: Event) {
        if self.level > RecordLevel::Off && self.events.len() < MOST_EVENTS {
            self.events.push(event);
        }
    }

    /// What is known of the call when it begins. Stands in the first entry.
    pub fn begin(&mut self, head: Head) {
        self.head = Some(Head { replica: self.replica.to_string(), ..head });
    }

    /// The request is whole. It is written with what is sent, or by [`Recording::flush`].
    pub fn request(&mut self, body: Bytes) {
        if self.level == RecordLevel::Off {
            return;
        }
        let request = self.has_content().then_some(body);
        // All of a call goes one way, so that it stays in order.
        if request.as_ref().is_some_and(|body| body.len() > LARGE)
            && let Some(large) = self.large.take()
            && let Ok(last) = large.clone().try_reserve_owned()
        {
            self.jobs = large;
            self.last = Some(last);
        }
        let draft = self.draft(Draft { request, ..Draft::default() });
        self.held = Some(Box::new(draft));
    }

    /// Writes what was held back: something is waited for.
    pub fn flush(&mut self) {
        if let Some(draft) = self.held.take() {
            self.write(draft);
        }
    }

    /// The request left for the provider.
    pub fn sent(&mut self, sent: Sent, body: Bytes) {
        if self.level == RecordLevel::Off {
            return;
        }
        let body = (self.has_content() && sent.changed).then_some(body);
        let draft = self.draft(Draft { sent: Some((sent, body)), ..Draft::default() });
        self.write(Box::new(draft));
    }

    /// The call is over. What comes of it is told when the record stands on the disk, and its messages in its trace.
    pub fn close(&mut self, closing: Closing, answer: Option<Said>, untold: Option<Untold>) -> Option<Written> {
        let last = self.last.take()?;
        if self.level == RecordLevel::Off {
            return None;
        }
        let answer = answer.filter(|_| self.has_content());
        let untold = untold.filter(|_| self.has_content());
        let draft = self.draft(Draft { closing: Some(closing), answer, untold, ..Draft::default() });
        let (told, written) = oneshot::channel();
        last.send(Job::Write(Box::new(draft), Some(told)));
        Some(Written { written, required: self.required })
    }

    /// Records events behind the end of the call, if there are any.
    pub fn append(&mut self) {
        let events = std::mem::take(&mut self.events);
        if let Some(afterwards) = self.afterwards().filter(|_| !events.is_empty()) {
            afterwards.events(events);
        }
    }

    /// Room for events behind the end of the call.
    pub fn afterwards(&mut self) -> Option<Afterwards> {
        if self.level == RecordLevel::Off {
            return None;
        }
        // Behind the last entry, whose number is the next.
        self.seq += 1;
        Some(Afterwards {
            jobs: self.jobs.clone(),
            call: Arc::clone(&self.call),
            seq: self.seq + AFTERWARDS,
            secrets: self.secrets.clone(),
        })
    }

    /// What was held back and `draft`, as one.
    fn draft(&mut self, draft: Draft) -> Draft {
        self.large = None;
        let has_content = self.has_content();
        let head = self.head.take().map(|mut head| {
            if !has_content {
                head.headers.clear();
            }
            Head { level: self.level.name().to_owned(), ..head }
        });
        let mut events = std::mem::take(&mut self.events);
        let secrets = self.secrets.clone();
        if let Some(held) = self.held.take() {
            let before = std::mem::replace(&mut events, held.events);
            events.extend(before);
            return Draft {
                call: held.call,
                seq: held.seq,
                head: held.head.or(head),
                request: held.request,
                events,
                secrets,
                ..draft
            };
        }
        let seq = self.seq;
        self.seq += 1;
        Draft { call: Arc::clone(&self.call), seq, head, events, secrets, ..draft }
    }

    fn write(&mut self, draft: Box<Draft>) {
        if let Ok(room) = self.jobs.try_reserve() {
            room.send(Job::Write(draft, None));
        } else {
            // The last entry says all that it can: the head at least.
            self.head = draft.head;
            self.events = draft.events;
            self.metrics.lost("no_room", 1);
        }
    }
}

/// Numbers of entries behind the end of a call begin here.
const AFTERWARDS: u32 = 1000;

impl Afterwards {
    /// What happened.
    pub fn events(self, events: Vec<Event>) {
        if !events.is_empty() {
            let Self { jobs, call, seq, secrets } = self;
            let draft = Draft { call, seq, events, secrets, ..Draft::default() };
            // Where there is no room, the live activity has told it.
            let _ = jobs.try_send(Job::Write(Box::new(draft), None));
        }
    }
}

/// Tells when the record of a call stands on the disk.
#[derive(Debug)]
pub struct Written {
    written: oneshot::Receiver<Result<(), Unwritten>>,
    required: bool,
}

impl Written {
    /// Waits for it. `Err`: it does not stand there, and has to.
    pub async fn wait(&mut self) -> Result<(), Unwritten> {
        let written = tokio::time::timeout(PATIENCE, &mut self.written).await;
        match written {
            Ok(Ok(Ok(()))) => Ok(()),
            _ if self.required => Err(Unwritten),
            _ => Ok(()),
        }
    }
}

/// Microseconds since 1970.
pub fn micros(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
