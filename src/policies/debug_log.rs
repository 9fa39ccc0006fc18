//! `debug_log`: writes requests, blocks and ends to the log, and changes nothing.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    model::{BlockHead, CallHead, Request, Start},
    policy::{BlockText, Context, Edits, Ending, Factory, Outcome, Policy, Step, Watch},
    redact::Redactor,
    telemetry::log::ids,
};

use super::{PolicyType, build, schema};

pub(super) const TYPE: PolicyType = PolicyType {
    name: "debug_log",
    summary: "writes requests and answers to the log",
    schema: schema::<Settings>,
    timeout: None,
    build: |config, site| {
        let redactor = site.reach.redactor.clone();
        build(config, |settings: Settings| Ok(Arc::new(DebugLog { settings, redactor })))
    },
};

/// Writes requests and answers to the log. The log then holds what people and models say, without credentials whose form is
/// known: use it for debugging only.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    /// The level of the lines.
    level: Level,
    /// How many characters of each text are written.
    max_chars: usize,
}

/// Writes requests and answers to the log.
#[derive(Clone)]
struct DebugLog {
    settings: Settings,
    /// Takes credentials out. `None`: no text is written.
    redactor: Option<Arc<Redactor>>,
}

/// The level of a log line.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

impl Default for Settings {
    fn default() -> Self {
        Self { level: Level::Info, max_chars: 200 }
    }
}

/// Logs about a call, at a level that is known at run time only.
macro_rules! log {
    ($level:expr, $call:expr, $($fields:tt)*) => {{
        let CallHead { id, trace, .. } = &**$call;
        let (trace_id, span_id) = ids(*trace);
        match $level {
            Level::Trace => tracing::trace!(call_id = %id, trace_id, span_id, $($fields)*),
            Level::Debug => tracing::debug!(call_id = %id, trace_id, span_id, $($fields)*),
            Level::Info => tracing::info!(call_id = %id, trace_id, span_id, $($fields)*),
            Level::Warn => tracing::warn!(call_id = %id, trace_id, span_id, $($fields)*),
            Level::Error => tracing::error!(call_id = %id, trace_id, span_id, $($fields)*),
        }
    }};
}

/// What stands in the name of a header that may hold a secret.
const SECRET: [&str; 7] = ["auth", "cookie", "credential", "key", "password", "secret", "token"];

/// Headers as they are logged. The gateway knows the credentials of the protocols; others are known by their names.
fn shown(headers: &[(String, String)]) -> Vec<(&str, &str)> {
    let is_secret = |name: &str| SECRET.iter().any(|word| name.contains(word));
    headers.iter().map(|(name, value)| (&**name, if is_secret(name) { "[secret]" } else { &**value })).collect()
}

impl Factory for DebugLog {
    fn enforces(&self) -> bool {
        false
    }

    fn begin(&self, _call: &CallHead) -> Box<dyn Policy> {
        Box::new(self.clone())
    }
}

impl Policy for DebugLog {
    fn on_request(&mut self, cx: &mut Context<'_>, request: Request) -> Step<Request> {
        let call = cx.call();
        log!(
            self.settings.level, call, session_id = call.session, dialect = call.dialect.name(),
            model = request.model(), upstream = call.upstream, stream = request.is_stream(),
            texts = request.texts().len(), headers = ?shown(&call.headers), "request"
        );
        for text in request.texts() {
            let said = self.short(&text.get());
            log!(
                self.settings.level,
                call,
                source = text.source().name(),
                tool = text.tool(),
                text = said,
                "request text"
            );
        }
        Step::ready(request)
    }

    fn on_response_start(&mut self, cx: &mut Context<'_>, start: &Start) -> Outcome<()> {
        log!(self.settings.level, cx.call(), id = start.id, model = start.model, "response started");
        Ok(())
    }

    fn on_block_start(&mut self, cx: &mut Context<'_>, block: &BlockHead) -> Watch {
        let (kind, tool) = (block.kind.name(), block.kind.tool_name());
        log!(self.settings.level, cx.call(), kind, tool, choice = block.choice, "block started");
        Watch::Deltas
    }

    fn on_delta(&mut self, cx: &mut Context<'_>, block: &BlockText<'_>, _edits: &mut Edits) -> Outcome<usize> {
        let (kind, tool) = (block.head.kind.name(), block.head.kind.tool_name());
        let level = self.settings.level;
        if block.complete {
            let text = self.short(block.text);
            log!(level, cx.call(), kind, tool, bytes = block.text.len(), text = text, "block complete");
        } else {
            // A credential that comes in pieces could not be seen in any of them.
            let bytes = block.text.len().saturating_sub(block.decided);
            log!(level, cx.call(), kind, tool, bytes, "delta");
        }
        Ok(block.text.len())
    }

    fn on_response_end(&mut self, cx: &mut Context<'_>, ending: Ending) -> Step<Ending> {
        log!(self.settings.level, cx.call(), reason = ?ending.reason(), "response complete");
        Step::ready(ending)
    }
}

impl DebugLog {
    /// The beginning of a text, without credentials.
    fn short(&self, text: &str) -> String {
        let Some(redactor) = &self.redactor else { return String::new() };
        let text = redactor.text(text);
        match text.char_indices().nth(self.settings.max_chars) {
            Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
            None => text.into_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_whose_names_say_secret_are_not_logged() {
        let headers = [("x-goog-api-key", "hunter2"), ("x-auth-user", "hunter2"), ("x-app", "cli")];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(shown(&headers), [("x-goog-api-key", "[secret]"), ("x-auth-user", "[secret]"), ("x-app", "cli")]);
    }
}
