//! Takes credentials out of what calls drafted, and appends it to the spool.

use std::{
    borrow::Cow,
    io,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::SystemTime,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use super::{
    Answer, Body, Closing, Entry, Head, Line, Prices, Raw, Sent,
    recording::{Said, Unwritten, micros},
    spool::{self, Shared, Spool},
};
use crate::{
    dialect::{TellRequest, Transcript, json, tell_answer, tell_request},
    journal::activity::Event,
    redact::{Redactor, Secrets},
    telemetry::{
        metrics::Metrics,
        trace::{Finished, gen_ai},
    },
};

/// So many drafts are written at once.
const BATCH: usize = 64;
/// Levels of a body that are written. The spool is read down to 128, and has some of its own.
const DEEPEST: usize = 100;
/// What is larger is written beside the others, in bytes.
pub(super) const LARGE: usize = 256 << 10;

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
    pub(super) untold: Option<Untold>,
    pub(super) secrets: Secrets,
}

/// A span whose messages are still to be told, after credentials were taken out of them.
#[derive(Debug)]
pub struct Untold {
    /// The provider's work.
    pub span: Finished,
    /// What the provider was sent.
    pub request: Bytes,
}

/// What the worker is asked to do.
#[derive(Debug)]
pub enum Job {
    /// Writes a draft, and tells who waits for it.
    Write(Box<Draft>, Option<oneshot::Sender<Result<(), Unwritten>>>),
    /// No call will begin any more.
    Last,
}

/// Where calls hand in their drafts: small ones do not wait for large ones.
#[derive(Debug, Clone)]
pub struct Lanes {
    pub(super) small: mpsc::Sender<Job>,
    pub(super) large: mpsc::Sender<Job>,
}

/// Where their drafts are taken.
#[derive(Debug)]
pub struct Taken {
    small: mpsc::Receiver<Job>,
    large: mpsc::Receiver<Job>,
    forward: mpsc::Sender<Job>,
}

/// Lanes in which so many drafts can wait.
pub fn lanes(capacity: usize) -> (Lanes, Taken) {
    let (small, small_taken) = mpsc::channel(capacity);
    let (large, large_taken) = mpsc::channel(capacity);
    let taken = Taken { small: small_taken, large: large_taken, forward: large.clone() };
    (Lanes { small, large }, taken)
}

impl Lanes {
    /// Says that no call will begin any more.
    pub async fn last(&self) {
        let _ = self.small.send(Job::Last).await;
    }
}

/// What the worker works with.
pub struct Work {
    /// Drafts.
    pub jobs: Taken,
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
    let Work { jobs: Taken { mut small, mut large, forward }, spool, redactor, prices, sync, metrics } = work;
    let shared = spool.shared();
    let started = Some(Line::Started(micros(SystemTime::now())));
    let log = Mutex::new(Log { spool, started });
    let worker = Worker { log, shared, redactor, prices, sync, metrics };
    worker.write(&[], Vec::new());
    thread::scope(|scope| {
        scope.spawn(|| worker.serve(&mut large, None));
        worker.serve(&mut small, Some(&forward));
        // Behind everything that was forwarded.
        let _ = forward.blocking_send(Job::Last);
    });
}

/// What both lanes are written with.
struct Worker {
    log: Mutex<Log>,
    shared: Arc<Shared>,
    redactor: Arc<Redactor>,
    prices: Prices,
    sync: bool,
    metrics: Arc<Metrics>,
}

struct Log {
    spool: Spool,
    /// The line that has to stand before any other, as long as it does not.
    started: Option<Line>,
}

impl Worker {
    /// Takes the drafts of one lane. Large ones go to the other, if there is another: what came before them of the same call
    /// is written by then.
    fn serve(&self, jobs: &mut mpsc::Receiver<Job>, forward: Option<&mpsc::Sender<Job>>) {
        let mut batch = Vec::new();
        while jobs.blocking_recv_many(&mut batch, BATCH) > 0 {
            let (mut lines, mut told) = (Vec::new(), Vec::new());
            for job in batch.drain(..) {
                let (draft, teller) = match job {
                    Job::Write(draft, teller) => (draft, teller),
                    Job::Last => {
                        jobs.close();
                        continue;
                    }
                };
                if let Some(forward) = forward.filter(|_| draft.size() > LARGE)
                    && let Ok(room) = forward.try_reserve()
                {
                    // What is in this batch of its call stands before it.
                    self.write(&std::mem::take(&mut lines), std::mem::take(&mut told));
                    room.send(Job::Write(draft, teller));
                    continue;
                }
                lines.push(Line::Entry(Box::new(entry(*draft, &self.redactor, &self.prices))));
                told.extend(teller);
            }
            self.write(&lines, told);
            if jobs.is_closed() && jobs.is_empty() {
                return;
            }
        }
    }

    fn write(&self, lines: &[Line], told: Vec<oneshot::Sender<Result<(), Unwritten>>>) {
        let written = spool::encode(lines).and_then(|encoded| self.append(&encoded));
        note(&written, lines.len(), &self.metrics);
        self.shared.tell(written.is_ok());
        let result = written.map_err(|_| Unwritten);
        for teller in told {
            // Whoever waited may be gone.
            let _ = teller.send(result);
        }
        self.metrics.spool.set(i64::try_from(self.shared.bytes()).unwrap_or(i64::MAX));
    }

    fn append(&self, encoded: &[u8]) -> io::Result<()> {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let Log { spool, started } = &mut *log;
        if let Some(line) = started {
            spool.append(std::slice::from_ref(line))?;
            *started = None;
        }
        spool.write(encoded)?;
        if self.sync { spool.sync() } else { Ok(()) }
    }
}

fn note(written: &io::Result<()>, lines: usize, metrics: &Metrics) {
    if let Err(error) = written {
        metrics.lost("disk", lines);
        tracing::error!(%error, lines, "records cannot be written to the spool");
    }
}

impl Draft {
    /// Roughly how many bytes it has.
    fn size(&self) -> usize {
        let body = |body: Option<&Bytes>| body.map_or(0, Bytes::len);
        let side = |side: Option<&Transcript>| side.map_or(0, Transcript::size);
        let said = self.answer.as_ref().map_or(0, |said| side(said.original.as_ref()) + side(said.delivered.as_ref()));
        let untold = self.untold.as_ref().map_or(0, |untold| untold.request.len());
        body(self.request.as_ref()) + body(self.sent.as_ref().and_then(|(_, body)| body.as_ref())) + said + untold
    }
}

/// Makes text of what nests deeper than this.
fn flatten(value: &mut Value, depth: usize) {
    match value {
        Value::Array(_) | Value::Object(_) if depth == 0 => *value = Value::String(value.to_string()),
        Value::Array(items) => items.iter_mut().for_each(|item| flatten(item, depth - 1)),
        Value::Object(fields) => fields.values_mut().for_each(|field| flatten(field, depth - 1)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn entry(draft: Draft, redactor: &Redactor, prices: &Prices) -> Entry {
    let Draft { call, seq, head, request, sent, answer, closing, events, untold, secrets } = draft;
    let clean = Clean { redactor, secrets: &secrets };
    let answer = answer.map(|said| clean.answer(said));
    if let Some(untold) = untold {
        clean.tell(untold, answer.as_ref());
    }
    Entry {
        call: call.to_string(),
        seq,
        head: head.map(|head| clean.head(head)),
        request: request.map(|body| clean.body(body)),
        sent: sent.map(|(sent, body)| Sent {
            model: clean.text(&sent.model),
            body: body.map(|body| clean.body(body)),
            ..sent
        }),
        answer,
        closing: closing.map(|closing| Closing {
            cost: prices.cost(&closing),
            error: closing.error.map(|error| clean.text(&error)),
            ..closing
        }),
        events: clean.body(serde_json::to_vec(&events).unwrap_or_default().into()),
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
        self.redactor.without(text, self.secrets).into_owned()
    }

    /// The value without credentials, and whether there were any.
    fn json(&self, mut value: Value) -> (Value, bool) {
        let found = self.redactor.value(&mut value, self.secrets);
        flatten(&mut value, DEEPEST);
        (value, found)
    }

    /// The body without credentials: as it came, where there are none.
    fn body(&self, body: Bytes) -> Body {
        if self.redactor.is_clean(&body, self.secrets, DEEPEST) {
            return Body::of(body);
        }
        self.json(json(&body)).0.into()
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

    /// Tells the messages of a call in its trace: what the provider was sent and what the client got.
    fn tell(&self, untold: Untold, answer: Option<&Answer>) {
        let Untold { mut span, request } = untold;
        let TellRequest { system, messages, tools } = tell_request(&self.json(json(&request)).0);
        let got = answer.and_then(|answer| tell_answer(answer.delivered.as_ref().or(answer.original.as_ref())?));
        for (name, told) in [
            (gen_ai::SYSTEM_INSTRUCTIONS, system),
            (gen_ai::INPUT_MESSAGES, messages),
            (gen_ai::TOOL_DEFINITIONS, tools),
            (gen_ai::OUTPUT_MESSAGES, got),
        ] {
            span.set_some(name, told.map(|told| told.to_string()));
        }
    }

    fn is_clean(&self, bytes: &[u8]) -> bool {
        matches!(self.redactor.without(&String::from_utf8_lossy(bytes), self.secrets), Cow::Borrowed(_))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json as value;

    use super::*;
    use crate::record::spool::Position;

    /// What is read back of a request.
    fn written(request: &str) -> Body {
        let folder = tempfile::tempdir().unwrap();
        let (mut spool, reader) = Spool::open(folder.path()).unwrap();
        let mut secrets = Secrets::default();
        secrets.add("hunter22");
        let request = Some(Bytes::copy_from_slice(request.as_bytes()));
        let draft = Draft { call: "c".into(), request, secrets, ..Draft::default() };
        let entry = entry(draft, &Redactor::new([]).unwrap(), &Prices::default());
        spool.append(&[Line::Entry(Box::new(entry))]).unwrap();
        let batch = reader.read(Position::default()).unwrap().unwrap();
        assert_eq!((batch.lines.len(), batch.lost), (1, 0));
        let [Line::Entry(entry)] = &batch.lines[..] else { panic!("{batch:?}") };
        entry.request.clone().unwrap()
    }

    #[test]
    fn bodies_are_written_as_they_came_but_for_credentials() {
        for (request, expected) in [
            (r#"{ "b": [1.50, "x"],\n "a": null }"#, value!({ "b": [1.5, "x"], "a": null })),
            (r#"{"a":"my hunter22"}"#, value!({ "a": "my [redacted:credential]" })),
            (r#"{"a":"\u0068unter22"}"#, value!({ "a": "[redacted:credential]" })),
            (r#"{"a":"\ud83d!"}"#, value!({ "a": "\u{fffd}!" })),
            ("no JSON, hunter22", value!("no JSON, [redacted:credential]")),
        ] {
            assert_eq!(written(&request.replace(r"\n", "\n")).value(), expected, "{request}");
        }
    }

    #[test]
    fn a_body_that_nests_deep_is_not_lost() {
        for levels in [99, 100, 101, 126, 127, 128, 5000] {
            let request = format!("{}\"bottom\"{}", "[".repeat(levels), "]".repeat(levels));
            assert!(written(&request).value().to_string().contains("bottom"), "{levels} levels");
        }
    }
}
