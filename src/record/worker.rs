//! Takes credentials out of what calls drafted, and appends it to the spool.

use std::{io, sync::Arc, time::SystemTime};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use super::{
    Answer, Closing, Entry, Head, Line, Prices, Raw, Sent,
    recording::{Said, Unwritten, micros},
    spool::Spool,
};
use crate::{
    dialect::{Transcript, json},
    journal::activity::Event,
    redact::Redactor,
    telemetry::metrics::Metrics,
};

/// So many drafts are written at once.
const BATCH: usize = 64;

/// An entry before it is put into words.
#[derive(Debug, Default)]
pub struct Draft {
    pub(super) call: Arc<str>,
    pub(super) seq: u32,
    pub(super) head: Option<Head>,
    pub(super) request: Option<Bytes>,
    pub(super) sent: Option<(Sent, Option<Bytes>)>,
    pub(super) answer: Option<Said>,
    pub(super) closing: Option<Closing>,
    pub(super) events: Vec<Event>,
    pub(super) secrets: Vec<String>,
}

/// What the worker is asked to do.
#[derive(Debug)]
pub enum Job {
    /// Writes a draft, and tells who waits for it.
    Write(Box<Draft>, Option<oneshot::Sender<Result<(), Unwritten>>>),
    /// No call will begin any more.
    Last,
}

/// What the worker works with.
pub struct Work {
    /// Drafts.
    pub jobs: mpsc::Receiver<Job>,
    /// Where they are appended.
    pub spool: Spool,
    /// What is taken out.
    pub redactor: Arc<Redactor>,
    /// What tokens cost.
    pub prices: Prices,
    /// Whether a record has to survive a loss of power before its call ends.
    pub sync: bool,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

/// Works until it was told that no call will begin any more, and those that have begun are written. Blocks its thread.
pub fn work(work: Work) {
    let Work { mut jobs, mut spool, redactor, prices, sync, metrics } = work;
    let shared = spool.shared();
    let mut pending = vec![Line::Started(micros(SystemTime::now()))];
    let mut batch = Vec::new();
    loop {
        let mut told = Vec::new();
        for job in batch.drain(..) {
            match job {
                Job::Write(draft, teller) => {
                    pending.push(Line::Entry(Box::new(entry(*draft, &redactor, &prices))));
                    told.extend(teller);
                }
                Job::Last => jobs.close(),
            }
        }
        if pending.is_empty() && told.is_empty() && jobs.is_closed() && jobs.is_empty() {
            return;
        }
        let written = spool.append(&pending).and_then(|()| if sync { spool.sync() } else { Ok(()) });
        note(&written, pending.len(), &metrics);
        shared.tell(written.is_ok());
        // The first line has to be there before any other.
        if written.is_ok() || !matches!(pending.first(), Some(Line::Started(_))) {
            pending.clear();
        } else {
            pending.truncate(1);
        }
        let result = written.map_err(|_| Unwritten);
        // Whoever waited may be gone.
        for teller in told {
            let _ = teller.send(result);
        }
        metrics.spool.set(i64::try_from(shared.bytes()).unwrap_or(i64::MAX));
        if jobs.blocking_recv_many(&mut batch, BATCH) == 0 {
            return;
        }
    }
}

fn note(written: &io::Result<()>, lines: usize, metrics: &Metrics) {
    if let Err(error) = written {
        metrics.lost("disk", lines);
        tracing::error!(%error, lines, "records cannot be written to the spool");
    }
}

fn entry(draft: Draft, redactor: &Redactor, prices: &Prices) -> Entry {
    let Draft { call, seq, head, request, sent, answer, closing, events, secrets } = draft;
    let clean = Clean { redactor, secrets: &secrets };
    Entry {
        call: call.to_string(),
        seq,
        head: head.map(|head| clean.head(head)),
        request: request.map(|body| clean.json(json(&body)).0),
        sent: sent.map(|(sent, body)| Sent {
            model: clean.text(&sent.model),
            body: body.map(|body| clean.json(json(&body)).0),
            ..sent
        }),
        answer: answer.map(|said| clean.answer(said)),
        closing: closing.map(|closing| Closing {
            cost: prices.cost(&closing),
            error: closing.error.map(|error| clean.text(&error)),
            ..closing
        }),
        events: events
            .iter()
            .filter_map(|event| serde_json::to_value(event).ok())
            .map(|event| clean.json(event).0)
            .collect(),
    }
}

/// Takes credentials out.
struct Clean<'c> {
    redactor: &'c Redactor,
    /// The call's own.
    secrets: &'c [String],
}

impl Clean<'_> {
    fn text(&self, text: &str) -> String {
        let mut value = Value::String(text.to_owned());
        self.redactor.value(&mut value, self.secrets);
        if let Value::String(text) = value { text } else { String::new() }
    }

    /// The value without credentials, and whether there were any.
    fn json(&self, mut value: Value) -> (Value, bool) {
        let found = self.redactor.value(&mut value, self.secrets);
        (value, found)
    }

    fn head(&self, head: Head) -> Head {
        Head {
            path: self.text(&head.path),
            model: self.text(&head.model),
            session: head.session.map(|session| self.text(&session)),
            headers: head.headers.into_iter().map(|(name, value)| (name, self.text(&value))).collect(),
            ..head
        }
    }

    fn answer(&self, said: Said) -> Answer {
        let finish = |side: Option<Transcript>| {
            let (value, raw) = side.map(Transcript::finish).unwrap_or_default();
            let (value, found) = value.map(|value| self.json(value)).unzip();
            // A credential can stand in pieces in the bytes: where there is one, they are not kept.
            (value, raw.filter(|raw| found != Some(true) && self.is_clean(raw)))
        };
        let passed = said.delivered.is_none();
        let ((original, raw), (delivered, raw_delivered)) = (finish(said.original), finish(said.delivered));
        let changed = !passed && original != delivered;
        let raw_delivered = raw_delivered.filter(|delivered| changed && Some(delivered) != raw.as_ref());
        let encode = |raw: Option<Vec<u8>>| raw.map(|raw| STANDARD.encode(raw)).unwrap_or_default();
        let raw = (raw.is_some() || raw_delivered.is_some())
            .then(|| Raw { original: encode(raw), delivered: encode(raw_delivered) });
        Answer { original, delivered: delivered.filter(|_| changed), changed, raw }
    }

    fn is_clean(&self, bytes: &[u8]) -> bool {
        let text = String::from_utf8_lossy(bytes);
        self.text(&text) == text
    }
}
