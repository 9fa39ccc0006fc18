//! Asking a judge.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{
    dialect::{self, Inconvertible},
    model::{BlockKind, Dialect, Event, StopReason, Usage},
    policies::http::Unanswered,
    telemetry::trace::{Kind, Parent, count, gen_ai},
};

use super::{Judge, question::Question};

/// What a judge answered.
#[derive(Debug, Clone)]
pub(in crate::policies) struct Said {
    /// The JSON text.
    pub(in crate::policies) json: String,
    /// The tokens that it took.
    pub(in crate::policies) usage: Usage,
}

/// Why there is no judgement. Quotes nobody.
#[derive(Debug, Clone, thiserror::Error)]
pub(in crate::policies) enum Unjudged {
    /// There is no answer.
    #[error("{0}")]
    Unanswered(#[from] Unanswered),
    /// The question cannot be said in the judge's dialect.
    #[error("the question cannot be asked: {0}")]
    Unaskable(#[from] Inconvertible),
    /// The key is no header.
    #[error("the key for `{0}` cannot be sent: it has characters that no header may have")]
    BadKey(String),
    /// Others are asked first.
    #[error("the judge `{0}` is asked as much at once as `concurrency` allows, and had no time left for this question")]
    Busy(String),
    /// What this or another question of the same words came to.
    #[error("{0}")]
    Shared(Arc<Self>),
    /// The answer is no judgement.
    #[error("the judge `{judge}` did not answer as it was asked to: {why}")]
    Malformed {
        /// Who.
        judge: String,
        /// What is wrong.
        why: &'static str,
        /// The tokens that it took all the same.
        usage: Usage,
    },
}

impl Unjudged {
    /// The tokens that it took.
    pub(in crate::policies) fn usage(&self) -> Usage {
        match self {
            Self::Malformed { usage, .. } => *usage,
            Self::Shared(error) => error.usage(),
            Self::Unanswered(_) | Self::Unaskable(_) | Self::BadKey(_) | Self::Busy(_) => Usage::default(),
        }
    }
}

impl Judge {
    /// Asks. What comes is JSON text, of whatever form.
    pub(in crate::policies) async fn ask(&self, question: &Question) -> Result<Said, Unjudged> {
        let began = Instant::now();
        let body = dialect::own_request(self.dialect, &question.conversation(self.max_tokens), &self.model)?;
        let headers = self.headers()?;
        // Half of the time is for the answer. Who waited in vain says nothing of how the judge does.
        let room = tokio::time::timeout(self.limit / 2, self.room.acquire());
        let _room = room.await.map_err(|_| Unjudged::Busy(self.name.clone()))?;
        let left = self.limit.saturating_sub(began.elapsed());
        let mut span = Parent::current().child(format!("{} {}", gen_ai::CHAT, self.model), Kind::Client);
        span.set(gen_ai::OPERATION, gen_ai::CHAT);
        span.set(gen_ai::PROVIDER, gen_ai::vendor(self.dialect == Dialect::AnthropicMessages));
        span.set(gen_ai::REQUEST_MODEL, self.model.clone());
        span.set(gen_ai::MAX_TOKENS, count(self.max_tokens));
        let asked = self.client.post(dialect::path(self.dialect), headers, body, left);
        let mut usage = Usage::default();
        let said = match span.parent().clone().around(asked).await {
            Ok(answer) => self.read(&answer, &mut usage).map_err(|why| self.malformed(why, usage)),
            Err(error) => Err(error.into()),
        };
        span.set_some(gen_ai::INPUT_TOKENS, usage.input.map(count));
        span.set_some(gen_ai::OUTPUT_TOKENS, usage.output.map(count));
        match said {
            Ok(text) => Ok(Said { json: unfenced(&text).to_owned(), usage }),
            Err(error) => {
                span.failed("judge_fault", error.to_string());
                Err(error)
            }
        }
    }

    fn headers(&self) -> Result<HeaderMap, Unjudged> {
        let mut headers = HeaderMap::new();
        headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let is_anthropic = self.dialect == Dialect::AnthropicMessages;
        if is_anthropic {
            headers.insert(HeaderName::from_static("anthropic-version"), HeaderValue::from_static("2023-06-01"));
        }
        if let Some(key) = self.client.key()? {
            let (name, value) = if is_anthropic {
                (HeaderName::from_static("x-api-key"), key)
            } else {
                (http::header::AUTHORIZATION, format!("Bearer {key}"))
            };
            let mut value =
                HeaderValue::from_str(&value).map_err(|_| Unjudged::BadKey(self.client.name().to_owned()))?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        Ok(headers)
    }

    /// The text of an answer that came to its end, or what is wrong with it.
    fn read(&self, answer: &Bytes, usage: &mut Usage) -> Result<String, &'static str> {
        dialect::check_body(self.dialect, answer).map_err(|_| "it is no answer")?;
        let events = dialect::decode_body(self.dialect, answer).map_err(|_| "it is no answer")?;
        let (mut text, mut end) = (String::new(), None);
        let (mut is_text, mut texts) = (false, 0);
        for (event, _) in events {
            if let Some(more) = event.usage() {
                usage.update(more);
            }
            match event {
                Event::Open(_, head) => {
                    is_text = head.kind == BlockKind::Text;
                    texts += u32::from(is_text);
                    if texts > 1 || head.choice > 0 {
                        return Err("it answers more than once");
                    }
                    match head.kind {
                        BlockKind::Text | BlockKind::Thinking => {}
                        BlockKind::Refusal => return Err("it refuses to judge"),
                        BlockKind::ToolCall { .. }
                        | BlockKind::ServerTool { .. }
                        | BlockKind::ServerResult { .. }
                        | BlockKind::Other(_) => return Err("it says something else than text"),
                    }
                }
                Event::Delta(_, more) if is_text => text.push_str(&more.decode()),
                Event::Stop(stop) => end = stop.reason,
                Event::Error(_) => return Err("it is an error"),
                Event::Start(_)
                | Event::Name(..)
                | Event::Delta(..)
                | Event::Extra(..)
                | Event::Close(_)
                | Event::Usage(_)
                | Event::End
                | Event::Ping
                | Event::Opaque
                | Event::Eof => {}
            }
        }
        match end {
            Some(StopReason::EndTurn) => Ok(text),
            Some(StopReason::Unfinished) => Err("it was cut off; raise `max_tokens`"),
            Some(StopReason::Refused) => Err("it refuses to judge"),
            Some(StopReason::ToolUse | StopReason::Failed | StopReason::Other(_)) | None => {
                Err("it did not come to its end")
            }
        }
    }

    pub(in crate::policies) fn malformed(&self, why: &'static str, usage: Usage) -> Unjudged {
        Unjudged::Malformed { judge: self.name.clone(), why, usage }
    }
}

/// The inside of a fence, which models like to put around JSON. Anything beside it stays, and is no JSON.
fn unfenced(text: &str) -> &str {
    let text = text.trim();
    let inner = text.strip_prefix("```json").or(text.strip_prefix("```")).and_then(|rest| rest.strip_suffix("```"));
    inner.map_or(text, str::trim)
}
