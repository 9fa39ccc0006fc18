//! One event of the provider's, with the numbers and the texts that are right now.

use bytes::Bytes;

use crate::{
    json::{Patch, Span, Value},
    model::{Body, Event, Extra, Piece},
};

use super::{
    items::{Stage, is_value, part, part_event, places, stage, text_event},
    ledger::{Ledger, Sent, clear, text_like},
};

/// What became of the text that a frame says first.
enum Said {
    Kept,
    New(Bytes),
    Gone,
}

/// The data of a frame, patched. `number`: its `sequence_number`, if it has one.
pub(super) fn frame(value: Value<'_>, data: &[u8], pieces: &[Piece], ledger: &Ledger, number: Option<u64>) -> Vec<u8> {
    let mut patch = Patch::default();
    if let (Some(old), Some(number)) = (value.get("sequence_number"), number) {
        patch.number(old, number);
    }
    let kind = value.str_at("type").unwrap_or_default();
    if let Some(stage) = stage(&kind) {
        let ends = stage != Stage::Going;
        if let Some(response) = value.some("response").filter(|_| ledger.changed && ends) {
            output(response, &same, ledger, &mut patch);
        }
        return patch.apply(data);
    }
    let Some(index) = value.get("output_index") else { return patch.apply(data) };
    let Some(sent) = index.as_u64().and_then(|index| ledger.came(index)) else { return patch.apply(data) };
    patch.number(index, u64::from(sent.index));
    let said = said(pieces);
    if let Some(text) = text_event(&kind) {
        if let Some(old) = value.get(text.key) {
            repeat(old, text.is_delta, &said, sent, &mut patch);
        }
        if sent.edited {
            clear(value, &same, &mut patch);
        }
    } else if let Some((_, ends)) = part_event(&kind) {
        if let Some(inner) = value.some("part") {
            if let Some(old) = part(inner).text {
                repeat(old, !ends, &said, sent, &mut patch);
            }
            if sent.edited {
                clear(inner, &same, &mut patch);
            }
        }
    } else if let Some(item) = value.some("item") {
        if kind == "response.output_item.done" {
            if sent.edited {
                patch.replace(item.span(), sent.again(item));
            }
        } else {
            begin(item, &said, pieces, &mut patch);
        }
    }
    patch.apply(data)
}

/// Patches the `output` of a response object.
pub(super) fn output(response: Value<'_>, shift: &impl Fn(Span) -> Span, ledger: &Ledger, patch: &mut Patch) {
    if let Some(output) = response.some("output") {
        patch.replace(shift(output.span()), ledger.output(output));
    }
    // What the SDKs put together from `output`: some servers write it too.
    if let Some(text) = response.some("output_text") {
        patch.replace(shift(text.span()), "null");
    }
}

/// The beginning of an item, which may say all of a call.
fn begin(item: Value<'_>, said: &Said, pieces: &[Piece], patch: &mut Patch) {
    let echo_gone = pieces.iter().any(|piece| matches!(piece.body, Body::Gone(Event::Extra(_, Extra::Echo))));
    for old in places(item).into_iter().filter_map(|place| place.text) {
        if is_value(old) {
            if echo_gone {
                patch.replace(old.span(), "null");
            }
            continue;
        }
        match said {
            Said::Kept => {}
            Said::New(text) => patch.replace(old.span(), text_like(old, text)),
            Said::Gone => patch.replace(old.span(), "\"\""),
        }
    }
}

/// Says a text anew: a delta what became of it, a repetition all that has left of its part.
fn repeat(old: Value<'_>, is_delta: bool, said: &Said, sent: &Sent, patch: &mut Patch) {
    if !is_delta {
        if sent.edited {
            let text = sent.parts.last().map(Vec::as_slice).unwrap_or_default();
            patch.replace(old.span(), text_like(old, text));
        }
        return;
    }
    match said {
        Said::Kept => {}
        Said::New(text) => patch.replace(old.span(), text_like(old, text)),
        Said::Gone => patch.replace(old.span(), "\"\""),
    }
}

fn said(pieces: &[Piece]) -> Said {
    let own = pieces.iter().filter(|piece| piece.origin.is_some());
    let mut said = own.filter_map(|piece| match &piece.body {
        Body::Kept(Event::Delta(..)) => Some(Said::Kept),
        Body::Edited(Event::Delta(_, text)) => Some(Said::New(text.raw().clone())),
        Body::Gone(Event::Delta(..)) => Some(Said::Gone),
        Body::Kept(_) | Body::Edited(_) | Body::Gone(_) => None,
    });
    said.next().unwrap_or(Said::Kept)
}

fn same(span: Span) -> Span {
    span
}
