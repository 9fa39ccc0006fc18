//! Whole Messages answers.

use bytes::Bytes;
use serde_json::json;

use crate::{
    dialect::{Encoder, RequestView, Undecodable, usage},
    json::{Patch, Text, Value, quote},
    model::{Block, BlockHead, BlockId, BlockKind, Body, Dialect, Event, Piece, Slot, Start, Stop, StopReason},
};

use super::{
    StreamEncoder, block_kind,
    decode::{start, whole_text},
    stop_reason, stop_word, text_key, write,
};

/// Slot of what belongs to the message; content block `n` is slot `n + 1`.
const MESSAGE: Slot = 0;

/// Reads a whole message as a short stream.
pub(crate) fn decode_body(body: &Bytes) -> Result<Vec<(Event, Slot)>, Undecodable> {
    let message = Value::parse(body).map_err(|error| Undecodable(format!("the answer is {error}")))?;
    if message.str_at("type").as_deref() == Some("error") {
        return Ok(vec![(Event::Error(String::new()), MESSAGE)]);
    }
    if message.str_at("type").as_deref() != Some("message") {
        return Err(Undecodable("the answer is not a message object".to_owned()));
    }
    let mut events = vec![(Event::Start(start(message)), MESSAGE)];
    for (number, block) in (0_u32..).zip(message.get("content").into_iter().flat_map(Value::items)) {
        let (id, slot, kind) = (BlockId(number), number + 1, block_kind(block));
        let text = text_key(&kind).and_then(|key| whole_text(block.get(key)?, body));
        events.push((Event::Open(id, BlockHead { kind, choice: 0, index: Some(number) }), slot));
        events.extend(text.map(|text| (Event::Delta(id, text), slot)));
        events.push((Event::Close(id), slot));
    }
    let stop = Stop {
        choice: 0,
        reason: message.get("stop_reason").and_then(stop_reason),
        usage: message.get("usage").map(|value| usage(Dialect::AnthropicMessages, value)).unwrap_or_default(),
    };
    events.push((Event::Stop(stop), MESSAGE));
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
                content
                    .extend(new.take().map(|(kind, text)| write::content_block(&kind, &text).to_string().into_bytes()));
            }
            (Body::Edited(Event::Stop(Stop { reason: Some(reason), .. })), _) => {
                if let Some(old) = message.get("stop_reason") {
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

/// A whole answer of our own.
pub(crate) fn answer(request: &RequestView, id: &str, blocks: &[Block]) -> Vec<u8> {
    let has_tool = blocks.iter().any(|block| block.kind.tool_name().is_some());
    let reason = if has_tool { StopReason::ToolUse } else { StopReason::EndTurn };
    let start = Start { id: format!("msg_{id}"), model: request.model.clone(), ..Start::default() };
    if !request.stream {
        let content: Vec<_> = blocks.iter().map(|block| write::content_block(&block.kind, &block.text)).collect();
        return write::message(&start, &json!(content), Some(&reason)).to_string().into_bytes();
    }
    let mut out = Vec::new();
    let mut encoder = StreamEncoder::default();
    encoder.write(&Event::Start(start), &mut out);
    for (number, block) in (0_u32..).zip(blocks) {
        let id = BlockId(number);
        encoder.write(&Event::Open(id, BlockHead { kind: block.kind.clone(), choice: 0, index: None }), &mut out);
        encoder.write(&Event::Delta(id, Text::new(&block.text)), &mut out);
        encoder.write(&Event::Close(id), &mut out);
    }
    encoder
        .write(&Event::Stop(Stop { choice: 0, reason: Some(reason), usage: crate::model::Usage::default() }), &mut out);
    encoder.write(&Event::End, &mut out);
    out
}
