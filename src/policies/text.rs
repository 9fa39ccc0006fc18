//! What policies on text share.

use std::borrow::Cow;

use crate::{
    json::{Edit, Text, literals},
    model::{BlockHead, BlockKind},
    policy::Watch,
};

/// Watches prose as it comes, and nothing else. What is of a kind that nobody here knows may be prose.
pub(super) fn prose_in_deltas(block: &BlockHead) -> Watch {
    let is_unknown = matches!(block.kind, BlockKind::Other(_));
    if block.kind.is_prose() || is_unknown { Watch::Deltas } else { Watch::Ignore }
}

/// The strings in a JSON text, decoded: keys and values.
pub(super) fn json_strings(text: &str) -> impl Iterator<Item = String> + '_ {
    literals(text).map(|range| Text::decode_raw(text.get(range).unwrap_or_default().as_bytes()).into_owned())
}

/// Applies `edit` to each string in a JSON text; everything else stays byte for byte. The text may be cut off.
///
/// A text that is no JSON object or array is one string. In one that only begins like JSON, what stands between its
/// strings is searched as well.
pub(super) fn edit_json_strings(text: &str, mut edit: impl FnMut(&str) -> Vec<Edit>) -> String {
    if !text.trim_start().starts_with(['{', '[', '"']) {
        return apply(text, &edit(text));
    }
    let is_json = is_json(text);
    let mut out = String::with_capacity(text.len());
    let mut kept = 0;
    let places = literals(text).chain(std::iter::once(text.len()..text.len()));
    for range in places {
        let gap = text.get(kept..range.start).unwrap_or_default();
        out.push_str(&if is_json { Cow::Borrowed(gap) } else { Cow::Owned(apply(gap, &edit(gap))) });
        let raw = text.get(range.clone()).unwrap_or_default();
        let string = Text::from_raw(bytes::Bytes::copy_from_slice(raw.as_bytes()));
        let edits = edit(&string.decode());
        out.push_str(&if edits.is_empty() {
            Cow::Borrowed(raw)
        } else {
            Cow::Owned(String::from_utf8_lossy(string.splice(0, false, &edits).raw()).into_owned())
        });
        kept = range.end;
    }
    out
}

/// Whether a text is JSON, or the beginning of JSON that was cut off.
fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).map_or_else(|error| error.is_eof(), |_| true)
}

/// Applies edits to a plain text.
pub(super) fn apply(text: &str, edits: &[Edit]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut kept = 0;
    for edit in edits {
        out.push_str(text.get(kept..edit.range.start).unwrap_or_default());
        out.push_str(&edit.with);
        kept = edit.range.end;
    }
    out.push_str(text.get(kept..).unwrap_or_default());
    out
}
