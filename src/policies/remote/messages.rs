//! Between the words of the pipeline and those of the contract.

use crate::{
    model::{self, BlockHead, BlockId, BlockKind, CallHead, RequestText, StopReason, ToolDefinition},
    policy::{Outcome, fault},
};

use super::v1;

pub(super) fn call(call: &CallHead, policy: &str) -> v1::Call {
    let mut headers = std::collections::HashMap::new();
    for (name, value) in &call.headers {
        let joined: &mut String = headers.entry(name.clone()).or_default();
        if !joined.is_empty() {
            joined.push_str(", ");
        }
        joined.push_str(value);
    }
    v1::Call {
        id: call.id.to_string(),
        dialect: call.dialect.name().to_owned(),
        path: call.path.clone(),
        model: call.model.clone(),
        upstream: call.upstream.clone(),
        client: call.client.clone(),
        session: call.session.clone(),
        headers,
        stream: call.stream,
        policy: policy.to_owned(),
    }
}

pub(super) fn request_text(index: usize, text: &RequestText) -> v1::RequestText {
    v1::RequestText {
        index: u32::try_from(index).unwrap_or(u32::MAX),
        source: text.source().name().to_owned(),
        tool: text.tool().map(str::to_owned),
        text: text.get().into_owned(),
    }
}

pub(super) fn tool(tool: &ToolDefinition) -> v1::Tool {
    v1::Tool { name: tool.name.clone(), definition: String::from_utf8_lossy(tool.json.raw()).into_owned() }
}

pub(super) fn block_start(id: BlockId, head: &BlockHead) -> v1::BlockStart {
    let empty = model::Block { kind: head.kind.clone(), choice: head.choice, text: String::new(), complete: false };
    v1::BlockStart { block: id.0, head: Some(block(Some(id), &empty)) }
}

pub(super) fn block(id: Option<BlockId>, block: &model::Block) -> v1::Block {
    let (call, tool) = match &block.kind {
        BlockKind::ToolCall { id, name } | BlockKind::ServerTool { id, name } => (id.clone(), name.clone()),
        BlockKind::Text
        | BlockKind::Thinking
        | BlockKind::Refusal
        | BlockKind::ServerResult { .. }
        | BlockKind::Other(_) => (String::new(), String::new()),
    };
    v1::Block {
        block: id.map_or(0, |id| id.0),
        kind: block.kind.name().to_owned(),
        text: block.text.clone(),
        id: call,
        tool,
        choice: block.choice,
        complete: block.complete,
    }
}

pub(super) fn reason(reason: Option<&StopReason>) -> String {
    match reason {
        None => "",
        Some(StopReason::EndTurn) => "end_turn",
        Some(StopReason::ToolUse) => "tool_use",
        Some(StopReason::Unfinished) => "unfinished",
        Some(StopReason::Refused) => "refused",
        Some(StopReason::Failed) => "failed",
        Some(StopReason::Other(word)) => word,
    }
    .to_owned()
}

/// Blocks of a decision. `of`: the block that they stand in the place of.
pub(super) fn blocks(blocks: v1::Blocks, of: Option<&model::Block>) -> Outcome<Vec<model::Block>> {
    blocks.blocks.into_iter().map(|block| own_block(block, of)).collect()
}

fn own_block(block: v1::Block, of: Option<&model::Block>) -> Outcome<model::Block> {
    let choice = of.map_or(0, |of| of.choice);
    let kind = match (block.kind.as_str(), of) {
        ("text", _) => BlockKind::Text,
        ("tool_call", _) if block.tool.is_empty() => return Err(fault("the remote made a tool call without a tool")),
        ("tool_call", _) => {
            // What is no JSON now may be what the tool takes as it is.
            let is_free = of.is_some_and(|of| of.kind.tool_name() == Some(&block.tool) && !is_json(&of.text));
            if !is_free && !block.text.is_empty() && !is_json(&block.text) {
                return Err(fault("the remote made a tool call whose arguments are not JSON"));
            }
            let id = if block.id.is_empty() { format!("call_{}", uuid::Uuid::now_v7().simple()) } else { block.id };
            BlockKind::ToolCall { id, name: block.tool }
        }
        (kind, Some(of)) if of.kind.name() == kind => of.kind.clone(),
        _ => return Err(fault("the remote made a block of a kind that it cannot make")),
    };
    Ok(model::Block { kind, choice, text: block.text, complete: true })
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}
