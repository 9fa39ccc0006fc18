//! The commands in the arguments of a tool call, and the arguments with edited commands.

use crate::json::{Edit, Kind, Patch, Span, Text, Value, quote};

use super::{super::text::apply, parse::Unreadable};

/// A command as a tool call says it.
#[derive(Debug)]
pub(super) enum Found {
    /// The arguments are no JSON, but the text of a command.
    Plain(String),
    /// A JSON string.
    Text(String, Span),
    /// A list of words, with the place of each.
    Words(Vec<String>, Vec<Span>),
}

/// What stands between the words of an edit of a list of words.
pub(super) const WORD_END: char = '\0';

/// How deep arguments are searched.
const DEPTH: usize = 16;

/// The commands in the arguments of a call: `keys` name the members that hold them.
pub(super) fn commands(arguments: &str, keys: &[String]) -> Result<Vec<Found>, Unreadable> {
    let trimmed = arguments.trim_start();
    if trimmed.is_empty() {
        return Ok(Vec::new());
    }
    if !trimmed.starts_with(['{', '[', '"']) {
        return Ok(vec![Found::Plain(arguments.to_owned())]);
    }
    let value = Value::parse(arguments.as_bytes()).map_err(|_| Unreadable::Syntax)?;
    let mut found = Vec::new();
    if value.kind() == Kind::String {
        command(value, false, &mut found);
    }
    search(value, keys, DEPTH, &mut found)?;
    Ok(found)
}

/// Members of any object within, because some tools wrap their arguments.
fn search(value: Value<'_>, keys: &[String], depth: usize, found: &mut Vec<Found>) -> Result<(), Unreadable> {
    let depth = depth.checked_sub(1).ok_or(Unreadable::Limit)?;
    for member in value.members() {
        if keys.iter().any(|key| key.eq_ignore_ascii_case(&member.key)) {
            command(member.value, member.key.ends_with('s'), found);
        }
        if matches!(member.value.kind(), Kind::Object | Kind::Array) {
            search(member.value, keys, depth, found)?;
        }
    }
    for item in value.items() {
        if matches!(item.kind(), Kind::Object | Kind::Array) {
            search(item, keys, depth, found)?;
        }
    }
    Ok(())
}

fn string(value: Value<'_>) -> Option<(String, Value<'_>)> {
    Some((value.as_str()?.into_owned(), value))
}

fn command(value: Value<'_>, is_list: bool, found: &mut Vec<Found>) {
    let plain = |(text, value): (String, Value<'_>)| Some(Found::Text(text, value.string_span()?));
    match value.kind() {
        Kind::String => found.extend(string(value).and_then(plain)),
        Kind::Array => {
            let strings: Vec<_> = value.items().filter_map(string).collect();
            // A list of one word may be a command as a whole.
            if is_list || strings.len() == 1 {
                found.extend(strings.into_iter().filter_map(plain));
            } else if !strings.is_empty() {
                let (words, values): (Vec<_>, Vec<_>) = strings.into_iter().unzip();
                found.push(Found::Words(words, values.into_iter().map(Value::span).collect()));
            }
        }
        Kind::Object | Kind::Number | Kind::Bool | Kind::Null => {}
    }
}

/// The arguments with edited commands; everything else stays byte for byte.
pub(super) fn edited(arguments: &str, edits: &[(Found, Vec<Edit>)]) -> String {
    let mut patch = Patch::default();
    for (found, edits) in edits {
        match found {
            Found::Plain(text) => return apply(text, edits),
            Found::Text(_, span) => {
                let raw = arguments.get(span.start..span.end).unwrap_or_default();
                let text = Text::from_raw(bytes::Bytes::copy_from_slice(raw.as_bytes()));
                patch.replace(*span, text.splice(0, false, edits).raw().to_vec());
            }
            Found::Words(_, spans) => {
                for edit in edits {
                    let (first, last) = (spans.get(edit.range.start), spans.get(edit.range.end.saturating_sub(1)));
                    let (Some(first), Some(last)) = (first, last) else { continue };
                    let words: Vec<_> = edit.with.split(WORD_END).map(quote).collect();
                    patch.replace(Span { start: first.start, end: last.end }, words.join(&b", "[..]));
                }
            }
        }
    }
    String::from_utf8_lossy(&patch.apply(arguments.as_bytes())).into_owned()
}
