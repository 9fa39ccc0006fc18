//! One call: one gRPC stream of Envoy's, driven by one loop over a closed set of wake-ups.
//!
//! `request` and `response` take Envoy's messages about the two directions; what is here drives them and keeps the clocks; `end`
//! is how a call stops before its time.

mod conversion;
mod end;
mod request;
mod response;
mod unread;

use std::{sync::Arc, task::Poll, time::SystemTime};

use bytes::{Bytes, BytesMut};
use envoy_types::pb::envoy::service::ext_proc::v3::{
    ProcessingRequest, ProcessingResponse, processing_request::Request as Incoming,
};
use futures::{
    FutureExt, StreamExt,
    future::{BoxFuture, poll_fn},
};
use tokio::time::Instant;
use tonic::{Status, Streaming};

use crate::{
    config::settings::Timeouts,
    dialect::{ConvertedTools, Endpoint, RequestView, Transcript},
    lifecycle::Ending,
    model::{CallHead, Dialect, Entrance, Failure, FailureKind},
    pipeline::{
        RequestRun, Response, Runner, Stopped,
        clock::{Clocks, Deadline, Due, Limits},
    },
    policy::{Release, Rules},
    telemetry::{
        stopwatch::{On, Stopwatch},
        trace::Parent,
    },
};

use super::{
    alarm::Alarm,
    bodies::{Base, Bodies},
    books::Books,
    credentials::Client,
    gateway::Gateway,
    half::{Half, Message},
    headers::{HeaderView, own_answer},
    replies::{Direction, Outbox},
};

/// One call.
pub(super) struct Call {
    gateway: Arc<Gateway>,
    inbound: Streaming<ProcessingRequest>,
    outbox: Outbox,
    /// What Envoy sends of bodies by itself.
    base: Base,
    /// What was taken of the answer, on its way there.
    out: Vec<Bytes>,
    request: Half,
    response: Half,
    /// Its headers were all; Envoy takes no body in answer to them.
    has_no_body: bool,
    phase: Phase,
    clocks: Clocks,
    /// Rings when the next of them is due.
    alarm: Alarm,
    /// The time that it has left, when it is told.
    draining: BoxFuture<'static, Ending>,
    /// What somebody else does that this call is a part of, as Envoy says.
    above: Parent,
    books: Books,
    time: Stopwatch,
    began: Instant,
    /// The message that is worked on carries a chunk.
    carries: Option<Direction>,
    rules: Arc<Rules>,
    /// The dialect in which errors are told, and what the client asked for.
    dialect: Dialect,
    view: RequestView,
    /// Fields of the request that the provider was not sent.
    dropped: Vec<String>,
    /// A list of models was asked for in the form of another vendor than the upstream's.
    listing: Option<Listing>,
    /// Headers of the answer that only the gateway may say.
    forged: Vec<String>,
    /// An error of the provider's that passes unread, for the record.
    unread: Option<Transcript>,
    held: usize,
    /// The answer's headers have left. Until then, a failure is a proper HTTP error.
    released: bool,
    over: bool,
}

/// Where a call stands, with what exists only there.
enum Phase {
    /// The request's headers have not come.
    New,
    /// The request is held until it is whole.
    Uploading(Box<Upload>),
    /// The request hooks run.
    Deciding(Box<Deciding>),
    /// The request was sent; the answer's headers have not come.
    Asked(Box<Asked>),
    /// The answer is read, and what is decided of it leaves.
    Answering(Box<Answering>),
    /// Bodies pass unread, through here or not.
    Unread(Option<Bodies>),
    /// Nothing more is to be said.
    Over,
}

struct Upload {
    endpoint: Endpoint,
    path: String,
    headers: HeaderView,
    entrance: Entrance,
    client: Client,
    bodies: Bodies,
    body: BytesMut,
    /// How long the client says that the body is.
    announced: usize,
}

struct Deciding {
    upload: Upload,
    body: Bytes,
    head: Arc<CallHead>,
    run: BoxFuture<'static, RequestRun>,
}

struct Asked {
    endpoint: Endpoint,
    bodies: Bodies,
    /// The dialect in which the provider was asked.
    dialect: Dialect,
    /// The tools as they were sent, where the request was converted.
    tools: ConvertedTools,
    /// The client's name of the model, where the provider has another.
    model: Option<String>,
    runners: Vec<Runner>,
    release: Release,
    timeouts: Timeouts,
    sent: Instant,
}

struct Answering {
    response: Response,
    bodies: Bodies,
    timeouts: Timeouts,
    sent: Instant,
    is_stream: bool,
    /// The provider answers in another dialect than the client's.
    converts: bool,
}

/// A list of models that is to be told in another form.
struct Listing {
    /// The dialects of the upstream and of the client.
    dialects: (Dialect, Dialect),
    aliases: Vec<(String, String)>,
    bodies: Bodies,
    timeouts: Timeouts,
    sent: Instant,
}

/// What wakes a call up. Nothing else does.
#[expect(clippy::large_enum_variant, reason = "there is one at a time, and it is taken apart at once")]
enum Wake {
    Message(Option<Result<ProcessingRequest, Status>>),
    RequestDecided(Box<RequestRun>),
    BlockDecided(Result<(), Stopped>),
    Due,
    Silence,
    Draining(Ending),
}

impl Call {
    pub(super) fn new(gateway: Arc<Gateway>, above: Parent, inbound: Streaming<ProcessingRequest>) -> Self {
        let rules = gateway.rules.current();
        let recorded = rules.record.unwrap_or_else(|| gateway.settings.recorded());
        let books = Books::open(Arc::clone(&gateway.journal), gateway.recorder.as_ref(), recorded);
        let began = Instant::now();
        Self {
            alarm: Alarm::default(),
            draining: gateway.drained(began, None),
            gateway,
            inbound,
            outbox: Outbox::default(),
            base: Base::default(),
            out: Vec::new(),
            request: Half::Headers,
            response: Half::Headers,
            has_no_body: false,
            phase: Phase::New,
            clocks: Clocks::default(),
            above,
            books,
            time: Stopwatch::start(),
            began,
            carries: None,
            rules,
            dialect: Dialect::OpenaiChat,
            view: RequestView::default(),
            dropped: Vec::new(),
            listing: None,
            forged: Vec::new(),
            unread: None,
            held: 0,
            released: false,
            over: false,
        }
    }

    /// Luthien's id of it.
    pub(super) fn id(&self) -> &str {
        &self.books.about.call
    }

    /// The next message to Envoy. `None`: both directions are complete, or answered in place of the provider.
    pub(super) async fn next(&mut self) -> Option<Result<ProcessingResponse, Status>> {
        self.time.work();
        let reply = self.run().await;
        // It is only asked for more when this was taken.
        self.time.wait(On::Client);
        reply
    }

    async fn run(&mut self) -> Option<Result<ProcessingResponse, Status>> {
        loop {
            // The end of an answer leaves when its record stands on the disk.
            if self.time.watch(On::Record, self.books.written()).await.is_err() {
                return Some(self.unrecorded());
            }
            // However slowly Envoy takes a long body: no clock waits until all of it has left.
            if !self.is_late() {
                if let Some(reply) = self.outbox.pop() {
                    self.left();
                    return Some(Ok(reply));
                }
                if self.over {
                    return None;
                }
            }
            // A call that always has work must not keep others waiting.
            tokio::task::consume_budget().await;
            let outcome = match self.wake().await {
                Wake::Message(message) => {
                    // The other side is gone. Whatever was going on is dropped with this call.
                    let Some(Ok(message)) = message else {
                        return Some(Err(Status::cancelled("the exchange ended early")));
                    };
                    match self.message(message) {
                        Ok(outcome) => outcome,
                        Err(violation) => return Some(Err(violation)),
                    }
                }
                Wake::RequestDecided(run) => self.request_decided(*run),
                Wake::BlockDecided(outcome) => outcome,
                Wake::Due => self.due(),
                Wake::Silence => self.silence(),
                Wake::Draining(ending) => {
                    self.clocks.drain = Some(Deadline::new(Limits::Drain, ending.since, ending.limit));
                    self.draining = self.gateway.drained(self.began, Some(ending.at()));
                    Ok(())
                }
            };
            let outcome = outcome.and_then(|()| self.flush()).and_then(|()| self.account());
            if let Err(stopped) = outcome
                && let Err(status) = self.rescue(&stopped)
            {
                return Some(Err(status));
            }
            if let Some(direction) = self.carries.take() {
                self.books.chunk_work(direction.name(), self.time.take_work());
            }
        }
    }

    /// Whether a clock is due while more waits to be sent than one message.
    fn is_late(&self) -> bool {
        let due = || self.clocks.next_fixed().into_iter().chain(self.clocks.next_silence()).min();
        !self.over && self.outbox.is_long() && due().is_some_and(|due| due <= Instant::now())
    }

    /// Whom it waits for when there is nothing to do.
    fn waits_for(&self) -> On {
        match &self.phase {
            Phase::New | Phase::Uploading(_) | Phase::Over => On::Client,
            Phase::Deciding(_) => On::Policies,
            Phase::Answering(answering) if answering.response.is_deciding() => On::Policies,
            Phase::Unread(Some(_)) if self.request != Half::Done => On::Client,
            Phase::Asked(_) | Phase::Answering(_) | Phase::Unread(_) => On::Provider,
        }
    }

    async fn wake(&mut self) -> Wake {
        let (fixed, silence, on) = (self.clocks.next_fixed(), self.clocks.next_silence(), self.waits_for());
        let next = fixed.into_iter().chain(silence).min();
        let Self { inbound, phase, alarm, draining, time, books, .. } = self;
        let woken = poll_fn(|wakeup| {
            match phase {
                Phase::Deciding(deciding) => {
                    if let Poll::Ready(run) = deciding.run.poll_unpin(wakeup) {
                        return Poll::Ready(Wake::RequestDecided(Box::new(run)));
                    }
                    books.flush();
                }
                Phase::Answering(answering) => {
                    if let Poll::Ready(outcome) = answering.response.poll_decisions(wakeup) {
                        return Poll::Ready(Wake::BlockDecided(outcome));
                    }
                }
                Phase::New | Phase::Uploading(_) | Phase::Asked(_) | Phase::Unread(_) | Phase::Over => {}
            }
            let now = alarm.poll(next, wakeup).is_ready().then(Instant::now);
            let is_due = |limit: Option<Instant>| limit.zip(now).is_some_and(|(limit, now)| limit <= now);
            // A provider that always has more to say keeps nothing else waiting; but a chunk that is here already proves that it
            // is not silent.
            if is_due(fixed) {
                return Poll::Ready(Wake::Due);
            }
            if let Poll::Ready(message) = inbound.poll_next_unpin(wakeup) {
                return Poll::Ready(Wake::Message(message));
            }
            if is_due(silence) {
                return Poll::Ready(Wake::Silence);
            }
            draining.poll_unpin(wakeup).map(Wake::Draining)
        });
        time.watch(on, woken).await
    }

    /// Takes a message of Envoy's. `Err`: it broke the protocol.
    fn message(&mut self, message: ProcessingRequest) -> Result<Result<(), Stopped>, Status> {
        let Some(incoming) = message.request else { return Ok(Ok(())) };
        let (direction, kind) = kind_of(&incoming);
        // Envoy answers by itself also before it asks anybody: to an upgrade that it does not do, for one.
        let is_own = matches!(incoming, Incoming::ResponseHeaders(_)) && own_answer(&message.attributes).is_some();
        if matches!(self.phase, Phase::New) && !is_own && !matches!(incoming, Incoming::RequestHeaders(_)) {
            return Err(misconfigured(&"Envoy sends no headers of requests; set `request_header_mode: SEND`"));
        }
        let half = match direction {
            Direction::Request => &mut self.request,
            Direction::Response => &mut self.response,
        };
        let before = *half;
        *half = before.after(kind).map_err(|violation| Status::internal(format!("{direction:?}: {violation}")))?;
        if before == Half::Done {
            return Ok(Ok(()));
        }
        self.carries = matches!(kind, Message::Body { .. }).then_some(direction);
        Ok(match incoming {
            Incoming::RequestHeaders(headers) => {
                self.base = Base::of(message.protocol_config.as_ref()).map_err(|unusable| misconfigured(&unusable))?;
                self.request_headers(&headers, &message.attributes)
            }
            Incoming::RequestBody(body) => self.request_body(body),
            Incoming::RequestTrailers(_) => Self::request_trailers(),
            Incoming::ResponseHeaders(headers) => self.response_headers(&headers, &message.attributes),
            Incoming::ResponseBody(body) => self.response_body(body),
            Incoming::ResponseTrailers(_) => self.response_end(true),
        })
    }

    /// A limit was reached, or a keepalive is due.
    fn due(&mut self) -> Result<(), Stopped> {
        match self.clocks.due(Instant::now()) {
            None => {}
            Some(Due::Keepalive) => {
                self.clocks.keepalive = None;
                if let Phase::Answering(answering) = &mut self.phase {
                    answering.response.keepalive();
                }
            }
            Some(Due::Failure(failure)) => return Err(Stopped::Failed(failure)),
        }
        Ok(())
    }

    /// The provider was silent for too long.
    fn silence(&mut self) -> Result<(), Stopped> {
        let Some(failure) = self.clocks.silence(Instant::now()) else { return Ok(()) };
        self.clocks.first_byte = None;
        self.clocks.stall = None;
        match &mut self.phase {
            // What is decided still leaves before the client is told.
            Phase::Answering(answering) => answering.response.cut(failure),
            Phase::New
            | Phase::Uploading(_)
            | Phase::Deciding(_)
            | Phase::Asked(_)
            | Phase::Unread(_)
            | Phase::Over => Err(Stopped::Failed(failure)),
        }
    }

    /// Accounts for what is held.
    fn account(&mut self) -> Result<(), Stopped> {
        let now = self.holds();
        if self.gateway.account(self.held, now) {
            self.held = now;
            return Ok(());
        }
        limited(
            FailureKind::Overloaded,
            "limits.held_total",
            "the gateway holds too much for all calls together (limits.held_total); try again",
        )
    }

    /// A message has left, and with it a part of a request that was accounted for.
    fn left(&mut self) {
        if !matches!(self.phase, Phase::Asked(_)) {
            return;
        }
        let now = self.holds();
        if now < self.held {
            self.gateway.account(self.held, now);
            self.held = now;
        }
    }

    /// Bytes that it holds, or has to have room for.
    fn holds(&self) -> usize {
        let held = match &self.phase {
            // Whoever was admitted is not turned away for want of room before it has sent what it announced.
            Phase::Uploading(upload) => upload.body.len().max(upload.announced),
            Phase::Deciding(deciding) => deciding.body.len(),
            Phase::Asked(_) => self.outbox.bytes(),
            Phase::Answering(answering) => answering.response.held(),
            Phase::New | Phase::Unread(_) | Phase::Over => 0,
        };
        held + self.view.echo.len()
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        // A call that nobody ended is recorded as far as it came.
        if let Phase::Answering(answering) = &mut self.phase {
            let (original, delivered) = answering.response.take_record();
            self.books.usage = answering.response.usage();
            self.books.provider_is_done(Some(answering.response.answered()), answering.response.provider_failed());
            self.books.close(original, delivered);
        }
        self.books.timed(&self.time.times());
        self.gateway.account(self.held, 0);
    }
}

/// Seconds since 1970.
fn unix_now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Envoy is configured so that a call could pass undecided. It fails the call, because it is told nothing else.
fn misconfigured(what: &impl ToString) -> Status {
    let what = what.to_string();
    tracing::error!(reason = what, "a call is given up: Envoy's ext_proc filter cannot be used");
    Status::failed_precondition(what)
}

fn kind_of(incoming: &Incoming) -> (Direction, Message) {
    match incoming {
        Incoming::RequestHeaders(headers) => (Direction::Request, Message::Headers { end: headers.end_of_stream }),
        Incoming::RequestBody(body) => (Direction::Request, Message::Body { end: body.end_of_stream }),
        Incoming::RequestTrailers(_) => (Direction::Request, Message::Trailers),
        Incoming::ResponseHeaders(headers) => (Direction::Response, Message::Headers { end: headers.end_of_stream }),
        Incoming::ResponseBody(body) => (Direction::Response, Message::Body { end: body.end_of_stream }),
        Incoming::ResponseTrailers(_) => (Direction::Response, Message::Trailers),
    }
}

/// Envoy could not get an answer from the provider. What it writes to its log stays there.
fn unreachable(upstream: &str, details: &str) -> Failure {
    match details {
        // Of an Envoy that somebody else configures; Envoy refuses it before it asks us.
        "upgrade_failed" => {
            let message =
                "this gateway takes no upgrade to a WebSocket, which no policy could read; send plain requests";
            return Failure::new(FailureKind::NotFound, message);
        }
        // The default where the routes are exact matches, or a cluster that is not there.
        "direct_response" | "cluster_not_found" | "route_not_found" => {
            let message = format!("Envoy has no route for the upstream {upstream}; `luthien doctor` says more");
            return Failure::new(FailureKind::Unreachable, message);
        }
        _ => {}
    }
    // A connection that could not be made in time is no slow answer.
    let slow = details.contains("timeout") && !details.starts_with("upstream_reset");
    let kind = if slow { FailureKind::FirstByteTimeout } else { FailureKind::Unreachable };
    Failure::new(kind, format!("the provider {upstream} cannot be reached, or broke off before it answered"))
}

fn limited<T>(kind: FailureKind, limit: &'static str, message: impl Into<String>) -> Result<T, Stopped> {
    Err(Stopped::Failed(Failure::new(kind, message).by_limit(limit)))
}

fn failed<T>(kind: FailureKind, message: impl Into<String>) -> Result<T, Stopped> {
    Err(Stopped::Failed(Failure::new(kind, message)))
}

#[cfg(test)]
mod tests;
