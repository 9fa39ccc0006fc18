//! The spans of one call: the call, and below it its request, the provider's work and its answer.

use std::time::SystemTime;

use bytes::Bytes;

use crate::{
    dialect::{self, Parameters},
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
    /// When the provider had said everything.
    ended: Option<SystemTime>,
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
    /// `clean` takes credentials out of names.
    pub(super) fn ask(&mut self, question: Question<'_>, clean: impl Fn(&str) -> String) -> Parent {
        let Question { upstream, dialect, model, stream, session, body } = question;
        self.request = Span::default();
        let model = clean(model);
        let name = if model.is_empty() { gen_ai::CHAT.to_owned() } else { format!("{} {model}", gen_ai::CHAT) };
        let mut span = self.call.parent().child(name, Kind::Client);
        if span.is_recording() {
            span.set(gen_ai::OPERATION, gen_ai::CHAT);
            span.set(gen_ai::PROVIDER, gen_ai::vendor(dialect == Dialect::AnthropicMessages));
            span.set_some(gen_ai::REQUEST_MODEL, Some(model).filter(|model| !model.is_empty()));
            span.set(attribute::UPSTREAM, upstream.name.clone());
            span.set_some(gen_ai::REQUEST_STREAM, stream.then_some(true));
            span.set_some(gen_ai::CONVERSATION, session.map(&clean));
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

    /// The provider said everything that it will.
    pub(super) fn provider_ended(&mut self) {
        self.ended.get_or_insert_with(SystemTime::now);
    }

    /// It is known what came of the question to the provider. `clean` takes credentials out of names.
    pub(super) fn answered(&mut self, said: &Said<'_>, clean: impl Fn(&str) -> String) {
        let mut span = std::mem::take(&mut self.provider);
        if !span.is_recording() {
            return;
        }
        let Said { answered, usage, first_byte, error } = said;
        span.set_some(gen_ai::TIME_TO_FIRST_CHUNK, first_byte.map(|took| took.as_secs_f64()));
        if let Some(answered) = answered {
            let told = |text: &str| Some(clean(text)).filter(|text| !text.is_empty());
            span.set_some(gen_ai::RESPONSE_ID, told(&answered.id));
            span.set_some(gen_ai::RESPONSE_MODEL, told(&answered.model));
            let is_whole = self.ended.is_some() && error.is_none();
            let reasons = answered.finish_reasons(is_whole);
            if !reasons.is_empty() {
                span.set(gen_ai::FINISH_REASONS, texts(&reasons, clean));
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
            span.failed(*error, String::new());
        }
        let finished = span.finish(self.ended.unwrap_or_else(SystemTime::now));
        self.finished = self.asked.is_some().then_some(finished);
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
    /// It did not come to its end, and why.
    pub(super) error: Option<&'static str>,
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
    let finite = |number: Option<f64>| number.filter(|number| number.is_finite());
    span.set_some(gen_ai::TEMPERATURE, finite(temperature));
    span.set_some(gen_ai::TOP_P, finite(top_p));
    span.set_some(gen_ai::TOP_K, top_k.map(count));
    span.set_some(gen_ai::FREQUENCY_PENALTY, finite(frequency_penalty));
    span.set_some(gen_ai::PRESENCE_PENALTY, finite(presence_penalty));
    span.set_some(gen_ai::SEED, seed);
    span.set_some(gen_ai::CHOICE_COUNT, choices.filter(|count| *count != 1).map(count));
    span.set_some(gen_ai::REASONING_LEVEL, reasoning.as_deref().map(&clean));
    span.set_some(gen_ai::PREVIOUS_RESPONSE, previous.as_deref().map(&clean));
    let tier = tier.as_deref().filter(|_| dialect != Dialect::AnthropicMessages);
    span.set_some(gen_ai::OPENAI_TIER, tier.map(&clean));
    if !stop.is_empty() {
        span.set(gen_ai::STOP_SEQUENCES, texts(&stop, clean));
    }
}

/// The most texts of a list that are told.
const MOST_TEXTS: usize = 16;

fn texts(texts: &[String], clean: impl Fn(&str) -> String) -> Value {
    let texts = texts.iter().take(MOST_TEXTS).map(|text| StringValue::from(clean(text)));
    Value::Array(Array::String(texts.collect()))
}

fn api(dialect: Dialect) -> Option<&'static str> {
    match dialect {
        Dialect::OpenaiChat => Some("chat_completions"),
        Dialect::OpenaiResponses => Some("responses"),
        Dialect::AnthropicMessages => None,
    }
}
