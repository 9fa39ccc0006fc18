//! Whole completions.

use bytes::Bytes;
use serde_json::{Value as Json, json};

use crate::{
    dialect::{Built, Recipient, Undecodable, Whole, event_of, provider_error, usage},
    json::{Kind, Patch, Text, Value, quote},
    model::{BlockHead, BlockId, BlockKind, Dialect, Event, Extra, Piece, Slot, Stop},
};

use super::{
    FUNCTION,
    decode::{says_error, start},
    parts::{CARRIER, Field, Part, THINKING_KEYS, What, arguments, parts, repeats, tool_body},
    stop_reason, stop_word, write,
};

/// Reads a whole completion as a short stream.
pub(crate) fn decode_body(body: &Bytes) -> Result<Vec<(Event, Slot)>, Undecodable> {
    let value = Value::parse(body).map_err(|error| Undecodable(format!("the answer is {error}")))?;
    if value.get("error").is_some_and(says_error) && value.some("choices").is_none() {
        let error = provider_error::read(value.some("error").unwrap_or(value));
        return Ok(vec![(Event::Error(error.into()), CARRIER)]);
    }
    if value.get("choices").is_none_or(|choices| choices.kind() != Kind::Array) {
        return Err(Undecodable("the answer is not a completion: it has no choices".to_owned()));
    }
    let mut events = vec![(Event::Start(start(value).into()), CARRIER)];
    let mut blocks = 0;
    for (slot, part) in (1..).zip(parts(value, "message")) {
        let Some((kind, index, text)) = part_of(part.what, body) else {
            if let What::Finish { value: reason } = part.what {
                let usage = value.some("usage").map(|value| usage(Dialect::OpenaiChat, value)).unwrap_or_default();
                events.push((
                    Event::Stop(
                        Stop { choice: part.choice, reason: stop_reason(reason), usage, ..Stop::default() }.into(),
                    ),
                    slot,
                ));
            }
            continue;
        };
        let id = BlockId(blocks);
        blocks += 1;
        events.push((Event::Open(id, BlockHead { kind, choice: part.choice, index: Some(index) }.into()), slot));
        let is_custom = matches!(part.what, What::Tool { entry, .. } if entry.some("custom").is_some());
        events.extend(is_custom.then_some((Event::Extra(id, Extra::FreeText), slot)));
        events.extend((!text.is_empty()).then_some((Event::Delta(id, text), slot)));
        events.push((Event::Close(id), slot));
    }
    events.push((Event::End, CARRIER));
    Ok(events)
}

fn part_of(what: What<'_>, body: &Bytes) -> Option<(BlockKind, u32, Text)> {
    let string = |holder: Value<'_>, key: &str| holder.str_at(key).unwrap_or_default().into_owned();
    Some(match what {
        What::Text { field, value } | What::Item { field, value, .. } => (field.kind(), 0, value.text_in(body)?),
        What::Tool { position, entry } => {
            let (call, key) = tool_body(entry)?;
            let kind = BlockKind::ToolCall { id: string(entry, "id"), name: string(call, "name") };
            let text = call.get(key).and_then(|value| arguments(value, body)).unwrap_or_default();
            (kind, u32::try_from(position).unwrap_or(FUNCTION), text)
        }
        What::Function { call } => {
            let kind = BlockKind::ToolCall { id: String::new(), name: string(call, "name") };
            let text = call.get("arguments").and_then(|value| arguments(value, body)).unwrap_or_default();
            (kind, FUNCTION, text)
        }
        What::Finish { .. } => return None,
    })
}

/// Writes a completion that was changed: what stays of each message keeps its bytes.
pub(crate) fn patch_body(body: &Bytes, pieces: &[Piece]) -> Vec<u8> {
    let Ok(value) = Value::parse(body) else { return body.to_vec() };
    let parts = parts(value, "message");
    let mut patch = Patch::default();
    for (position, choice) in value.get("choices").into_iter().flat_map(Value::items).enumerate() {
        let number = parts.iter().find(|part| part.position == position).map_or(0, |part| part.choice);
        let mine: Vec<_> = (1..).zip(&parts).filter(|(_, part)| part.position == position).collect();
        patch_choice(choice, &mine, &added(number, pieces), pieces, &mut patch);
    }
    patch.apply(body)
}

/// A block that a policy put into a message.
struct Added {
    kind: BlockKind,
    text: String,
    /// Slot of the last event of the body before it.
    behind: Slot,
}

fn added(choice: u32, pieces: &[Piece]) -> Vec<Added> {
    let mut out: Vec<(BlockId, Added)> = Vec::new();
    let mut behind = CARRIER;
    for piece in pieces {
        match (piece.origin, piece.event()) {
            (Some(origin), _) => behind = origin.slot,
            (None, Some(Event::Open(id, head))) if head.choice == choice => {
                out.push((*id, Added { kind: head.kind.clone(), text: String::new(), behind }));
            }
            (None, Some(Event::Delta(id, text))) => {
                if let Some((_, block)) = out.iter_mut().find(|(open, _)| open == id) {
                    block.text.push_str(&text.decode());
                }
            }
            (None, _) => {}
        }
    }
    out.into_iter().map(|(_, block)| block).collect()
}

fn patch_choice(choice: Value<'_>, parts: &[(Slot, &Part<'_>)], added: &[Added], pieces: &[Piece], patch: &mut Patch) {
    let Some(message) = choice.get("message") else { return };
    let mut removed: Vec<&str> = Vec::new();
    let mut gone_items = Vec::new();
    let mut content = Content { pieces: Vec::new(), changed: false };
    let mut tools: Vec<(bool, Vec<u8>)> = Vec::new();
    let mut added = added.iter().peekable();
    let mut take_added = |before: Slot, content: &mut Content, tools: &mut Vec<(bool, Vec<u8>)>| {
        while let Some(block) = added.next_if(|block| block.behind < before) {
            if let BlockKind::ToolCall { id, name } = &block.kind {
                tools.push((true, tool(id, name, &block.text)));
            } else {
                content.add(&block.text);
            }
        }
    };
    for (slot, part) in parts {
        take_added(*slot, &mut content, &mut tools);
        let left = Left::of(*slot, pieces);
        match part.what {
            What::Text { field: Field::Content, value } => content.part(value, left),
            What::Text { field, value } => match left {
                Left::Gone if field == Field::Thinking => removed.extend(THINKING_KEYS),
                Left::Gone => patch.replace(value.span(), "null"),
                Left::Edited(text) => {
                    patch.replace(value.span(), quote(&text));
                    if field == Field::Thinking {
                        removed.extend(repeats(message, value));
                    }
                }
                Left::Kept => {}
            },
            What::Item { position, value, .. } => match left {
                Left::Gone => gone_items.push(position),
                Left::Edited(text) => patch.replace(value.span(), quote(&text)),
                Left::Kept => {}
            },
            What::Tool { entry, .. } => match left {
                Left::Gone => tools.push((true, Vec::new())),
                Left::Kept => tools.push((false, entry.raw().to_vec())),
                Left::Edited(text) => tools.push((true, with_arguments(entry, &text))),
            },
            What::Function { call } => match left {
                Left::Gone => removed.push("function_call"),
                Left::Edited(text) => {
                    if let Some(arguments) = call.get("arguments") {
                        patch.replace(arguments.span(), quote(&text));
                    }
                }
                Left::Kept => {}
            },
            What::Finish { value } => {
                let edited = pieces.iter().filter_map(|piece| event_of(&piece.body)).filter(|(_, edited)| *edited);
                let mut stops = edited.filter_map(|(event, _)| event.stop()).filter(|stop| stop.choice == part.choice);
                if let Some(reason) = stops.find_map(|stop| stop.reason.as_ref()) {
                    patch.replace(value.span(), quote(stop_word(reason)));
                }
            }
        }
    }
    take_added(Slot::MAX, &mut content, &mut tools);
    content.write(message, &gone_items, patch);
    if content.changed
        && let Some(logprobs) = choice.some("logprobs")
    {
        patch.replace(logprobs.span(), "null");
    }
    write_tools(message, tools, &mut removed, patch);
    patch.remove_members(message, |member| removed.contains(&&*member.key));
}

/// What is left of a part of a message.
enum Left {
    Gone,
    Kept,
    Edited(String),
}

impl Left {
    fn of(slot: Slot, pieces: &[Piece]) -> Self {
        let mine = pieces.iter().filter(|piece| piece.origin.is_some_and(|origin| origin.slot == slot));
        let left: Vec<_> = mine.filter_map(|piece| event_of(&piece.body)).collect();
        if left.is_empty() {
            return Self::Gone;
        }
        match left.iter().find_map(|(event, edited)| Some((event.text()?, *edited))) {
            Some((_, false)) => Self::Kept,
            Some((text, true)) => Self::Edited(text.decode().into_owned()),
            // Text for a block that had none comes as an event of our own.
            None => {
                Self::Edited(left.iter().find_map(|(event, _)| late_text(event.block()?, pieces)).unwrap_or_default())
            }
        }
    }
}

fn late_text(id: BlockId, pieces: &[Piece]) -> Option<String> {
    let made = pieces.iter().filter(|piece| piece.origin.is_none()).filter_map(Piece::event);
    made.filter(|event| event.block() == Some(id)).find_map(|event| Some(event.text()?.decode().into_owned()))
}

/// The text of a message, which is one string however many blocks policies make of it.
struct Content {
    pieces: Vec<String>,
    changed: bool,
}

impl Content {
    fn add(&mut self, text: &str) {
        self.changed = true;
        self.pieces.push(text.to_owned());
    }

    fn part(&mut self, value: Value<'_>, left: Left) {
        self.changed |= !matches!(left, Left::Kept);
        self.pieces.extend(match left {
            Left::Gone => None,
            Left::Kept => value.as_str().map(std::borrow::Cow::into_owned),
            Left::Edited(text) => Some(text),
        });
    }

    fn write(&self, message: Value<'_>, gone_items: &[usize], patch: &mut Patch) {
        let Some(old) = message.get("content") else {
            if self.changed && !self.pieces.is_empty() {
                let member = [b"\"content\":", quote(&self.pieces.concat()).as_slice()].concat();
                patch.append(message, false, &member);
            }
            return;
        };
        if old.kind() == Kind::Array {
            patch.remove_items(old, |position| gone_items.contains(&position));
            if self.changed {
                let item = json!({"type": "text", "text": self.pieces.concat()}).to_string();
                patch.append(old, gone_items.len() == old.items().count(), item.as_bytes());
            }
        } else if self.changed {
            let text = self.pieces.concat();
            patch.replace(old.span(), if self.pieces.is_empty() { b"null".to_vec() } else { quote(&text) });
        }
    }
}

fn write_tools(message: Value<'_>, tools: Vec<(bool, Vec<u8>)>, removed: &mut Vec<&str>, patch: &mut Patch) {
    if !tools.iter().any(|(changed, _)| *changed) {
        return;
    }
    let left: Vec<Vec<u8>> = tools.into_iter().map(|(_, tool)| tool).filter(|tool| !tool.is_empty()).collect();
    let array = [b"[", left.join(&b","[..]).as_slice(), b"]"].concat();
    match message.get("tool_calls") {
        Some(_) if left.is_empty() => removed.push("tool_calls"),
        Some(old) => patch.replace(old.span(), array),
        None if left.is_empty() => {}
        None => patch.append(message, false, &[b"\"tool_calls\":", array.as_slice()].concat()),
    }
}

fn with_arguments(entry: Value<'_>, arguments: &str) -> Vec<u8> {
    let Some(old) = tool_body(entry).and_then(|(call, key)| call.get(key)) else { return entry.raw().to_vec() };
    let (start, span) = (entry.span().start, old.span());
    let mut patch = Patch::default();
    patch.replace(crate::json::Span { start: span.start - start, end: span.end - start }, quote(arguments));
    patch.apply(entry.raw())
}

fn tool(id: &str, name: &str, arguments: &str) -> Vec<u8> {
    tool_json(id, name, arguments).to_string().into_bytes()
}

fn tool_json(id: &str, name: &str, arguments: &str) -> Json {
    json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}})
}

/// Writes a whole answer.
pub(crate) fn whole(recipient: &Recipient, whole: &Whole) -> Vec<u8> {
    let is_custom = |name: &str| recipient.request.custom_tools.iter().any(|custom| custom == name);
    let calls: Vec<Json> = whole
        .blocks
        .iter()
        .filter_map(|Built { block, .. }| {
            let BlockKind::ToolCall { id, name } = &block.kind else { return None };
            if is_custom(name) {
                return Some(json!({"id": id, "type": "custom", "custom": {"name": name, "input": block.text}}));
            }
            Some(tool_json(id, name, if block.text.is_empty() { "{}" } else { &block.text }))
        })
        .collect();
    let joined = |wanted: &dyn Fn(&BlockKind) -> bool, between: &str| {
        let texts =
            whole.blocks.iter().map(|built| &built.block).filter(|block| wanted(&block.kind) && !block.text.is_empty());
        texts.map(|block| block.text.as_str()).collect::<Vec<_>>().join(between)
    };
    let text = joined(&|kind| *kind == BlockKind::Text, "");
    let refusal = joined(&|kind| *kind == BlockKind::Refusal, "");
    let thinking = joined(&|kind| *kind == BlockKind::Thinking, "\n\n");
    let or_null = |text: String| if text.is_empty() { Json::Null } else { Json::String(text) };
    let mut message = json!({"role": "assistant", "content": or_null(text), "refusal": or_null(refusal)});
    if let Some(message) = message.as_object_mut() {
        if !thinking.is_empty() {
            message.insert("reasoning_content".to_owned(), Json::String(thinking));
        }
        if !calls.is_empty() {
            message.insert("tool_calls".to_owned(), Json::Array(calls));
        }
    }
    let start = recipient.start("chatcmpl-", &whole.start);
    let finish = whole.reason.as_ref().map_or("stop", stop_word);
    json!({
        "id": start.id,
        "object": "chat.completion",
        "created": start.created,
        "model": start.model,
        "choices": [{"index": 0, "message": message, "finish_reason": finish, "logprobs": null}],
        "usage": write::usage_json(&whole.usage),
    })
    .to_string()
    .into_bytes()
}
