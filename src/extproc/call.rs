//! One call: one gRPC stream of Envoy's, driven by one loop over a closed set of wake-ups.

use std::{collections::VecDeque, future::pending, sync::Arc, time::SystemTime};

use bytes::{Bytes, BytesMut};
use envoy_types::pb::envoy::service::ext_proc::v3::{
    HttpBody, HttpHeaders, ProcessingRequest, ProcessingResponse, processing_request::Request as Incoming,
};
use futures::future::{BoxFuture, poll_fn};
use tokio::time::{Instant, sleep_until};
use tonic::{Status, Streaming};

use crate::{
    config::settings::Timeouts,
    dialect::{self, Endpoint, RequestView},
    model::{CallHead, Dialect, Failure, FailureKind},
    pipeline::{
        RequestRun, Response, Runner, Setup, Stopped,
        clock::{Clocks, Deadline, Due, Limits, TimeoutMonitor},
        run_request, select,
    },
    policy::{Release, Rules},
};

use super::{
    books::Books,
    credentials::Client,
    gateway::Gateway,
    half::{Half, Message},
    headers::{HeaderView, attribute},
    replies::{self, Direction, Headers},
    rescue::{self, Instead},
    routing::request_headers,
};

/// One call.
pub(super) struct Call {
    gateway: Arc<Gateway>,
    inbound: Streaming<ProcessingRequest>,
    outbox: VecDeque<ProcessingResponse>,
    request: Half,
    response: Half,
    /// The client sent trailers, which have to be answered as such.
    request_trailers: bool,
    phase: Phase,
    clocks: Clocks,
    books: Books,
    rules: Arc<Rules>,
    /// The dialect in which errors are told, and what the client asked for.
    dialect: Dialect,
    view: RequestView,
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
    /// Bodies pass unread.
    Unread,
    /// Nothing more is to be said.
    Over,
}

struct Upload {
    endpoint: Endpoint,
    path: String,
    headers: HeaderView,
    client: Client,
    body: BytesMut,
}

struct Deciding {
    upload: Upload,
    body: Bytes,
    head: Arc<CallHead>,
    run: BoxFuture<'static, RequestRun>,
}

struct Asked {
    endpoint: Endpoint,
    runners: Vec<Runner>,
    release: Release,
    timeouts: Timeouts,
    sent: Instant,
}

struct Answering {
    response: Response,
    timeouts: Timeouts,
    sent: Instant,
    is_stream: bool,
}

/// What wakes a call up. Nothing else does.
enum Wake {
    Message(Box<Result<Option<ProcessingRequest>, Status>>),
    RequestDecided(Box<RequestRun>),
    BlockDecided(Result<(), Stopped>),
    Due,
    Draining,
}

impl Call {
    pub(super) fn new(gateway: Arc<Gateway>, inbound: Streaming<ProcessingRequest>) -> Self {
        let books = Books::open(Arc::clone(&gateway.metrics));
        let rules = gateway.rules.current();
        Self {
            gateway,
            inbound,
            outbox: VecDeque::new(),
            request: Half::Headers,
            response: Half::Headers,
            request_trailers: false,
            phase: Phase::New,
            clocks: Clocks::default(),
            books,
            rules,
            dialect: Dialect::OpenaiChat,
            view: RequestView::default(),
            held: 0,
            released: false,
            over: false,
        }
    }

    /// The next message to Envoy. `None`: both directions are complete, or answered in place of the provider.
    pub(super) async fn next(&mut self) -> Option<Result<ProcessingResponse, Status>> {
        loop {
            if let Some(reply) = self.outbox.pop_front() {
                return Some(Ok(reply));
            }
            if self.over {
                return None;
            }
            let outcome = match self.wake().await {
                Wake::Message(message) => {
                    // The other side is gone. Whatever was going on is dropped with this call.
                    let Ok(Some(message)) = *message else {
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
                Wake::Draining => {
                    let limit = self.gateway.settings.timeouts.drain.get();
                    self.clocks.drain = Some(Deadline::new(Limits::Drain, Instant::now(), limit));
                    Ok(())
                }
            };
            let outcome = outcome.and_then(|()| self.flush()).and_then(|()| self.account());
            if let Err(stopped) = outcome
                && let Err(status) = self.rescue(&stopped)
            {
                return Some(Err(status));
            }
        }
    }

    async fn wake(&mut self) -> Wake {
        let next = self.clocks.next();
        let Self { inbound, phase, gateway, clocks, .. } = self;
        let decided = async {
            match phase {
                Phase::Deciding(deciding) => Wake::RequestDecided(Box::new((&mut deciding.run).await)),
                Phase::Answering(answering) => {
                    Wake::BlockDecided(poll_fn(|wakeup| answering.response.poll_decisions(wakeup)).await)
                }
                Phase::New | Phase::Uploading(_) | Phase::Asked(_) | Phase::Unread | Phase::Over => pending().await,
            }
        };
        let due = async {
            match next {
                Some(at) => sleep_until(at).await,
                None => pending().await,
            }
        };
        let mut draining = gateway.draining.clone();
        let drain = async {
            if clocks.drain.is_some() || draining.wait_for(|draining| *draining).await.is_err() {
                pending::<()>().await;
            }
        };
        tokio::select! {
            // A chunk that is here already proves that nobody stalled, so it comes before the clocks.
            biased;
            message = inbound.message() => Wake::Message(Box::new(message)),
            wake = decided => wake,
            () = due => Wake::Due,
            () = drain => Wake::Draining,
        }
    }

    /// Takes a message of Envoy's. `Err`: it broke the protocol.
    fn message(&mut self, message: ProcessingRequest) -> Result<Result<(), Stopped>, Status> {
        let Some(incoming) = message.request else { return Ok(Ok(())) };
        let (direction, kind) = kind_of(&incoming);
        let half = match direction {
            Direction::Request => &mut self.request,
            Direction::Response => &mut self.response,
        };
        let before = *half;
        *half = before.after(kind).map_err(|violation| Status::internal(format!("{direction:?}: {violation}")))?;
        if before == Half::Done {
            return Ok(Ok(()));
        }
        Ok(match incoming {
            Incoming::RequestHeaders(headers) => self.request_headers(&headers),
            Incoming::RequestBody(body) => self.request_body(body),
            Incoming::RequestTrailers(_) => {
                self.request_trailers = true;
                self.request_end(Direction::Request)
            }
            Incoming::ResponseHeaders(headers) => self.response_headers(&headers, &message.attributes),
            Incoming::ResponseBody(body) => self.response_body(body),
            Incoming::ResponseTrailers(_) => self.response_end(true),
        })
    }

    fn request_headers(&mut self, message: &HttpHeaders) -> Result<(), Stopped> {
        let headers = HeaderView::of(message);
        let (method, path) = (headers.text(":method").to_owned(), headers.text(":path").to_owned());
        let endpoint = dialect::endpoint(&method, &path);
        self.dialect = endpoint.map_or_else(|| dialect::error_dialect(&path), |endpoint| endpoint.dialect);
        path.split('?').next().unwrap_or_default().clone_into(&mut self.books.path);
        self.books.dialect = endpoint.map(|endpoint| endpoint.dialect);
        self.books.rules.clone_from(&self.rules.hash);
        self.books.permit = self.gateway.admit();
        if self.books.permit.is_none() {
            let limit = self.gateway.settings.limits.calls;
            return failed(FailureKind::Overloaded, format!("the gateway serves {limit} calls already; try again"));
        }
        let Some(client) = self.gateway.clients.judge(&headers) else {
            return failed(
                FailureKind::Unauthenticated,
                "the gateway does not know this key; send one of its client keys",
            );
        };
        if let Client::Known { name, .. } = &client {
            self.books.client = Some(name.clone());
        }
        let Some(endpoint) = endpoint else { return self.unread(&method, &path, &headers, &client) };
        if headers.is_encoded() {
            if self.gateway.passes_unreadable() {
                return self.send_unread(&path, &headers, &client);
            }
            let message = "the request body is compressed; send it without content-encoding, or set `unreadable: pass`";
            return failed(FailureKind::BadRequest, message);
        }
        self.check_upload(headers.content_length().unwrap_or(0))?;
        let limit = self.gateway.settings.timeouts.upload.get();
        self.clocks.upload = Some(Deadline::new(Limits::Upload, self.books.started(), limit));
        self.phase = Phase::Uploading(Box::new(Upload { endpoint, path, headers, client, body: BytesMut::new() }));
        if self.request == Half::Done { self.request_end(Direction::Request) } else { Ok(()) }
    }

    /// A path that no dialect covers.
    fn unread(&mut self, method: &str, path: &str, headers: &HeaderView, client: &Client) -> Result<(), Stopped> {
        if self.gateway.unpoliced.passes(method, path) {
            return self.send_unread(path, headers, client);
        }
        let shown = path.split_once('?').map_or(path, |(path, _)| path);
        let message = format!(
            "{method} {shown} is not covered by any policy and is refused; to let it through unread, add \
             \"{method} {shown}\" to `unpoliced.pass` in the gateway's configuration"
        );
        failed(FailureKind::NotFound, message)
    }

    /// Lets both directions pass unread.
    fn send_unread(&mut self, path: &str, headers: &HeaderView, client: &Client) -> Result<(), Stopped> {
        let gateway = Arc::clone(&self.gateway);
        let (upstream, dialect) = gateway.unread_upstream(headers, path).map_err(Stopped::Failed)?;
        self.books.upstream.clone_from(&upstream.name);
        let changes = request_headers(upstream, dialect, client, path);
        let now = Instant::now();
        self.clocks.first_byte = Some(Deadline::new(Limits::FirstByte, now, upstream.timeouts.first_byte_json.get()));
        self.clocks.total = Some(Deadline::new(Limits::Total, now, upstream.timeouts.total.get()));
        let metadata = [("call_id", &*self.books.id), ("outcome", "unpoliced")];
        self.outbox.push_back(replies::headers(Direction::Request, changes, &metadata));
        self.phase = Phase::Unread;
        Ok(())
    }

    fn request_body(&mut self, message: HttpBody) -> Result<(), Stopped> {
        let end = self.request == Half::Done;
        match &mut self.phase {
            Phase::Uploading(upload) => {
                upload.body.extend_from_slice(&message.body);
                let len = upload.body.len();
                self.check_upload(len)?;
                if end { self.request_end(Direction::Request) } else { Ok(()) }
            }
            Phase::Unread => {
                self.outbox.extend(replies::body(Direction::Request, vec![message.body.into()], end));
                Ok(())
            }
            Phase::New | Phase::Deciding(_) | Phase::Asked(_) | Phase::Answering(_) | Phase::Over => Ok(()),
        }
    }

    fn check_upload(&self, len: usize) -> Result<(), Stopped> {
        let limit = self.gateway.settings.limits.request_body.get();
        if len <= limit {
            return Ok(());
        }
        failed(
            FailureKind::RequestTooLarge,
            format!("the request body is larger than limits.request_body ({limit} bytes)"),
        )
    }

    /// The request is whole: reads it and runs the request hooks.
    fn request_end(&mut self, direction: Direction) -> Result<(), Stopped> {
        if matches!(self.phase, Phase::Unread) {
            self.outbox.push_back(replies::trailers(direction));
        }
        if !matches!(self.phase, Phase::Uploading(_)) {
            return Ok(());
        }
        let Phase::Uploading(mut upload) = std::mem::replace(&mut self.phase, Phase::Over) else { return Ok(()) };
        self.clocks.upload = None;
        let body = std::mem::take(&mut upload.body).freeze();
        let (view, request) = match dialect::request(upload.endpoint.dialect, &body) {
            Ok(read) => read,
            Err(_) if self.gateway.passes_unreadable() => {
                self.send_unread(&upload.path, &upload.headers, &upload.client)?;
                self.outbox.extend(replies::body(Direction::Request, vec![body], !self.request_trailers));
                self.answer_request_trailers();
                return Ok(());
            }
            Err(error) => return failed(FailureKind::BadRequest, error.to_string()),
        };
        self.view = view;
        let gateway = Arc::clone(&self.gateway);
        let upstream = gateway.upstream(upload.endpoint.dialect, &self.view.model).map_err(Stopped::Failed)?;
        let head = Arc::new(self.head(&upload, &upstream.name));
        self.books.model.clone_from(&head.model);
        self.books.session.clone_from(&head.session);
        let runners = select(&self.rules, &head);
        let run = Box::pin(run_request(runners, request));
        self.phase = Phase::Deciding(Box::new(Deciding { upload: *upload, body, head, run }));
        Ok(())
    }

    fn head(&self, upload: &Upload, upstream: &str) -> CallHead {
        let session = ["x-claude-code-session-id", "session-id", "session_id", "x-session-id"]
            .iter()
            .find_map(|name| upload.headers.get(name).map(str::to_owned));
        CallHead {
            id: Arc::clone(&self.books.id),
            dialect: upload.endpoint.dialect,
            path: upload.path.split_once('?').map_or(&*upload.path, |(path, _)| path).to_owned(),
            model: self.view.model.clone(),
            upstream: upstream.to_owned(),
            client: self.books.client.clone(),
            session: session.or_else(|| self.view.session.clone()),
            headers: upload.headers.public(),
            stream: self.view.stream,
        }
    }

    /// The request hooks have decided: sends the request, or answers in place of the provider.
    fn request_decided(&mut self, run: RequestRun) -> Result<(), Stopped> {
        let Phase::Deciding(deciding) = std::mem::replace(&mut self.phase, Phase::Over) else { return Ok(()) };
        self.books.note(run.facts);
        let request = run.outcome?;
        if let Some(blocks) = request.given_answer() {
            let (status, reply) = rescue::blocks(blocks, None, &self.instead());
            self.books.status = status;
            self.books.outcome("completed");
            self.end_with(reply);
            return Ok(());
        }
        let gateway = Arc::clone(&self.gateway);
        let Deciding { upload, body, head, .. } = *deciding;
        let upstream = gateway.upstream(head.dialect, request.model()).map_err(Stopped::Failed)?;
        self.books.upstream.clone_from(&upstream.name);
        let changes = request_headers(upstream, head.dialect, &upload.client, &upload.path);
        let metadata = [("call_id", &*self.books.id), ("model", &*self.books.model)];
        self.outbox.push_back(replies::headers(Direction::Request, changes, &metadata));
        let body = dialect::patch_request(&body, &request);
        self.outbox.extend(replies::body(Direction::Request, vec![body], !self.request_trailers));
        self.answer_request_trailers();
        let (now, timeouts) = (Instant::now(), upstream.timeouts.clone());
        let first_byte = if self.view.stream { timeouts.first_byte } else { timeouts.first_byte_json };
        self.clocks.first_byte = Some(Deadline::new(Limits::FirstByte, now, first_byte.get()));
        self.clocks.total = Some(Deadline::new(Limits::Total, now, timeouts.total.get()));
        self.phase = Phase::Asked(Box::new(Asked {
            endpoint: upload.endpoint,
            runners: run.runners,
            release: self.rules.release,
            timeouts,
            sent: now,
        }));
        Ok(())
    }

    fn answer_request_trailers(&mut self) {
        if self.request_trailers {
            self.outbox.push_back(replies::trailers(Direction::Request));
        }
    }

    fn response_headers(
        &mut self,
        message: &HttpHeaders,
        attributes: &std::collections::HashMap<String, envoy_types::pb::google::protobuf::Struct>,
    ) -> Result<(), Stopped> {
        let headers = HeaderView::of(message);
        self.books.status = headers.text(":status").parse().unwrap_or(0);
        // Envoy answers by itself when it cannot reach the provider. Its details say so; the provider's own say this.
        let details = attribute(attributes, "response.code_details").unwrap_or("via_upstream");
        if details != "via_upstream" {
            return Err(Stopped::Failed(unreachable(&self.books.upstream, details)));
        }
        let asked = match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Asked(asked) if asked.endpoint.answers && (200..300).contains(&self.books.status) => asked,
            // Errors of the provider pass in its own words, and so does what is not an answer.
            Phase::Asked(_) | Phase::Unread => {
                if !(200..300).contains(&self.books.status) {
                    self.books.outcome("upstream_error");
                }
                self.answer_unread();
                return Ok(());
            }
            // Headers come once, so that nothing else is going on.
            Phase::New | Phase::Uploading(_) | Phase::Deciding(_) | Phase::Answering(_) | Phase::Over => return Ok(()),
        };
        let media_type = headers.media_type();
        let is_stream = media_type == "text/event-stream";
        let readable = is_stream || media_type == "application/json" || media_type.ends_with("+json");
        if headers.is_encoded() || !readable {
            if self.gateway.passes_unreadable() {
                self.answer_unread();
                return Ok(());
            }
            let what = if readable { "is compressed" } else { "is neither JSON nor an event stream" };
            return failed(FailureKind::BadAnswer, format!("the provider's answer {what}, and cannot be read"));
        }
        let setup = Setup {
            dialect: asked.endpoint.dialect,
            call: Arc::clone(&self.books.id),
            include_usage: self.view.include_usage,
            release: asked.release,
            limits: self.gateway.response_limits(),
        };
        let response =
            if is_stream { Response::stream(setup, asked.runners) } else { Response::body(setup, asked.runners) };
        let (timeouts, sent) = (asked.timeouts, asked.sent);
        self.phase = Phase::Answering(Box::new(Answering { response, timeouts, sent, is_stream }));
        if self.response == Half::Done { self.response_end(false) } else { Ok(()) }
    }

    fn response_body(&mut self, message: HttpBody) -> Result<(), Stopped> {
        let now = Instant::now();
        let end = self.response == Half::Done;
        let chunk = Bytes::from(message.body);
        match &mut self.phase {
            Phase::Answering(answering) => {
                if !chunk.is_empty() {
                    let (sent, limit) = (answering.sent, answering.timeouts.stall.get());
                    self.clocks.first_byte = None;
                    self.clocks.stall.get_or_insert_with(|| TimeoutMonitor::new(limit, sent, now)).keepalive(now);
                    self.books.first_byte(sent, now);
                    answering.response.push(&chunk)?;
                }
                if end { self.response_end(false) } else { Ok(()) }
            }
            Phase::Unread => {
                self.clocks.first_byte = None;
                self.outbox.extend(replies::body(Direction::Response, vec![chunk], end));
                self.end_if_complete();
                Ok(())
            }
            Phase::New | Phase::Uploading(_) | Phase::Deciding(_) | Phase::Asked(_) | Phase::Over => Ok(()),
        }
    }

    /// The provider's body came to its end; trailers of it are answered where the body passed unread.
    fn response_end(&mut self, trailers: bool) -> Result<(), Stopped> {
        self.clocks.first_byte = None;
        self.clocks.stall = None;
        match &mut self.phase {
            Phase::Answering(answering) => answering.response.finish(),
            Phase::Unread => {
                if trailers {
                    self.outbox.push_back(replies::trailers(Direction::Response));
                }
                self.end_if_complete();
                Ok(())
            }
            Phase::New | Phase::Uploading(_) | Phase::Deciding(_) | Phase::Asked(_) | Phase::Over => Ok(()),
        }
    }

    /// Lets the answer pass unread.
    fn answer_unread(&mut self) {
        self.phase = Phase::Unread;
        self.release_headers();
        self.end_if_complete();
    }

    /// Lets the answer's headers go, once.
    fn release_headers(&mut self) {
        if std::mem::replace(&mut self.released, true) {
            return;
        }
        let mut changes = Headers::default();
        changes.set("x-luthien-call-id", &self.books.id);
        if matches!(self.phase, Phase::Answering(_)) {
            // They speak of the provider's bytes, which may change.
            for name in ["etag", "digest", "content-md5", "repr-digest", "content-digest"] {
                changes.remove(name);
            }
        }
        self.outbox.push_back(replies::headers(Direction::Response, changes, &[("call_id", &*self.books.id)]));
    }

    /// Both directions passed unread to their ends.
    fn end_if_complete(&mut self) {
        if self.response == Half::Done {
            self.books.outcome("completed");
            // A request that is still on its way must not pass unread behind the end of this stream.
            self.over = self.request == Half::Done;
        }
    }

    /// Sends on what may leave, and sets the clocks after it.
    fn flush(&mut self) -> Result<(), Stopped> {
        let Phase::Answering(answering) = &mut self.phase else { return Ok(()) };
        let now = Instant::now();
        self.books.note(answering.response.take_facts());
        let over = answering.response.over();
        let out = answering.response.take_output();
        let holds = answering.is_stream && answering.response.is_holding();
        if let Some(stall) = &mut self.clocks.stall {
            if answering.response.is_deciding() { stall.pause() } else { stall.resume(now) }
        }
        let keepalive = now + answering.timeouts.keepalive.get();
        let running = self.clocks.keepalive.filter(|_| out.is_empty());
        self.clocks.keepalive = holds.then(|| running.unwrap_or(keepalive));
        let done = over == Some(Ok(()));
        if !out.is_empty() || done {
            self.send_body(out, done);
        }
        match over {
            Some(Err(failure)) => Err(Stopped::Failed(failure)),
            Some(Ok(())) => {
                self.finish_answer("completed");
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn send_body(&mut self, out: Vec<Bytes>, end: bool) {
        self.release_headers();
        self.outbox.extend(replies::body(Direction::Response, out, end));
    }

    fn finish_answer(&mut self, outcome: &'static str) {
        if let Phase::Answering(answering) = &self.phase {
            self.books.usage = answering.response.usage();
            if answering.response.provider_failed() {
                self.books.outcome("upstream_error");
            }
        }
        self.books.outcome(outcome);
        self.phase = Phase::Over;
        self.over = true;
    }

    /// A limit was reached, or a keepalive is due.
    fn due(&mut self) -> Result<(), Stopped> {
        let now = Instant::now();
        let due = self.clocks.due(now);
        match (due, &mut self.phase) {
            (None, _) => Ok(()),
            (Some(Due::Keepalive), Phase::Answering(answering)) => {
                self.clocks.keepalive = None;
                answering.response.keepalive();
                Ok(())
            }
            (Some(Due::Keepalive), _) => {
                self.clocks.keepalive = None;
                Ok(())
            }
            // What is decided still leaves before the client is told.
            (Some(Due::Failure(failure)), Phase::Answering(answering)) if failure.kind == FailureKind::Stalled => {
                self.clocks.stall = None;
                answering.response.cut(failure)
            }
            (Some(Due::Failure(failure)), _) => Err(Stopped::Failed(failure)),
        }
    }

    /// Accounts for what is held.
    fn account(&mut self) -> Result<(), Stopped> {
        let now = match &self.phase {
            Phase::Uploading(upload) => upload.body.len(),
            Phase::Deciding(deciding) => deciding.body.len(),
            Phase::Answering(answering) => answering.response.held(),
            Phase::New | Phase::Asked(_) | Phase::Unread | Phase::Over => 0,
        };
        let fits = self.gateway.account(self.held, now);
        self.held = now;
        if fits {
            return Ok(());
        }
        failed(
            FailureKind::Overloaded,
            "the gateway holds too much for all calls together (limits.held_total); try again",
        )
    }

    /// Ends the call, in the one way that fits where it stands.
    fn rescue(&mut self, stopped: &Stopped) -> Result<(), Status> {
        self.books.stopped(stopped);
        if let Phase::Answering(answering) = &mut self.phase {
            self.books.note(answering.response.take_facts());
            let mut out = answering.response.take_output();
            // What was decided before a failure still reaches the client. A refusal is better told as an HTTP error.
            let is_failure = matches!(stopped, Stopped::Failed(_));
            if self.released || (is_failure && !out.is_empty()) {
                match stopped {
                    Stopped::Refused(refusal) => answering.response.refuse(refusal),
                    Stopped::Failed(failure) => answering.response.fail(failure),
                }
                out.extend(answering.response.take_output());
                self.send_body(out, true);
                self.finish_answer("interrupted");
                return Ok(());
            }
        }
        if self.released {
            return Err(Status::aborted("the answer that passed unread cannot go on"));
        }
        let (status, reply) = rescue::stopped(stopped, &self.instead());
        self.books.status = status;
        self.end_with(reply);
        Ok(())
    }

    fn instead(&self) -> Instead<'_> {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Instead {
            dialect: self.dialect,
            view: &self.view,
            call: &self.books.id,
            created: since.map_or(0, |since| since.as_secs()),
        }
    }

    fn end_with(&mut self, reply: ProcessingResponse) {
        self.outbox.push_back(reply);
        self.phase = Phase::Over;
        self.over = true;
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.gateway.account(self.held, 0);
    }
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
    let kind = if details.contains("timeout") { FailureKind::FirstByteTimeout } else { FailureKind::Unreachable };
    Failure::new(kind, format!("the provider {upstream} cannot be reached, or broke off before it answered"))
}

fn failed<T>(kind: FailureKind, message: impl Into<String>) -> Result<T, Stopped> {
    Err(Stopped::Failed(Failure::new(kind, message)))
}
