//! The answer's half of a call: read as it comes, sent on as it is decided.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use envoy_types::pb::{
    envoy::service::ext_proc::v3::{HttpBody, HttpHeaders},
    google::protobuf::Struct,
};
use tokio::time::Instant;

use crate::{
    config::settings::Timeouts,
    dialect::Transcript,
    model::FailureKind,
    pipeline::{Response, Setup, Stopped, clock::TimeoutMonitor},
    policy::Release,
};

use super::{
    super::{
        bodies::Bodies,
        half::Half,
        headers::{HeaderView, own_answer},
        replies::{self, Direction, Headers},
    },
    Answering, Asked, Call, Listing, Phase, failed, unix_now, unreachable,
};

/// The longest error of a provider's that is recorded where it passes unread, in bytes.
const LONGEST_ERROR: usize = 64 << 10;

impl Call {
    pub(super) fn response_headers(
        &mut self,
        message: &HttpHeaders,
        attributes: &HashMap<String, Struct>,
    ) -> Result<(), Stopped> {
        let headers = HeaderView::of(message);
        self.books.answering(headers.text(":status").parse().unwrap_or(0));
        self.forged = headers.forged();
        // Envoy answers by itself when it cannot reach the provider. Its details say so; the provider's own say this.
        if let Some(details) = own_answer(attributes) {
            return Err(Stopped::Failed(unreachable(&self.books.upstream, details)));
        }
        // A client that followed it would go on without the gateway.
        if self.books.dialect.is_some() && (300..400).contains(&self.books.status) {
            let message = "the provider answered with a redirect; set its final address as the `url` of the upstream";
            return failed(FailureKind::BadAnswer, message);
        }
        let asked = match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Asked(asked) if asked.endpoint.answers && (200..300).contains(&self.books.status) => asked,
            Phase::Asked(asked) if asked.dialect != asked.endpoint.dialect => {
                self.answer_error(&asked);
                return if self.response == Half::Done { self.response_end(false) } else { Ok(()) };
            }
            Phase::Unread(_) if self.lists_models(&headers) => {
                return if self.response == Half::Done { self.response_end(false) } else { Ok(()) };
            }
            // Errors of the provider pass in its own words, and so does what is not an answer.
            Phase::Asked(asked) => {
                self.answer_unread(Some(asked.bodies));
                return Ok(());
            }
            Phase::Unread(bodies) => {
                self.answer_unread(bodies);
                return Ok(());
            }
            // Headers come once, so that nothing else is going on.
            Phase::New | Phase::Uploading(_) | Phase::Deciding(_) | Phase::Answering(_) | Phase::Over => return Ok(()),
        };
        let media_type = headers.media_type();
        let is_stream = media_type == "text/event-stream";
        let readable = is_stream || media_type == "application/json" || media_type.ends_with("+json");
        if headers.is_encoded() || !readable {
            if asked.dialect == asked.endpoint.dialect && self.gateway.passes_unreadable(asked.dialect).is_some() {
                self.answer_unread(Some(asked.bodies));
                return Ok(());
            }
            let what = if readable { "is compressed" } else { "is neither JSON nor an event stream" };
            return failed(FailureKind::BadAnswer, format!("the provider's answer {what}, and cannot be read"));
        }
        let setup = self.setup(&asked);
        let converts = asked.dialect != asked.endpoint.dialect;
        if converts && is_stream != self.view.stream {
            return failed(FailureKind::BadAnswer, "the provider's answer is not in the form that was asked for");
        }
        let Asked { bodies, runners, timeouts, sent, .. } = *asked;
        let response = if is_stream { Response::stream(setup, runners) } else { Response::body(setup, runners) };
        self.phase = Phase::Answering(Box::new(Answering { response, bodies, timeouts, sent, is_stream, converts }));
        if self.response == Half::Done { self.response_end(false) } else { Ok(()) }
    }

    fn setup(&self, asked: &Asked) -> Setup {
        Setup {
            dialect: asked.dialect,
            client: asked.endpoint.dialect,
            request: self.view.clone(),
            call: Arc::clone(&self.books.about.call),
            created: unix_now(),
            model: asked.model.clone(),
            tools: asked.tools.clone(),
            release: asked.release,
            limits: self.gateway.response_limits(),
            record: self.books.records(),
            below: self.books.spans.response(),
        }
    }

    /// Whether this is a list of models that has to be told in another form; then it is read as one.
    fn lists_models(&mut self, headers: &HeaderView) -> bool {
        let is_list = self.books.status == 200 && headers.media_type() == "application/json" && !headers.is_encoded();
        let Some(Listing { dialects, aliases, bodies, timeouts, sent }) = self.listing.take().filter(|_| is_list)
        else {
            return false;
        };
        let (call, limits) = (Arc::clone(&self.books.about.call), self.gateway.response_limits());
        let setup = Setup { client: dialects.1, ..Setup::native(dialects.0, call, Release::Block, limits) };
        let response = Response::models(setup, aliases);
        self.phase = Answering::retold(response, bodies, timeouts, sent);
        true
    }

    /// An error of the provider's, to be told in the client's words.
    fn answer_error(&mut self, asked: &Asked) {
        self.books.outcome("upstream_error");
        let response = Response::error(self.setup(asked), self.books.status);
        let (bodies, timeouts, sent) = (asked.bodies, asked.timeouts.clone(), asked.sent);
        self.phase = Answering::retold(response, bodies, timeouts, sent);
    }

    pub(super) fn response_body(&mut self, message: HttpBody) -> Result<(), Stopped> {
        let now = Instant::now();
        let end = self.response == Half::Done;
        let chunk = Bytes::from(message.body);
        if !chunk.is_empty() {
            self.books.chunk_came();
        }
        match &mut self.phase {
            Phase::Answering(answering) => {
                if !chunk.is_empty() {
                    let (sent, limit) = (answering.sent, answering.timeouts.stall.get());
                    self.clocks.first_byte = None;
                    self.clocks.stall.get_or_insert_with(|| TimeoutMonitor::new(limit, sent, now)).keepalive(now);
                    self.books.first_byte(sent, now);
                    if answering.is_stream {
                        self.books.chunk(now);
                    }
                    answering.response.push(&chunk)?;
                }
                if end { self.response_end(false) } else { Ok(()) }
            }
            Phase::Unread(_) => {
                self.clocks.first_byte = None;
                if let Some(unread) = &mut self.unread {
                    unread.push(&chunk);
                }
                if !chunk.is_empty() {
                    self.books.chunk_left();
                }
                self.end_if_complete();
                let end = end.then(|| self.books.metadata());
                self.outbox.push_body(Direction::Response, [chunk], end);
                Ok(())
            }
            Phase::New | Phase::Uploading(_) | Phase::Deciding(_) | Phase::Asked(_) | Phase::Over => Ok(()),
        }
    }

    /// The provider's body came to its end; trailers of it are answered where the body passed unread.
    pub(super) fn response_end(&mut self, trailers: bool) -> Result<(), Stopped> {
        self.clocks.first_byte = None;
        self.clocks.stall = None;
        match &mut self.phase {
            Phase::Answering(answering) => {
                let finished = answering.response.finish();
                self.books.spans.provider_ended();
                finished
            }
            Phase::Unread(_) => {
                if trailers {
                    self.outbox.push(replies::trailers());
                }
                self.end_if_complete();
                Ok(())
            }
            Phase::New | Phase::Uploading(_) | Phase::Deciding(_) | Phase::Asked(_) | Phase::Over => Ok(()),
        }
    }

    /// Lets the answer pass unread.
    fn answer_unread(&mut self, bodies: Option<Bodies>) {
        if !(200..300).contains(&self.books.status) {
            self.books.outcome("upstream_error");
            self.unread = self.books.records().map(|_| Transcript::body(LONGEST_ERROR, false));
        }
        self.phase = Phase::Unread(bodies);
        self.release_headers();
        self.end_if_complete();
    }

    /// Lets the answer's headers go, once.
    pub(super) fn release_headers(&mut self) {
        let bodies = match &self.phase {
            Phase::Answering(answering) => Some(answering.bodies),
            Phase::Unread(bodies) => *bodies,
            // There is no answer.
            Phase::New | Phase::Uploading(_) | Phase::Deciding(_) | Phase::Asked(_) | Phase::Over => return,
        };
        if std::mem::replace(&mut self.released, true) {
            return;
        }
        let mut changes = Headers::default();
        changes.set("x-luthien-call-id", &self.books.about.call);
        // Only the gateway itself speaks under its name.
        for name in std::mem::take(&mut self.forged) {
            if name != "x-luthien-call-id" {
                changes.remove(&name);
            }
        }
        if !self.dropped.is_empty() {
            changes.set("x-luthien-dropped", &listed(&self.dropped));
        }
        if let Phase::Answering(answering) = &self.phase {
            if answering.converts {
                let media_type = if answering.is_stream { "text/event-stream" } else { "application/json" };
                changes.set("content-type", media_type);
                changes.remove("content-encoding");
                if answering.response.is_final() {
                    changes.set("x-should-retry", "false");
                }
            }
            // They speak of the provider's bytes, which may change.
            for name in ["etag", "digest", "content-md5", "repr-digest", "content-digest"] {
                changes.remove(name);
            }
        }
        self.outbox.push(replies::response_headers(bodies, changes, self.books.metadata()));
    }

    /// Both directions passed unread to their ends, or as far as they come here.
    fn end_if_complete(&mut self) {
        let Phase::Unread(bodies) = self.phase else { return };
        if self.response == Half::Done || bodies.is_none() {
            self.books.answered();
            self.books.outcome("completed");
            self.books.close(self.unread.take(), None);
            // A request that is still on its way must not pass unread behind the end of this stream.
            self.over = self.request == Half::Done || bodies.is_none();
        }
    }

    /// Sends on what may leave, and sets the clocks after it.
    pub(super) fn flush(&mut self) -> Result<(), Stopped> {
        let Phase::Answering(answering) = &mut self.phase else { return Ok(()) };
        let now = Instant::now();
        self.books.note(answering.response.take_facts());
        self.books.usage = answering.response.usage();
        let over = answering.response.over();
        self.out.extend(answering.response.take_output());
        let has_output = !self.out.is_empty();
        // A provider's own protocol has signs of life, and its silence reaches the client as it is; another's has others.
        let is_silent = answering.converts && (self.released || has_output);
        let waits = answering.is_stream && (answering.response.is_holding() || is_silent);
        if let Some(stall) = &mut self.clocks.stall {
            if answering.response.is_deciding() { stall.pause() } else { stall.resume(now) }
        }
        let keepalive = now + answering.timeouts.keepalive.get();
        let running = self.clocks.keepalive.filter(|_| !has_output);
        self.clocks.keepalive = waits.then(|| running.unwrap_or(keepalive));
        let done = over == Some(Ok(()));
        // To the client the answer is over when its dialect says so, whenever the provider ends the body.
        if done || answering.response.has_ended() {
            self.settle("completed");
        }
        if has_output || done {
            self.send_body(done);
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

    /// Sends what was taken of the answer.
    pub(super) fn send_body(&mut self, end: bool) {
        self.release_headers();
        if !self.out.is_empty() {
            self.books.chunk_left();
        }
        let end = end.then(|| self.books.metadata());
        self.outbox.push_body(Direction::Response, self.out.drain(..), end);
    }

    /// Closes the books of an answer that ends, once.
    fn settle(&mut self, outcome: &'static str) {
        if self.books.is_closed() {
            return;
        }
        let Phase::Answering(answering) = &mut self.phase else { return };
        if answering.response.provider_failed() {
            self.books.outcome("upstream_error");
        }
        if outcome == "completed" {
            self.books.spans.provider_ended();
            if self.view.state.stores {
                self.books.stored();
            }
            self.books.answered();
        }
        self.books.outcome(outcome);
        let (original, delivered) = answering.response.take_record();
        self.books.provider_is_done(Some(answering.response.answered()), answering.response.provider_failed());
        self.books.close(original, delivered);
    }

    pub(super) fn finish_answer(&mut self, outcome: &'static str) {
        self.settle(outcome);
        if let Phase::Answering(answering) = &mut self.phase {
            self.books.leave(answering.response.take_shadows(), &self.gateway.late);
        }
        self.books.append();
        self.phase = Phase::Over;
        self.over = true;
    }
}

impl Answering {
    /// The phase of an answer that is no stream, and is told in another form than the provider's.
    fn retold(response: Response, bodies: Bodies, timeouts: Timeouts, sent: Instant) -> Phase {
        Phase::Answering(Box::new(Self { response, bodies, timeouts, sent, is_stream: false, converts: true }))
    }
}

/// The longest list of names in a header, in bytes; clients and proxies refuse long headers.
const LONGEST_LIST: usize = 1000;

/// Names in one header. How many stand there no more is said behind them.
fn listed(names: &[String]) -> String {
    let mut length = 0;
    let fits = |name: &&String| {
        length += name.len() + 2;
        length <= LONGEST_LIST
    };
    let mut shown: Vec<String> = names.iter().take_while(fits).cloned().collect();
    let rest = names.len() - shown.len();
    shown.extend((rest > 0).then(|| format!("and {rest} more")));
    shown.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_in_a_header_stays_short_and_says_how_much_is_missing() {
        let names = |count: usize| (0..count).map(|number| format!("field{number:05}")).collect::<Vec<_>>();
        assert_eq!(listed(&names(2)), "field00000, field00001");
        let long = listed(&names(5000));
        assert!(long.len() < 1050 && long.ends_with(", and 4917 more"), "{long}");
    }
}
