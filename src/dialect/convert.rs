//! A request of one dialect as a request of another.
//!
//! A hub: each dialect has one reader into [`Conversation`] and one writer from it, none knows another. What the reader
//! or the writer has no place for is reported, or refused: see [`losses`]. `docs/conversion.md` lists every field.
//!
//! Knows nothing of the answer but what [`ConvertedTools`] says.

pub(super) mod losses;
pub(super) mod models;
pub(super) mod names;
pub(super) mod openai;
mod order;
mod returned;

use std::collections::HashSet;

use bytes::Bytes;

use crate::{
    json::{Patch, Value, quote},
    model::{
        Dialect,
        conversation::{Conversation, Lossy, ToolChoice},
    },
};

pub use losses::Inconvertible;
pub use names::ConvertedTools;
pub use returned::without_foreign_reasoning;

use super::{anthropic, openai_chat, openai_responses, request_object};
use losses::{Losses, Step};
use names::Names;

/// Where a converted request goes.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The model, as the upstream names it.
    pub model: &'a str,
    /// What is done with a field that the upstream's dialect does not have.
    pub lossy: Option<Lossy>,
}

/// A request in the upstream's dialect.
#[derive(Debug, Clone)]
pub struct ConvertedRequest {
    /// The body to send.
    pub body: Bytes,
    /// The fields that were left out, each once, as the client calls them: `messages[].cache_control`, `logprobs`.
    pub dropped: Vec<String>,
    /// The tools, to read the answer with.
    pub tools: ConvertedTools,
}

/// What a writer writes with.
pub(super) struct Writing<'a> {
    pub(super) target: Target<'a>,
    pub(super) losses: &'a mut Losses,
    pub(super) names: &'a mut Names,
}

/// Says the request `body` in the dialect `to`. Between equal dialects only the model changes.
pub fn convert_request(
    from: Dialect,
    to: Dialect,
    body: &Bytes,
    target: &Target<'_>,
) -> Result<ConvertedRequest, Inconvertible> {
    let value = request_object(body).map_err(|error| Inconvertible::Malformed(error.to_string()))?;
    if from == to {
        return Ok(renamed(body, value, target.model));
    }
    let mut losses = Losses::new(target.lossy);
    let mut conversation = read(from, body, value, &mut losses)?;
    order::results(&mut conversation.turns);
    keep_choice(&mut conversation, &mut losses);
    let longest = match to {
        Dialect::AnthropicMessages => models::Claude::of(target.model).longest_name(),
        Dialect::OpenaiChat | Dialect::OpenaiResponses => 64,
    };
    let mut names = Names::new(longest, conversation.tools.iter().map(|tool| tool.name.as_str()));
    let writing = Writing { target: *target, losses: &mut losses, names: &mut names };
    let body = write(to, &conversation, writing)?;
    Ok(ConvertedRequest { body, dropped: losses.into_dropped(), tools: names.into_tools() })
}

/// Says a request of our own.
pub(super) fn write_own(to: Dialect, conversation: &Conversation, model: &str) -> Result<Bytes, Inconvertible> {
    let mut losses = Losses::new(None);
    let mut names = Names::new(64, std::iter::empty());
    let target = Target { model, lossy: None };
    let writing = Writing { target, losses: &mut losses, names: &mut names };
    write(to, conversation, writing)
}

fn write(to: Dialect, conversation: &Conversation, writing: Writing<'_>) -> Result<Bytes, Inconvertible> {
    let body = match to {
        Dialect::AnthropicMessages => anthropic::conversation::write(conversation, writing)?,
        Dialect::OpenaiChat => openai_chat::conversation::write(conversation, writing)?,
        Dialect::OpenaiResponses => openai_responses::conversation::write(conversation, writing)?,
    };
    Ok(body.into())
}

fn read(from: Dialect, body: &Bytes, value: Value<'_>, losses: &mut Losses) -> Step<Conversation> {
    match from {
        Dialect::AnthropicMessages => anthropic::conversation::read(body, value, losses),
        Dialect::OpenaiChat => openai_chat::conversation::read(body, value, losses),
        Dialect::OpenaiResponses => openai_responses::conversation::read(body, value, losses),
    }
}

/// A choice of tools that are not there, because they were left out, is left out with them.
fn keep_choice(conversation: &mut Conversation, losses: &mut Losses) {
    let tools: HashSet<&str> = conversation.tools.iter().map(|tool| tool.name.as_str()).collect();
    let there = |name: &String| tools.contains(name.as_str());
    let Some(choice) = &mut conversation.tool_choice else { return };
    let field = choice.name;
    let (gone, some) = match &mut choice.value {
        ToolChoice::One(name) => (!there(name), !there(name)),
        ToolChoice::Allowed { names, .. } => {
            let before = names.len();
            names.retain(there);
            (names.is_empty(), names.len() < before)
        }
        ToolChoice::Auto | ToolChoice::Any | ToolChoice::None => (false, false),
    };
    if some {
        losses.note(field);
    }
    if gone {
        conversation.tool_choice = None;
    }
}

fn renamed(body: &Bytes, value: Value<'_>, model: &str) -> ConvertedRequest {
    let body = match value.get("model").filter(|old| old.as_str().as_deref() != Some(model)) {
        Some(old) => {
            let mut patch = Patch::default();
            patch.replace(old.span(), quote(model));
            patch.apply(body).into()
        }
        None => body.clone(),
    };
    ConvertedRequest { body, dropped: Vec::new(), tools: ConvertedTools::default() }
}
