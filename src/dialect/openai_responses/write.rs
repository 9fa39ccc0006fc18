//! Responses objects and items of our own.

use bytes::Bytes;
use serde_json::json;

use crate::{
    dialect::{RequestView, WireError},
    json::{Kind, Object, Patch, Span, Value, quote},
    model::{BlockKind, Start, StopReason, Usage},
};

/// An item of our own.
#[derive(Debug, Clone)]
pub(super) struct Own {
    pub(super) id: String,
    pub(super) kind: OwnKind,
    /// Its beginning has been written.
    pub(super) announced: bool,
    /// What its provider needs to see again, sealed or its own.
    pub(super) encrypted: Option<String>,
    /// The namespace of the tool that is called.
    pub(super) namespace: Option<String>,
}

/// What items of our own there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum OwnKind {
    Message,
    Refusal,
    Reasoning,
    Function { call: String, name: String },
    Custom { call: String, name: String },
}

impl Own {
    /// The item that says a block; `custom`: its tool takes free text. `call` and `number` make its id, which no other item
    /// of a conversation may have: it comes back as history.
    pub(super) fn of(kind: &BlockKind, call: &str, number: u32, custom: bool) -> Self {
        let (prefix, kind) = match kind {
            BlockKind::ToolCall { id, name } if custom => {
                ("ctc", OwnKind::Custom { call: id.clone(), name: name.clone() })
            }
            BlockKind::ToolCall { id, name } => ("fc", OwnKind::Function { call: id.clone(), name: name.clone() }),
            BlockKind::Thinking => ("rs", OwnKind::Reasoning),
            BlockKind::Refusal => ("msg", OwnKind::Refusal),
            BlockKind::Text | BlockKind::ServerTool { .. } | BlockKind::ServerResult { .. } | BlockKind::Other(_) => {
                ("msg", OwnKind::Message)
            }
        };
        Self { id: format!("{prefix}_{call}_{number}"), kind, announced: false, encrypted: None, namespace: None }
    }

    /// The item. `text` is escaped; `None`: it only begins.
    pub(super) fn item(&self, text: Option<&[u8]>) -> Vec<u8> {
        let status = if text.is_some() { "completed" } else { "in_progress" };
        let said = text.unwrap_or_default();
        let mut out = format!(r#"{{"id":{},"type":"#, json!(self.id)).into_bytes();
        let mut push = |bytes: &[u8]| out.extend_from_slice(bytes);
        match &self.kind {
            OwnKind::Message | OwnKind::Refusal => {
                let part = if self.kind == OwnKind::Message { text_part } else { refusal_part };
                push(format!(r#""message","status":"{status}","role":"assistant","content":["#).as_bytes());
                push(&text.map(part).unwrap_or_default());
                push(b"]}");
            }
            OwnKind::Reasoning => {
                push(br#""reasoning","summary":["#);
                push(&if said.is_empty() { Vec::new() } else { summary_part(said) });
                push(b"]");
                if let Some(encrypted) = &self.encrypted {
                    push(br#","encrypted_content":"#);
                    push(&quote(encrypted));
                }
                push(b"}");
            }
            OwnKind::Function { call, name } => {
                push(format!(r#""function_call","status":"{status}","arguments":""#).as_bytes());
                push(said);
                push(self.called(call, name).as_bytes());
            }
            OwnKind::Custom { call, name } => {
                push(format!(r#""custom_tool_call","status":"{status}","input":""#).as_bytes());
                push(said);
                push(self.called(call, name).as_bytes());
            }
        }
        out
    }

    /// The end of an item that calls a tool.
    fn called(&self, call: &str, name: &str) -> String {
        let namespace = self.namespace.as_ref().map(|namespace| format!(r#","namespace":{}"#, json!(namespace)));
        format!(r#"","call_id":{},"name":{}{}}}"#, json!(call), json!(name), namespace.unwrap_or_default())
    }
}

/// A part of a message. `text` is escaped.
pub(super) fn text_part(text: &[u8]) -> Vec<u8> {
    [br#"{"type":"output_text","text":""#, text, br#"","annotations":[],"logprobs":[]}"#].concat()
}

/// A part of a message that refuses. `text` is escaped.
pub(super) fn refusal_part(text: &[u8]) -> Vec<u8> {
    [br#"{"type":"refusal","refusal":""#, text, br#""}"#].concat()
}

/// A part of a reasoning's summary. `text` is escaped.
pub(super) fn summary_part(text: &[u8]) -> Vec<u8> {
    [br#"{"type":"summary_text","text":""#, text, br#""}"#].concat()
}

pub(super) fn reasoning_part(text: &[u8]) -> Vec<u8> {
    [br#"{"type":"reasoning_text","text":""#, text, br#""}"#].concat()
}

/// The token counts.
pub(super) fn usage(usage: &Usage) -> Vec<u8> {
    if usage.is_empty() {
        return b"null".to_vec();
    }
    let (input, output) = (usage.input.unwrap_or(0), usage.output.unwrap_or(0));
    json!({
        "input_tokens": input,
        "input_tokens_details": {
            "cached_tokens": usage.cached.unwrap_or(0),
            "cache_write_tokens": usage.cache_write.unwrap_or(0),
        },
        "output_tokens": output,
        "output_tokens_details": { "reasoning_tokens": usage.reasoning.unwrap_or(0) },
        "total_tokens": input.saturating_add(output),
    })
    .to_string()
    .into_bytes()
}

/// What of a request stands in every response object that answers it, and what stands there where the request is silent.
const ECHOED: [(&str, &str); 20] = [
    ("background", "false"),
    ("instructions", "null"),
    ("max_output_tokens", "null"),
    ("max_tool_calls", "null"),
    ("metadata", "{}"),
    ("parallel_tool_calls", "true"),
    ("previous_response_id", "null"),
    ("prompt_cache_key", "null"),
    ("reasoning", r#"{"effort":null,"summary":null}"#),
    ("safety_identifier", "null"),
    ("service_tier", r#""default""#),
    ("store", "true"),
    ("temperature", "null"),
    ("text", r#"{"format":{"type":"text"}}"#),
    ("tool_choice", r#""auto""#),
    ("tools", "[]"),
    ("top_logprobs", "0"),
    ("top_p", "null"),
    ("truncation", r#""disabled""#),
    ("user", "null"),
];

/// What a response object repeats of its request.
pub(super) fn echo(request: &Object<'_>) -> Bytes {
    let said = request.members().filter(|member| ECHOED.iter().any(|(key, _)| *key == member.key));
    let said: Vec<Vec<u8>> = said.map(|member| [&quote(&member.key), &b":"[..], member.value.raw()].concat()).collect();
    [b"{", said.join(&b","[..]).as_slice(), b"}"].concat().into()
}

/// A response object of our own, as it is at the beginning.
pub(super) fn response(start: &Start, request: &RequestView) -> Vec<u8> {
    let mut out = br#"{"id":"#.to_vec();
    out.extend_from_slice(&quote(&start.id));
    out.extend_from_slice(
        format!(
            r#","object":"response","created_at":{},"status":"in_progress","error":null,"incomplete_details":null,"model":{},"output":[],"usage":null"#,
            start.created,
            json!(start.model),
        )
        .as_bytes(),
    );
    let asked = Value::parse(&request.echo).ok().filter(|asked| asked.kind() == Kind::Object);
    for (key, otherwise) in ECHOED {
        let said = asked.and_then(|asked| asked.get(key));
        out.extend_from_slice(format!(r#","{key}":"#).as_bytes());
        out.extend_from_slice(said.map_or(otherwise.as_bytes(), Value::raw));
    }
    out.push(b'}');
    out
}

/// How a response object ends.
pub(super) struct Ending<'a> {
    pub(super) status: &'static str,
    /// A JSON array.
    pub(super) output: &'a [u8],
    pub(super) usage: &'a Usage,
    /// Why it is not complete.
    pub(super) incomplete: Option<&'static str>,
    pub(super) error: Option<&'a WireError>,
}

/// The response object `head`, ended.
pub(super) fn ended(head: &[u8], ending: &Ending<'_>) -> Vec<u8> {
    let Ok(object) = Value::parse(head) else { return head.to_vec() };
    let incomplete = ending.incomplete.map_or(b"null".to_vec(), |reason| json!({"reason": reason}).to_string().into());
    let error = ending.error.map_or(b"null".to_vec(), |error| {
        json!({"code": code(&error.code), "message": error.message}).to_string().into_bytes()
    });
    let mut new = vec![
        ("status", quote(ending.status)),
        ("output", ending.output.to_vec()),
        ("incomplete_details", incomplete),
        ("error", error),
    ];
    let counts = usage(ending.usage);
    if counts != b"null" {
        new.push(("usage", counts));
    }
    with_members(object, &new)
}

/// An error by itself.
pub(super) fn error(error: &WireError) -> Vec<u8> {
    json!({"type": error.kind, "code": code(&error.code), "message": error.message, "param": null}).to_string().into()
}

/// The code in a response object, which must be one of the protocol's own. What only HTTP says in more detail is a failure
/// of the server.
fn code(code: &str) -> &str {
    match code {
        "invalid_prompt"
        | "rate_limit_exceeded"
        | "context_length_exceeded"
        | "insufficient_quota"
        | "server_is_overloaded" => code,
        "content_policy_violation" => "invalid_prompt",
        _ => "server_error",
    }
}

/// An object with these members in the place of its own, or added to them.
pub(super) fn with_members(object: Value<'_>, new: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let start = object.span().start;
    let shift = |span: Span| Span { start: span.start - start, end: span.end - start };
    let mut patch = Patch::default();
    let mut added = Vec::new();
    for (key, value) in new {
        match object.get(key) {
            Some(old) => patch.replace(shift(old.span()), value.clone()),
            None => added.push([quote(key).as_slice(), b":", value].concat()),
        }
    }
    if !added.is_empty() {
        let end = shift(object.span()).end - 1;
        let comma: &[u8] = if object.members().next().is_some() { b"," } else { b"" };
        patch.replace(Span { start: end, end }, [comma, &added.join(&b","[..])].concat());
    }
    patch.apply(object.raw())
}

/// The end of an answer in this dialect's words. `refuses`: a refusal was said, which makes it complete.
pub(super) fn ending(reason: Option<&StopReason>, refuses: bool) -> (&'static str, &'static str, Option<&'static str>) {
    match reason {
        Some(StopReason::Unfinished) => ("response.incomplete", "incomplete", Some("max_output_tokens")),
        Some(StopReason::Refused) if !refuses => ("response.incomplete", "incomplete", Some("content_filter")),
        Some(
            StopReason::EndTurn | StopReason::ToolUse | StopReason::Refused | StopReason::Failed | StopReason::Other(_),
        )
        | None => ("response.completed", "completed", None),
    }
}

/// A JSON array.
pub(super) fn array(items: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    let items: Vec<Vec<u8>> = items.collect();
    [b"[", items.join(&b","[..]).as_slice(), b"]"].concat()
}
