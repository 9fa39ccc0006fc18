//! What an item of `output` is, and where its texts stand.

use crate::{
    json::{Kind, Value},
    model::BlockKind,
};

/// A text of an item. The parts of a message or of a reasoning have one each, every other item of a known kind has at most
/// one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    /// The part that it stands in; the item itself where there are no parts.
    pub holder: Value<'a>,
    /// A JSON string, or a JSON value whose own text it is. `None`: the part has no text.
    pub text: Option<Value<'a>>,
}

/// The block that an item is.
pub(super) fn block_kind(item: Value<'_>) -> BlockKind {
    let text = |key: &str| item.str_at(key).unwrap_or_default().into_owned();
    let kind = item.str_at("type").unwrap_or_default();
    let client = |name: &str| BlockKind::ToolCall { id: text("call_id"), name: name.to_owned() };
    match &*kind {
        "message" => BlockKind::Text,
        "reasoning" => BlockKind::Thinking,
        "function_call" | "custom_tool_call" => BlockKind::ToolCall { id: text("call_id"), name: text("name") },
        "local_shell_call" => client("local_shell"),
        "shell_call" => client("shell"),
        "computer_call" => client("computer"),
        "apply_patch_call" => client("apply_patch"),
        "tool_search_call" if item.str_at("execution").as_deref() == Some("client") => client("tool_search"),
        // Asks the client to say yes to a call: what is approved is run.
        "mcp_approval_request" => BlockKind::ToolCall { id: text("id"), name: text("name") },
        "mcp_call" => BlockKind::ServerTool { id: text("id"), name: text("name") },
        "mcp_list_tools" => BlockKind::ServerTool { id: text("id"), name: "mcp_list_tools".to_owned() },
        other => match (other.strip_suffix("_call"), other.ends_with("_output")) {
            (Some(name), _) => BlockKind::ServerTool { id: text("id"), name: name.to_owned() },
            (None, true) => BlockKind::ServerResult { answers: text("call_id") },
            (None, false) => BlockKind::Other(other.to_owned()),
        },
    }
}

/// The members that hold the text of an item without parts.
fn text_keys(kind: &str, item: Value<'_>) -> &'static [&'static str] {
    match kind {
        "tool_search_call" if item.str_at("execution").as_deref() != Some("client") => &[],
        "function_call" | "mcp_call" | "mcp_approval_request" | "tool_search_call" => &["arguments"],
        "custom_tool_call" => &["input"],
        "code_interpreter_call" => &["code"],
        "local_shell_call" | "shell_call" => &["action"],
        // Later versions of the tool give a list.
        "computer_call" => &["action", "actions"],
        "apply_patch_call" => &["operation"],
        kind if kind.ends_with("_output") => &[],
        // What a server runs.
        kind if kind.ends_with("_call") => &["arguments", "input", "code"],
        // A kind that nobody here knows may have text as well, which readers show.
        _ => &["text", "arguments", "input", "code"],
    }
}

/// The texts of an item, in the order in which they are streamed.
pub(super) fn places(item: Value<'_>) -> Vec<Place<'_>> {
    let kind = item.str_at("type").unwrap_or_default();
    match &*kind {
        "message" => item.get("content").into_iter().flat_map(Value::items).map(part).collect(),
        "reasoning" => {
            let parts = ["summary", "content"].into_iter().filter_map(|key| item.get(key));
            parts.flat_map(Value::items).map(part).collect()
        }
        kind => {
            let own = text_keys(kind, item).iter().filter_map(|key| item.some(key));
            let own = own.map(|text| Place { holder: item, text: Some(text) });
            let parts = ["summary", "content"].into_iter().filter_map(|key| item.get(key));
            own.chain(parts.flat_map(Value::items).map(part)).collect()
        }
    }
}

impl Place<'_> {
    /// Whether the text is a refusal.
    pub(super) fn refuses(&self) -> bool {
        self.holder.str_at("type").as_deref() == Some("refusal")
    }
}

/// The text of one part.
pub(super) fn part(part: Value<'_>) -> Place<'_> {
    let key = if part.str_at("type").as_deref() == Some("refusal") { "refusal" } else { "text" };
    Place { holder: part, text: part.some(key) }
}

/// Whether an item says its text as a JSON value, which comes whole and only at its end.
pub(super) fn is_value(text: Value<'_>) -> bool {
    text.kind() != Kind::String
}

/// Which items have texts that these events say, or parts of this type.
pub(super) fn says_such(item: &str, said: &str) -> bool {
    match said {
        "output_text" | "refusal" => item == "message",
        "reasoning_text" | "reasoning_summary_text" | "summary_text" => item == "reasoning",
        "function_call_arguments" => item == "function_call",
        "mcp_call_arguments" => item == "mcp_call",
        "custom_tool_call_input" => item == "custom_tool_call",
        "code_interpreter_call_code" => item == "code_interpreter_call",
        _ => true,
    }
}

/// What is known of a text event: which of an item's parts it is about, and whether it says more or repeats all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TextEvent {
    /// The member that numbers the part. `None`: the item has just one text.
    pub part: Option<&'static str>,
    /// The member that holds the text.
    pub key: &'static str,
    /// Whether it is a delta.
    pub is_delta: bool,
}

/// The text events of the protocol.
pub(super) fn text_event(kind: &str) -> Option<TextEvent> {
    let (name, step) = kind.strip_prefix("response.")?.rsplit_once('.')?;
    let (part, key) = match name {
        "output_text" | "reasoning_text" => (Some("content_index"), "text"),
        "refusal" => (Some("content_index"), "refusal"),
        "reasoning_summary_text" => (Some("summary_index"), "text"),
        "function_call_arguments" | "mcp_call_arguments" => (None, "arguments"),
        "custom_tool_call_input" => (None, "input"),
        "code_interpreter_call_code" => (None, "code"),
        _ => return None,
    };
    match step {
        "delta" => Some(TextEvent { part, key: "delta", is_delta: true }),
        "done" => Some(TextEvent { part, key, is_delta: false }),
        _ => None,
    }
}

/// The events that begin and end a part: the member that numbers it, and whether it ends.
pub(super) fn part_event(kind: &str) -> Option<(&'static str, bool)> {
    match kind {
        "response.content_part.added" => Some(("content_index", false)),
        "response.content_part.done" => Some(("content_index", true)),
        "response.reasoning_summary_part.added" => Some(("summary_index", false)),
        "response.reasoning_summary_part.done" => Some(("summary_index", true)),
        _ => None,
    }
}

/// What an event says of the response as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// It begins, waits or goes on.
    Going,
    /// It is complete, or was cut off by a limit.
    Ended,
    /// It failed.
    Failed,
}

/// The events of the response as a whole.
pub(super) fn stage(kind: &str) -> Option<Stage> {
    match kind {
        "response.created" | "response.queued" | "response.in_progress" => Some(Stage::Going),
        "response.completed" | "response.incomplete" => Some(Stage::Ended),
        "response.failed" => Some(Stage::Failed),
        _ => None,
    }
}
