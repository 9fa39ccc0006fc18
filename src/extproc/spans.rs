//! The spans of one call: the call, and below it its request, the provider's work and its answer.

use std::time::SystemTime;

use bytes::Bytes;

use crate::{
    dialect::{self, Parameters},
    journal::Journal,
    model::{Dialect, Usage},
    pipeline::Answered,
    record::Untold,
    telemetry::{
        names::{attribute, span},
        trace::{
            Array, Finished, Kind, Parent, Span, StringValue, Tracing, Value, count,
            gen_ai::{self, Convention},
        },
    },
};

use super::gateway::Upstream;

/// The spans of one call.
#[derive(Default)]
pub(super) struct Spans {
    /// The call itself.
    pub(super) call: Span,
    request: Span,
    /// The provider's work, from the request that it was sent to the end of what it said.
    provider: Span,
    response: Span,
    /// The status of the provider's answer.
    status: u16,
    /// What the provider was sent, where messages stand in traces.
    asked: Option<Bytes>,
    /// The provider's work, as long as its messages are missing.
    finished: Option<Finished>,
    captures: bool,
    convention: Convention,
}

/// What a provider is asked.
#[derive(Clone, Copy)]
pub(super) struct Question<'q> {
    pub(super) upstream: &'q Upstream,
    pub(super) dialect: Dialect,
    pub(super) model: &'q str,
    pub(super) stream: bool,
    pub(super) session: Option<&'q str>,
    pub(super) body: &'q Bytes,
    /// Takes credentials out.
    pub(super) journal: &'q Journal,
}

impl Spans {
    /// The call began at this time, below what somebody else does.
    pub(super) fn open(tracing: &Tracing, above: &Parent, began: SystemTime) -> Self {
        let call = tracing.root(span::CALL, above, began);
        let request = call.parent().child_since(span::REQUEST, Kind::Internal, began);
        let (convention, captures) = (tracing.convention(), tracing.has_content());
        Self { call, request, captures, convention, ..Self::default() }
    }

    /// What the hooks of the request lie below.
    pub(super) fn request(&self) -> Parent {
        self.request.parent().clone()
    }

    /// What the hooks of the answer lie below.
    pub(super) fn response(&self) -> Parent {
        self.response.parent().clone()
    }

    /// The request is decided on, and a provider is asked. Returns what that one is told of the trace.
    pub(super) fn ask(&mut self, question: Question<'_>) -> Parent {
        let Question { upstream, dialect, model, stream, session, body, journal } = question;
        self.request = Span::default();
        let clean = |text: &str| journal.without_credentials(text).into_owned();
        let model = clean(model);
        let name = if model.is_empty() { gen_ai::CHAT.to_owned() } else { format!("{} {model}", gen_ai::CHAT) };
        let mut span = self.call.parent().child(name, Kind::Client);
        if span.is_recording() {
            span.set(gen_ai::OPERATION, gen_ai::CHAT);
            span.set(gen_ai::PROVIDER, gen_ai::vendor(dialect == Dialect::AnthropicMessages));
            span.set(gen_ai::REQUEST_MODEL, model);
            span.set(attribute::UPSTREAM, upstream.name.clone());
            span.set_some(gen_ai::REQUEST_STREAM, stream.then_some(true));
            span.set_some(gen_ai::CONVERSATION, session.map(clean));
            span.set_some(gen_ai::OPENAI_API, api(dialect));
            if let Some((host, port)) = &upstream.server {
                span.set(gen_ai::SERVER_ADDRESS, host.clone());
                span.set(gen_ai::SERVER_PORT, i64::from(*port));
            }
            self.asked = self.captures.then(|| body.clone());
            ask_for(&mut span, dialect::parameters(dialect, body), dialect, clean);
        }
        self.provider = span;
        self.provider.parent().clone()
    }

    /// A request that passes unread left for a provider.
    pub(super) fn pass(&mut self) -> Parent {
        self.request = Span::default();
        self.call.parent().clone()
    }

    /// The provider's answer began.
    pub(super) fn answering(&mut self, status: u16) {
        self.status = status;
        self.provider.set(gen_ai::HTTP_STATUS, i64::from(status));
        self.response = self.call.parent().child(span::RESPONSE, Kind::Internal);
    }

    /// The provider's work is over, or nobody waits for the rest of it. `error`: it did not come to its end.
    pub(super) fn answered(&mut self, said: &Said<'_>, error: Option<&'static str>) {
        let mut span = std::mem::take(&mut self.provider);
        if !span.is_recording() {
            return;
        }
        let Said { answered, usage, first_byte } = said;
        span.set_some(gen_ai::TIME_TO_FIRST_CHUNK, first_byte.map(|took| took.as_secs_f64()));
        if let Some(answered) = answered {
            let is_known = |text: &String| !text.is_empty();
            span.set_some(gen_ai::RESPONSE_ID, Some(answered.id.clone()).filter(is_known));
            span.set_some(gen_ai::RESPONSE_MODEL, Some(answered.model.clone()).filter(is_known));
            let reasons: Vec<StringValue> = answered.finish_reasons().into_iter().map(Into::into).collect();
            if !reasons.is_empty() {
                span.set(gen_ai::FINISH_REASONS, Value::Array(Array::String(reasons)));
            }
        }
        for (name, tokens) in [
            (gen_ai::INPUT_TOKENS, usage.input),
            (gen_ai::CACHE_READ, usage.cached),
            (self.convention.cache_write(), usage.cache_write),
            (gen_ai::OUTPUT_TOKENS, usage.output),
            (gen_ai::REASONING_TOKENS, usage.reasoning),
        ] {
            span.set_some(name, tokens.map(count));
        }
        if self.status >= 400 {
            span.failed(self.status.to_string(), String::new());
        } else if let Some(error) = error {
            span.failed(error, String::new());
        }
        self.finished = self.asked.is_some().then(|| span.finish());
    }

    /// The provider's work, whose messages are still to be told, with the request that it was sent.
    pub(super) fn untold(&mut self) -> Option<Untold> {
        Some(Untold { span: self.finished.take()?, request: self.asked.take()? })
    }

    /// Everything is over but the call's own span, which the journal writes the end of.
    pub(super) fn end(&mut self) {
        self.request = Span::default();
        self.response = Span::default();
    }
}

/// What came of the question to the provider.
pub(super) struct Said<'s> {
    /// `None`: nothing that could be read.
    pub(super) answered: Option<&'s Answered>,
    pub(super) usage: Usage,
    pub(super) first_byte: Option<std::time::Duration>,
}

fn ask_for(span: &mut Span, parameters: Parameters, dialect: Dialect, clean: impl Fn(&str) -> String) {
    let Parameters {
        max_tokens,
        temperature,
        top_p,
        top_k,
        frequency_penalty,
        presence_penalty,
        seed,
        choices,
        stop,
        reasoning,
        previous,
        tier,
    } = parameters;
    span.set_some(gen_ai::MAX_TOKENS, max_tokens.map(count));
    span.set_some(gen_ai::TEMPERATURE, temperature);
    span.set_some(gen_ai::TOP_P, top_p);
    span.set_some(gen_ai::TOP_K, top_k.map(count));
    span.set_some(gen_ai::FREQUENCY_PENALTY, frequency_penalty);
    span.set_some(gen_ai::PRESENCE_PENALTY, presence_penalty);
    span.set_some(gen_ai::SEED, seed.map(count));
    span.set_some(gen_ai::CHOICE_COUNT, choices.filter(|count| *count != 1).map(count));
    span.set_some(gen_ai::REASONING_LEVEL, reasoning.as_deref().map(&clean));
    span.set_some(gen_ai::PREVIOUS_RESPONSE, previous.as_deref().map(&clean));
    let tier = tier.as_deref().filter(|_| dialect != Dialect::AnthropicMessages);
    span.set_some(gen_ai::OPENAI_TIER, tier.map(&clean));
    if !stop.is_empty() {
        let stop = stop.iter().map(|text| clean(text).into()).collect();
        span.set(gen_ai::STOP_SEQUENCES, Value::Array(Array::String(stop)));
    }
}

fn api(dialect: Dialect) -> Option<&'static str> {
    match dialect {
        Dialect::OpenaiChat => Some("chat_completions"),
        Dialect::OpenaiResponses => Some("responses"),
        Dialect::AnthropicMessages => None,
    }
}
