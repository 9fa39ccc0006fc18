//! Whole Responses answers.

use bytes::Bytes;

use crate::{
    dialect::{Built, Recipient, Undecodable, Whole, carried::Carried},
    json::{Patch, Text, Value},
    model::{BlockHead, BlockId, BlockKind, Body, Event, Extra, Piece, Slot, Stop},
};

use super::{
    decode::{failure, free_text, reason, start, usage_of},
    encode::unsealed,
    items::{block_kind, places},
    ledger::Ledger,
    patch,
    said::text_of,
    write::{self, Own},
};

/// Slot of what belongs to the response; item `n` is slot `n + 1`.
const RESPONSE: Slot = 0;

/// Reads a whole response as a short stream.
pub(crate) fn decode_body(body: &Bytes) -> Result<Vec<(Event, Slot)>, Undecodable> {
    let response = Value::parse(body).map_err(|error| Undecodable(format!("the answer is {error}")))?;
    if response.some("output").is_none() && response.some("error").is_some() {
        return Ok(vec![(Event::Error(failure(response).into()), RESPONSE)]);
    }
    let status = response.str_at("status").unwrap_or_default();
    let is_waiting = matches!(&*status, "queued" | "in_progress" | "failed" | "cancelled");
    if response.some("output").is_none() && !is_waiting {
        return Err(Undecodable("the answer is not a response object".to_owned()));
    }
    let mut events = vec![(Event::Start(start(response).into()), RESPONSE)];
    let mut called = false;
    for (number, item) in (0_u32..).zip(response.get("output").into_iter().flat_map(Value::items)) {
        let (id, slot, kind) = (BlockId(number), number + 1, block_kind(item));
        called |= kind.tool_name().is_some();
        let is_thinking = kind == BlockKind::Thinking;
        events.push((Event::Open(id, BlockHead { kind, choice: 0, index: Some(number) }.into()), slot));
        events.extend(free_text(item).then_some((Event::Extra(id, Extra::FreeText), slot)));
        for (number, place) in places(item).into_iter().enumerate() {
            events.extend((number > 0).then_some((Event::Extra(id, Extra::Break), slot)));
            events.extend(place.refuses().then_some((Event::Extra(id, Extra::Refuses), slot)));
            events.extend(place.text.and_then(|text| text_of(text, body)).map(|text| (Event::Delta(id, text), slot)));
        }
        if let (true, Some(encrypted)) = (is_thinking, item.some("encrypted_content").and_then(Value::as_str)) {
            let name = item.str_at("id").unwrap_or_default().into_owned();
            let carried = Carried::Reasoning { id: name, encrypted: encrypted.into_owned() };
            events.push((Event::Extra(id, Extra::Signature(Text::new(&carried.seal()))), slot));
        }
        events.push((Event::Close(id), slot));
    }
    if status == "failed" {
        events.push((Event::Error(failure(response).into()), RESPONSE));
        return Ok(events);
    }
    let stop = Stop { reason: Some(reason(response, called)), usage: usage_of(response), ..Stop::default() };
    events.push((Event::Stop(stop.into()), RESPONSE));
    events.push((Event::End, RESPONSE));
    Ok(events)
}

/// Writes a response that was changed: items that stay keep their bytes.
pub(crate) fn patch_body(body: &Bytes, pieces: &[Piece], call: &str) -> Vec<u8> {
    let Ok(response) = Value::parse(body) else { return body.to_vec() };
    let mut ledger = Ledger::default();
    let mut made = 0;
    for piece in pieces {
        match (&piece.body, piece.origin) {
            (Body::Gone(Event::Open(id, head)), _) => ledger.drop_item(*id, head),
            (Body::Gone(Event::Delta(id, _)), _) => ledger.leave_out(*id),
            (Body::Gone(_), _) => {}
            (Body::Kept(event) | Body::Edited(event), origin) => match event {
                Event::Open(id, head) => {
                    made += u32::from(origin.is_none());
                    let own = origin.is_none().then(|| Own::of(&head.kind, call, made, false));
                    ledger.open(*id, head, own);
                }
                Event::Delta(id, text) => ledger.say(*id, text, matches!(piece.body, Body::Edited(_))),
                Event::Extra(id, Extra::Break) => ledger.next_part(*id),
                Event::Close(id) => {
                    let own =
                        ledger.get(*id).and_then(|sent| Some(sent.own.as_ref()?.item(Some(&sent.parts.concat()))));
                    if let Some(own) = own {
                        ledger.ended(*id, own);
                    }
                    ledger.close(*id);
                }
                Event::Start(_)
                | Event::Name(..)
                | Event::Extra(..)
                | Event::Stop(_)
                | Event::Usage(_)
                | Event::Error(_)
                | Event::End
                | Event::Ping
                | Event::Opaque
                | Event::Eof => {}
            },
        }
    }
    let mut patch = Patch::default();
    if ledger.changed {
        patch::output(response, &|span| span, &ledger, &mut patch);
    }
    patch.apply(body)
}

/// Writes a whole answer.
pub(crate) fn whole(recipient: &Recipient, whole: &Whole) -> Vec<u8> {
    let is_custom = |kind: &BlockKind| {
        kind.tool_name().is_some_and(|name| recipient.request.custom_tools.iter().any(|custom| custom == name))
    };
    let items = (1..).zip(whole.blocks.iter().filter(|built| built.says_anything())).map(|(number, built)| {
        let Built { block, sealed, namespace } = built;
        let custom = is_custom(&block.kind);
        let mut own = Own::of(&block.kind, &recipient.call, number, custom);
        own.encrypted = sealed.as_deref().map(unsealed);
        own.namespace.clone_from(namespace);
        let is_empty = block.text.is_empty() && block.kind.tool_name().is_some() && !custom;
        own.item(Some(Text::new(if is_empty { "{}" } else { &block.text }).raw()))
    });
    let output = write::array(items);
    let refuses = whole.blocks.iter().any(|built| built.block.kind == BlockKind::Refusal);
    let (_, status, incomplete) = write::ending(whole.reason.as_ref(), refuses);
    let ending = write::Ending { status, output: &output, usage: &whole.usage, incomplete, error: None };
    write::ended(&write::response(&recipient.start("resp_", &whole.start), &recipient.request), &ending)
}
