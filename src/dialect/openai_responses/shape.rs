//! What an event or a response object must look like for a policy to judge it.
//!
//! Every text of this dialect is said several times. What is judged is the first saying, so all others must agree with it.

use crate::{
    dialect::{
        Undecodable,
        shape::{fits, member, object, unique},
    },
    json::{Kind, Value},
};

use super::{
    decode::{Item, ItemHead, StreamDecoder, differs},
    items::{Place, Stage, part, part_event, places, says_such, stage, text_event},
};

const EVENT_KEYS: [&str; 17] = [
    "type",
    "name",
    "item_id",
    "output_index",
    "content_index",
    "summary_index",
    "delta",
    "text",
    "refusal",
    "arguments",
    "input",
    "code",
    "part",
    "item",
    "response",
    "error",
    "annotation",
];
const ITEM_KEYS: [&str; 16] = [
    "type",
    "id",
    "call_id",
    "name",
    "arguments",
    "input",
    "code",
    "content",
    "summary",
    "action",
    "actions",
    "operation",
    "role",
    "execution",
    "encrypted_content",
    "output",
];

/// Checks an event of a stream. `name` is what its `event:` line says.
pub(super) fn check_event(known: &StreamDecoder, event: Value<'_>, name: Option<&[u8]>) -> Result<(), Undecodable> {
    object(event, "an event of the stream")?;
    let [kind, _, id, index, ..] = unique(event, EVENT_KEYS)?;
    let kind = fits(kind, "type", &[Kind::String])?.and_then(Value::as_str);
    if let (Some(kind), Some(name)) = (&kind, name)
        && kind.as_bytes() != name
    {
        return Err(wrong("an event's name is not its type"));
    }
    // What is not said in the data is taken from the name, as readers do.
    let kind = kind.unwrap_or_else(|| name.map(String::from_utf8_lossy).unwrap_or_default());
    let item = index.and_then(Value::as_u64).and_then(|index| known.items.get(&index));
    if let (Some(id), Some(item)) = (id.and_then(Value::as_str), item)
        && (known.named(&id).is_some_and(|named| named.block != item.block)
            || (!item.head.id.is_empty() && id != item.head.id))
    {
        return Err(wrong("an event names another item than the one at its output_index"));
    }
    if let Some(stage) = stage(&kind) {
        return check_stage(known, &kind, stage, event);
    }
    if let Some(said) = text_event(&kind) {
        let [text, name, part] = event.pick([said.key, "name", said.part.unwrap_or_default()]);
        fits(text, said.key, &[Kind::String])?;
        let Some(item) = item else { return Ok(()) };
        let says = kind.strip_prefix("response.").and_then(|name| name.rsplit_once('.')).unwrap_or_default().0;
        if !says_such(&item.head.wire, says) {
            return Err(wrong("an item says a text of another kind"));
        }
        let named = fits(name, "name", &[Kind::String])?.and_then(Value::as_str);
        if named.is_some_and(|name| item.head.kind.tool_name().is_some_and(|known| known != name)) {
            return Err(wrong("an event names another tool than its item"));
        }
        let here = said.part.map(|key| (key, part.and_then(Value::as_u64)));
        return check_part(item, here, |item, same| {
            // The whole text of the part that was said last.
            let place = Place { holder: event, text };
            said.is_delta || item.parts.last().is_none_or(|part| !same || !part.any() || part.agrees(&place))
        });
    }
    if let Some((key, ends)) = part_event(&kind) {
        let Some(inner) = member(event, "part", &[Kind::Object])? else { return Ok(()) };
        check_text_part(inner)?;
        let (Some(item), place) = (item, part(inner)) else { return Ok(()) };
        if !says_such(&item.head.wire, &inner.str_at("type").unwrap_or_default()) {
            return Err(wrong("an item has a part of another kind"));
        }
        return check_part(item, Some((key, event.get(key).and_then(Value::as_u64))), |item, same| {
            !ends || item.parts.last().is_none_or(|part| !same || !part.any() || part.agrees(&place))
        });
    }
    if let Some(inner) = member(event, "item", &[Kind::Object])? {
        check_item(inner)?;
        let head = ItemHead::of(inner);
        if item.is_none() && !head.id.is_empty() && known.named(&head.id).is_some() {
            return Err(wrong("two items have one id"));
        }
        if kind == "response.output_item.added" {
            return check_beginning(inner);
        }
        if let Some(item) = item {
            return check_end(item, inner, true);
        }
        return Ok(());
    }
    // What says a text in a form that nobody here knows, no policy has seen. Calls that come as a whole are seen at their end.
    let is_seen = item.is_some_and(Item::is_value) || kind == "error";
    let holds = |key: &&str| event.some(key).is_some_and(|value| matches!(value.kind(), Kind::String | Kind::Object));
    let says = ["delta", "text", "refusal", "arguments", "input", "code", "part", "item", "response"].iter().any(holds);
    let is_foreign = kind.is_empty() && event.some("error").is_none();
    if (says || is_foreign) && !is_seen { Err(wrong("an event of an unknown kind says a text")) } else { Ok(()) }
}

/// A part is said from its beginning to its end before the next one begins.
fn check_part(
    item: &Item,
    here: Option<(&'static str, Option<u64>)>,
    agrees: impl Fn(&Item, bool) -> bool,
) -> Result<(), Undecodable> {
    let of = |key: &str| if key == "summary_index" { &["reasoning"][..] } else { &["reasoning", "message"] };
    if here.is_some_and(|(key, _)| !of(key).contains(&item.head.wire.as_str())) {
        return Err(wrong("an item has a part that its kind cannot have"));
    }
    let same = match (item.at, here) {
        (_, Some((key, Some(number)))) if item.left.contains(&(key, number)) => {
            return Err(wrong("an item goes back to an earlier part"));
        }
        (Some(at), Some((key, Some(number)))) => at == (key, number),
        _ => true,
    };
    if agrees(item, same) { Ok(()) } else { Err(wrong(TWICE)) }
}

const TWICE: &str = "the answer says one text in two ways";

fn check_stage(known: &StreamDecoder, kind: &str, stage: Stage, event: Value<'_>) -> Result<(), Undecodable> {
    let Some(response) = member(event, "response", &[Kind::Object])? else { return Ok(()) };
    check_response(response)?;
    let output: Vec<Value<'_>> = response.get("output").into_iter().flat_map(Value::items).collect();
    if stage == Stage::Going {
        if kind == "response.created" && known.started {
            return Err(wrong("an answer begins twice"));
        }
        return if output.is_empty() { Ok(()) } else { Err(wrong("a response that goes on has output already")) };
    }
    output.iter().try_for_each(|item| check_item(*item))?;
    let mut blocks = Vec::with_capacity(output.len());
    for (item, streamed) in output.iter().zip(known.listed(&output)) {
        let Some(streamed) = streamed else {
            return Err(wrong("the end of the answer has an item that was not streamed"));
        };
        blocks.push(streamed.block);
        check_end(streamed, *item, false)?;
    }
    if stage == Stage::Ended && known.items.values().any(|item| item.open) {
        return Err(wrong("the answer ends while an item is open"));
    }
    let ascends = blocks.is_sorted_by(|before, after| before < after);
    if ascends { Ok(()) } else { Err(wrong("the end of the answer has its items twice, or in another order")) }
}

/// An item begins without its text, except for a call that comes whole.
fn check_beginning(item: Value<'_>) -> Result<(), Undecodable> {
    let places = places(item);
    let says = |place: &&Place<'_>| place.text.is_some_and(|text| text.raw() != b"\"\"");
    let mut said = places.iter().filter(says);
    if said.clone().count() > 1 || said.any(|place| place.holder.span() != item.span()) {
        return Err(wrong("an item begins with content, which belongs into parts"));
    }
    Ok(())
}

/// An item, or its repetition at the end, says what was streamed of it.
fn check_end(known: &Item, item: Value<'_>, more: bool) -> Result<(), Undecodable> {
    let head = ItemHead::of(item);
    // At the very end, some servers give other ids.
    if (more && head.id != known.head.id) || head.wire != known.head.wire || head.kind != known.head.kind {
        return Err(wrong("an item ends as another one than it began"));
    }
    if differs(&known.parts, &places(item), more) { Err(wrong(TWICE)) } else { Ok(()) }
}

/// Checks the form of an item.
fn check_item(item: Value<'_>) -> Result<(), Undecodable> {
    object(item, "an item")?;
    unique(item, ITEM_KEYS)?;
    let Some(kind) = member(item, "type", &[Kind::String])?.and_then(Value::as_str) else {
        return Err(wrong("an item has no type"));
    };
    if kind.chars().any(|char| !(char.is_ascii_lowercase() || char.is_ascii_digit() || char == '_')) {
        return Err(wrong("the type of an item is not a lower-case name"));
    }
    for key in ["id", "call_id", "name", "input", "code"] {
        member(item, key, &[Kind::String])?;
    }
    if matches!(&*kind, "function_call" | "mcp_call") {
        member(item, "arguments", &[Kind::String])?;
    }
    if item.some("action").is_some() && item.some("actions").is_some() {
        return Err(wrong("a call acts in two ways at once"));
    }
    for key in ["content", "summary"] {
        let parts = member(item, key, &[Kind::Array])?;
        for part in parts.into_iter().flat_map(Value::items) {
            check_text_part(part)?;
            if !says_such(&kind, &part.str_at("type").unwrap_or_default()) {
                return Err(wrong("an item has a part of another kind"));
            }
        }
    }
    Ok(())
}

fn check_text_part(part: Value<'_>) -> Result<(), Undecodable> {
    object(part, "a part")?;
    let [kind, text, refusal, ..] = unique(part, ["type", "text", "refusal", "annotations", "logprobs"])?;
    let kind = fits(kind, "type", &[Kind::String])?.and_then(Value::as_str).unwrap_or_default();
    let other = if kind == "refusal" { text } else { refusal };
    if other.is_some_and(|other| !other.is_null()) {
        return Err(wrong("a part is of two kinds at once"));
    }
    fits(text, "text", &[Kind::String])?;
    fits(refusal, "refusal", &[Kind::String])?;
    Ok(())
}

fn check_response(response: Value<'_>) -> Result<(), Undecodable> {
    unique(response, ["id", "output", "output_text", "status", "error", "incomplete_details"])?;
    member(response, "output", &[Kind::Array])?;
    // Some servers write what the SDKs put together from `output`.
    let Some(repeated) = member(response, "output_text", &[Kind::String])?.and_then(Value::as_str) else {
        return Ok(());
    };
    let items = response.get("output").into_iter().flat_map(Value::items);
    let texts = items.filter(|item| item.str_at("type").as_deref() == Some("message")).flat_map(places);
    let joined: String = texts.filter_map(|place| place.text?.as_str()).collect();
    if repeated.is_empty() || joined == repeated { Ok(()) } else { Err(wrong(TWICE)) }
}

/// Checks a whole response object.
pub(super) fn check_body(response: Value<'_>) -> Result<(), Undecodable> {
    object(response, "the answer")?;
    check_response(response)?;
    response.get("output").into_iter().flat_map(Value::items).try_for_each(check_item)
}

fn wrong(problem: &str) -> Undecodable {
    Undecodable(problem.to_owned())
}
