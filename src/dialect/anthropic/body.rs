//! Whole Messages answers.

use bytes::Bytes;
use serde_json::json;

use crate::{
    dialect::{Built, Recipient, Undecodable, Whole, provider_error, usage},
    json::{Patch, Text, Value, quote},
    model::{Block, BlockHead, BlockId, BlockKind, Body, Dialect, Event, Extra, Piece, Slot, Start, Stop, StopReason},
};

use super::{
    block_kind,
    decode::{hidden, start, whole_text},
    encode::{unsealed, unsigned},
    explanation, stop_reason, stop_word, text_key, write,
};

/// Slot of what belongs to the message; content block `n` is slot `n + 1`.
const MESSAGE: Slot = 0;

/// Reads a whole message as a short stream.
pub(crate) fn decode_body(body: &Bytes) -> Result<Vec<(Event, Slot)>, Undecodable> {
    let message = Value::parse(body).map_err(|error| Undecodable(format!("the answer is {error}")))?;
    if message.str_at("type").as_deref() == Some("error") {
        let error = provider_error::read(message.some("error").unwrap_or(message));
        return Ok(vec![(Event::Error(error.into()), MESSAGE)]);
    }
    if message.str_at("type").as_deref() != Some("message") {
        return Err(Undecodable("the answer is not a message object".to_owned()));
    }
    let mut events = vec![(Event::Start(start(message).into()), MESSAGE)];
    for (number, block) in (0_u32..).zip(message.get("content").into_iter().flat_map(Value::items)) {
        let (id, slot, kind) = (BlockId(number), number + 1, block_kind(block));
        let text = text_key(&kind).and_then(|key| whole_text(block.get(key)?, body));
        events.push((Event::Open(id, BlockHead { kind, choice: 0, index: Some(number) }.into()), slot));
        events.extend(text.map(|text| (Event::Delta(id, text), slot)));
        events.extend(hidden(block).map(|sealed| (Event::Extra(id, Extra::Signature(sealed)), slot)));
        events.push((Event::Close(id), slot));
    }
    let stop = Stop {
        choice: 0,
        reason: message.get("stop_reason").and_then(stop_reason),
        explanation: explanation(message, body),
        usage: message.get("usage").map(|value| usage(Dialect::AnthropicMessages, value)).unwrap_or_default(),
    };
    events.push((Event::Stop(stop.into()), MESSAGE));
    events.push((Event::End, MESSAGE));
    Ok(events)
}

/// Writes a message that was changed: content blocks that stay keep their bytes.
pub(crate) fn patch_body(body: &Bytes, pieces: &[Piece]) -> Vec<u8> {
    let Ok(message) = Value::parse(body) else { return body.to_vec() };
    let blocks: Vec<Value<'_>> = message.get("content").into_iter().flat_map(Value::items).collect();
    let mut patch = Patch::default();
    let mut content: Vec<Vec<u8>> = Vec::new();
    let mut new: Option<(BlockKind, String)> = None;
    let mut stays = None;
    for piece in pieces {
        let came = piece.origin.and_then(|origin| blocks.get((origin.slot as usize).checked_sub(1)?));
        match (&piece.body, came) {
            (Body::Kept(Event::Open(id, _)), Some(block)) => {
                content.push(block.raw().to_vec());
                stays = Some(*id);
            }
            // Nothing is left of the text of a block that stays.
            (Body::Gone(Event::Delta(id, _)), Some(block)) if stays == Some(*id) => {
                if let Some(last) = content.last_mut() {
                    *last = with_text(*block, &Text::default());
                }
            }
            (Body::Edited(Event::Delta(_, text)), Some(block)) => {
                if let Some(last) = content.last_mut() {
                    *last = with_text(*block, text);
                }
            }
            (Body::Edited(Event::Open(_, head)), _) => new = Some((head.kind.clone(), String::new())),
            (Body::Edited(Event::Delta(_, text)), None) => match (&mut new, content.last_mut()) {
                (Some((_, new)), _) => new.push_str(&text.decode()),
                // Text for a block that had none.
                (None, Some(last)) => {
                    let old = last.clone();
                    if let Ok(block) = Value::parse(&old) {
                        *last = with_text(block, text);
                    }
                }
                (None, None) => {}
            },
            (Body::Edited(Event::Close(_)), None) => {
                content.extend(new.take().map(|(kind, text)| write::whole_block(&kind, &text)));
            }
            (Body::Edited(Event::Stop(stop)), _) => {
                if let (Some(reason), Some(old)) = (&stop.reason, message.get("stop_reason")) {
                    patch.replace(old.span(), quote(stop_word(reason)));
                }
            }
            _ => {}
        }
    }
    if let Some(old) = message.get("content") {
        patch.replace(old.span(), [b"[", content.join(&b","[..]).as_slice(), b"]"].concat());
    }
    patch.apply(body)
}

/// A content block with other text. Citations name places in the old text, so they go.
fn with_text(block: Value<'_>, text: &Text) -> Vec<u8> {
    let kind = block_kind(block);
    let Some(old) = text_key(&kind).and_then(|key| block.get(key)) else { return block.raw().to_vec() };
    let new = match kind {
        BlockKind::ToolCall { .. } | BlockKind::ServerTool { .. } => {
            let input = text.decode();
            if input.is_empty() {
                b"{}".to_vec()
            } else if Value::parse(input.as_bytes()).is_ok() {
                input.into_owned().into_bytes()
            } else {
                quote(&input)
            }
        }
        BlockKind::Text
        | BlockKind::Thinking
        | BlockKind::Refusal
        | BlockKind::ServerResult { .. }
        | BlockKind::Other(_) => quote(&text.decode()),
    };
    let start = block.span().start;
    let shift = |span: crate::json::Span| crate::json::Span { start: span.start - start, end: span.end - start };
    let mut patch = Patch::default();
    patch.replace(shift(old.span()), new);
    if let Some(citations) = block.some("citations") {
        patch.replace(shift(citations.span()), "null");
    }
    patch.apply(block.raw())
}

/// Writes a whole answer.
pub(crate) fn whole(recipient: &Recipient, whole: &Whole) -> Vec<u8> {
    let thinks = |kind: &BlockKind| *kind == BlockKind::Thinking && recipient.converts;
    let content: Vec<Vec<u8>> = whole
        .blocks
        .iter()
        .filter(|built| built.says_anything())
        .map(|Built { block, sealed, .. }| match sealed.as_deref().map(unsealed) {
            Some(data) if thinks(&block.kind) && block.text.is_empty() => {
                json!({"type": "redacted_thinking", "data": data}).to_string().into_bytes()
            }
            sealed if thinks(&block.kind) => {
                let signature = sealed.unwrap_or_else(unsigned);
                json!({"type": "thinking", "thinking": block.text, "signature": signature}).to_string().into_bytes()
            }
            _ => write::whole_block(&block.kind, &block.text),
        })
        .collect();
    let start = recipient.start("msg_", &whole.start);
    let message = write::message(&Start { usage: whole.usage, ..start }, &json!([]), whole.reason.as_ref()).to_string();
    let mut patch = Patch::default();
    if let Some(empty) = Value::parse(message.as_bytes()).ok().and_then(|message| message.get("content")) {
        patch.replace(empty.span(), [b"[", content.join(&b","[..]).as_slice(), b"]"].concat());
    }
    patch.apply(message.as_bytes())
}

/// Whether an answer of these blocks can be a message: arguments must be an object, unless a limit cut them off.
pub(crate) fn can_be_whole(whole: &Whole) -> bool {
    let cut = whole.reason == Some(StopReason::Unfinished);
    let can_be =
        |block: &Block| block.kind.tool_name().is_none() || block.text.is_empty() || write::is_input(&block.text);
    cut || whole.blocks.iter().all(|built| can_be(&built.block))
}
