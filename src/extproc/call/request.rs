//! The request's half of a call: held until it is whole, decided on, sent.

use std::{collections::HashMap, sync::Arc};

use bytes::{Bytes, BytesMut};
use envoy_types::pb::{
    envoy::service::ext_proc::v3::{HttpBody, HttpHeaders},
    google::protobuf::Struct,
};
use tokio::time::Instant;

use crate::{
    dialect,
    model::{CallHead, FailureKind},
    pipeline::{
        RequestRun, Runner, Stopped,
        clock::{Deadline, Limits},
        recorded, run_request, select,
    },
    policy::Demand,
    record::Sent,
    telemetry::trace::{HEADERS, Parent},
};

use super::{
    super::{
        bodies::Leave,
        credentials::Client,
        gateway::Upstream,
        half::Half,
        headers::{CREDENTIALS, HeaderView, entrance},
        probe::probe,
        replies::{self, Direction, Headers, Metadata},
        rescue,
        routing::request_headers,
        spans::Question,
    },
    Asked, Call, Deciding, Phase, Upload, failed, limited,
};

impl Call {
    pub(super) fn request_headers(
        &mut self,
        message: &HttpHeaders,
        attributes: &HashMap<String, Struct>,
    ) -> Result<(), Stopped> {
        let headers = HeaderView::of(message);
        let (method, path) = (headers.text(":method").to_owned(), headers.text(":path").to_owned());
        let endpoint = dialect::endpoint(&method, &path);
        self.dialect = endpoint.map_or_else(|| dialect::error_dialect(&path), |endpoint| endpoint.dialect);
        path.split('?').next().unwrap_or_default().clone_into(&mut self.books.path);
        self.books.dialect = endpoint.map(|endpoint| endpoint.dialect);
        self.books.rules.clone_from(&self.rules.hash);
        if self.above.is_empty() {
            let [above, state] = HEADERS.map(|name| headers.get(name));
            self.above = Parent::of_headers(above, state);
        }
        self.books.trace(&self.gateway.tracing, &self.above);
        if self.gateway.draining.borrow().process.is_some() {
            return failed(FailureKind::ShuttingDown, "the gateway is shutting down; try again");
        }
        if self.rules.demand == Demand::Rules {
            return failed(FailureKind::NoRules, "the gateway has no rules yet; try again later");
        }
        self.books.permit = self.gateway.admit();
        if self.books.permit.is_none() {
            let limit = self.gateway.settings.limits.calls;
            let message = format!("the gateway serves {limit} calls already (limits.calls); try again");
            return limited(FailureKind::Overloaded, "limits.calls", message);
        }
        let Some(client) = self.gateway.clients.judge(&headers) else {
            return failed(
                FailureKind::Unauthenticated,
                "the gateway does not know this key; send one of its client keys",
            );
        };
        for name in CREDENTIALS {
            // `Bearer SECRET`, `SECRET`, `name=SECRET; name=SECRET`.
            let secrets = headers.all(name).flat_map(|value| value.split([' ', ';']));
            for secret in secrets {
                self.books.hide(secret);
                if let Some((_, secret)) = secret.split_once('=') {
                    self.books.hide(secret);
                }
            }
        }
        self.books.headers = headers.public();
        if self.books.is_unrecordable {
            let message = "the gateway cannot record this call, and has to (recording.audit: required); try again";
            return limited(FailureKind::Overloaded, "recording.spool", message);
        }
        if let Client::Known { name, .. } = &client {
            self.books.client = Some(name.clone());
        }
        self.books.opened();
        let Some(endpoint) = endpoint else { return self.unread(&method, &path, &headers, &client) };
        let entrance = entrance(attributes);
        if let Some(pass) = self.nobody_reads(endpoint, &path, &entrance) {
            return self.send_unpoliced(pass, endpoint, &path, &client);
        }
        if headers.is_encoded() {
            if let Some(pass) = self.gateway.passes_unreadable(endpoint.dialect) {
                return self.send_unread(pass, None, &path, &headers, &client);
            }
            let message = "the request body is compressed; send it without content-encoding, or set `unreadable: pass`";
            return failed(FailureKind::BadRequest, message);
        }
        if endpoint.asks && !headers.says_json() && self.gateway.passes_unreadable(endpoint.dialect).is_none() {
            let message =
                "the request's content-type is not that of JSON in UTF-8; send `content-type: application/json`";
            return failed(FailureKind::BadRequest, message);
        }
        let announced = headers.content_length().unwrap_or(0);
        self.check_upload(announced)?;
        // What is announced need not come; the system gives memory only for what does.
        let body = BytesMut::with_capacity(announced);
        let limit = self.gateway.settings.timeouts.upload.get();
        self.clocks.upload = Some(Deadline::new(Limits::Upload, self.books.started(), limit));
        self.phase = Phase::Uploading(Box::new(Upload {
            endpoint,
            path,
            headers,
            entrance,
            client,
            bodies: self.base.bodies(&mut self.outbox),
            body,
            announced,
        }));
        if self.request == Half::Done {
            self.has_no_body = true;
            return self.request_end();
        }
        Ok(())
    }

    pub(super) fn request_body(&mut self, message: HttpBody) -> Result<(), Stopped> {
        let end = self.request == Half::Done;
        match &mut self.phase {
            Phase::Uploading(upload) => {
                upload.body.extend_from_slice(&message.body);
                let len = upload.body.len();
                self.check_upload(len)?;
                if end { self.request_end() } else { Ok(()) }
            }
            Phase::Unread(Some(_)) => {
                self.outbox.push_body(Direction::Request, [message.body.into()], end.then(Metadata::new));
                Ok(())
            }
            Phase::New
            | Phase::Deciding(_)
            | Phase::Asked(_)
            | Phase::Answering(_)
            | Phase::Unread(_)
            | Phase::Over => Ok(()),
        }
    }

    pub(super) fn check_upload(&self, len: usize) -> Result<(), Stopped> {
        let limit = self.gateway.settings.limits.request_body.get();
        if len <= limit {
            return Ok(());
        }
        let message = format!("the request body is larger than limits.request_body ({limit} bytes)");
        limited(FailureKind::RequestTooLarge, "limits.request_body", message)
    }

    /// No API here has trailers of requests. Let on, they would have Envoy send the body before them twice (observed with 1.40).
    pub(super) fn request_trailers() -> Result<(), Stopped> {
        failed(FailureKind::BadRequest, "the request has trailers, which this gateway does not take; send it without")
    }

    /// The request is whole: reads it and runs the request hooks.
    pub(super) fn request_end(&mut self) -> Result<(), Stopped> {
        if !matches!(self.phase, Phase::Uploading(_)) {
            return Ok(());
        }
        let Phase::Uploading(mut upload) = std::mem::replace(&mut self.phase, Phase::Over) else { return Ok(()) };
        self.clocks.upload = None;
        let body = std::mem::take(&mut upload.body).freeze();
        let read = if upload.endpoint.asks {
            dialect::request(upload.endpoint.dialect, &body)
        } else {
            Ok(dialect::retrieval(&upload.path))
        };
        let (view, request) = match read {
            Ok(read) => read,
            Err(error) => {
                let Some(pass) = self.gateway.passes_unreadable(upload.endpoint.dialect) else {
                    return failed(FailureKind::BadRequest, error.to_string());
                };
                self.send_unread(pass, Some(upload.bodies), &upload.path, &upload.headers, &upload.client)?;
                self.send_request_body(body);
                return Ok(());
            }
        };
        self.view = view;
        let gateway = Arc::clone(&self.gateway);
        self.check_state(upload.endpoint)?;
        let route = gateway.route(upload.endpoint.dialect, &self.view.model).map_err(Stopped::Failed)?;
        self.check_client(&upload.client, route.upstream)?;
        let head = Arc::new(self.head(&upload, route.upstream));
        let mut runners = select(&self.rules, &head);
        if self.rules.demand == Demand::Policy && runners.iter().all(Runner::is_shadow) {
            let message = "no policy holds for this call, and the gateway lets none through without (rules.required)";
            return failed(FailureKind::NoRules, message);
        }
        for runner in &mut runners {
            runner.measured_by(gateway.journal.metrics());
        }
        let recorded = recorded(&runners, || self.rules.record.unwrap_or_else(|| gateway.settings.recorded()));
        self.books.probe = probe(upload.endpoint, &self.view, &head.headers, &request);
        self.books.received(&head, &body, recorded, &runners);
        let run = Box::pin(run_request(runners, request, self.books.spans.request()));
        self.phase = Phase::Deciding(Box::new(Deciding { upload: *upload, body, head, run }));
        Ok(())
    }

    pub(super) fn head(&self, upload: &Upload, upstream: &Upstream) -> CallHead {
        let total = upstream.timeouts.total.get();
        let session = ["x-claude-code-session-id", "session-id", "session_id", "x-session-id"]
            .iter()
            .find_map(|name| upload.headers.get(name).map(str::to_owned));
        CallHead {
            id: Arc::clone(&self.books.about.call),
            dialect: upload.endpoint.dialect,
            path: upload.path.split_once('?').map_or(&*upload.path, |(path, _)| path).to_owned(),
            model: self.view.model.clone(),
            upstream: upstream.name.clone(),
            client: self.books.client.clone(),
            session: session.or_else(|| self.view.session.clone()),
            headers: upload.headers.public(),
            entrance: upload.entrance.clone(),
            stream: self.view.stream,
            deadline: Some(self.books.started().into_std() + total),
            trace: self.books.about.trace,
        }
    }

    /// The request hooks have decided: sends the request, or answers in place of the provider.
    pub(super) fn request_decided(&mut self, run: RequestRun) -> Result<(), Stopped> {
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
        let route = gateway.route(head.dialect, request.model()).map_err(Stopped::Failed)?;
        let upstream = route.upstream;
        self.check_client(&upload.client, upstream)?;
        self.books.upstream.clone_from(&upstream.name);
        let was = body.clone();
        let (before, body) = (body.len(), dialect::patch_request(&body, &request));
        let limit = self.gateway.settings.limits.synthetic.get();
        // Before the headers leave: what Envoy has got goes to the provider.
        if body.len() > before.saturating_add(limit) {
            let message = format!("policies make the request larger than limits.synthetic allows ({limit} bytes more)");
            return limited(FailureKind::LimitReached, "limits.synthetic", message);
        }
        let converts = route.dialect != head.dialect;
        if converts && !upload.endpoint.answers {
            self.count_tokens(&request);
            return Ok(());
        }
        let (body, tools) = self.prepare(route, &upload, request.model(), body)?;
        let path = if converts { dialect::path(route.dialect) } else { &upload.path };
        let mut changes = request_headers(route, &upload.client, path, converts.then_some(&upload.headers));
        if upload.endpoint.answers {
            let told = self.books.ask(Question {
                upstream,
                dialect: route.dialect,
                model: route.alias.unwrap_or(request.model()),
                stream: self.view.stream,
                session: head.session.as_deref(),
                body: &body,
            });
            tell_of_trace(&mut changes, &told);
        } else {
            tell_of_trace(&mut changes, &self.books.spans.pass());
        }
        self.outbox.push(replies::request_headers(&Leave::Read(upload.bodies), changes, self.books.metadata()));
        let sent = Sent {
            upstream: upstream.name.clone(),
            dialect: route.dialect.name().to_owned(),
            model: route.alias.unwrap_or(request.model()).to_owned(),
            changed: !is_same(&was, &body),
            body: None,
            dropped: self.dropped.clone(),
        };
        self.books.sent(sent, route.dialect, &body);
        self.send_request_body(body);
        let (now, timeouts) = (Instant::now(), upstream.timeouts.clone());
        let (limits, first_byte) = if self.view.stream {
            (Limits::FirstByte, timeouts.first_byte)
        } else {
            (Limits::FirstByteJson, timeouts.first_byte_json)
        };
        self.clocks.first_byte = Some(Deadline::new(limits, now, first_byte.get()));
        self.clocks.total = Some(Deadline::new(Limits::Total, now, timeouts.total.get()));
        self.phase = Phase::Asked(Box::new(Asked {
            endpoint: upload.endpoint,
            bodies: upload.bodies,
            dialect: route.dialect,
            tools,
            model: route.alias.map(|_| self.view.model.clone()),
            runners: run.runners,
            release: self.rules.release,
            timeouts,
            sent: now,
        }));
        Ok(())
    }

    /// Whoever is not known here brings a credential of its own.
    pub(super) fn check_client(&self, client: &Client, upstream: &Upstream) -> Result<(), Stopped> {
        if client.may_use(&upstream.credential, &self.gateway.clients) {
            return Ok(());
        }
        failed(FailureKind::Unauthenticated, "the gateway does not know this key; send one of its client keys")
    }

    /// Lets the whole body go on.
    fn send_request_body(&mut self, body: Bytes) {
        // A body in answer to headers that ended the request is "spurious" to Envoy, and ends the exchange.
        if !self.has_no_body {
            self.outbox.push_body(Direction::Request, [body], Some(Metadata::new()));
        }
    }
}

/// Whether two bodies say the same, which those do that stand in the same place.
fn is_same(one: &Bytes, other: &Bytes) -> bool {
    (one.as_ptr() == other.as_ptr() && one.len() == other.len()) || one == other
}

/// Tells the provider of the trace that its work is a part of. Where Envoy traces, it tells of its own span instead.
pub(super) fn tell_of_trace(changes: &mut Headers, told: &Parent) {
    let headers: Vec<_> = told.headers().collect();
    if headers.is_empty() {
        return;
    }
    for name in HEADERS {
        match headers.iter().find(|(told, _)| *told == name) {
            Some((_, value)) => changes.set(name, value),
            None => changes.remove(name),
        }
    }
}
