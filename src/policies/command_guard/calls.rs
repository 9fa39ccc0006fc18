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
/// What tools call the list of words behind a program.
const WORDS: [&str; 3] = ["args", "argv", "arguments"];
/// What tools call the directory in which a command runs.
const DIRECTORIES: [&str; 8] =
    ["cwd", "workdir", "working_dir", "working_directory", "workingDirectory", "dir", "directory", "dir_path"];

/// The commands in the arguments of a call, each with the directory in which it is to run, if the call says it. `keys` name
/// the members that hold commands.
pub(super) fn commands(arguments: &str, keys: &[String]) -> Result<Vec<(Found, Option<String>)>, Unreadable> {
    let trimmed = arguments.trim_start();
    if trimmed.is_empty() {
        return Ok(Vec::new());
    }
    if !trimmed.starts_with(['{', '[', '"']) {
        return Ok(vec![(Found::Plain(arguments.to_owned()), None)]);
    }
    let value = Value::parse(arguments.as_bytes()).map_err(|_| Unreadable::Syntax)?;
    let mut found = Vec::new();
    if value.kind() == Kind::String {
        found.extend(command(value, false).into_iter().map(|found| (found, None)));
    }
    search(value, keys, DEPTH, None, &mut found)?;
    Ok(found)
}

/// Members of any object within, because some tools wrap their arguments.
fn search(
    value: Value<'_>,
    keys: &[String],
    depth: usize,
    outer: Option<&str>,
    found: &mut Vec<(Found, Option<String>)>,
) -> Result<(), Unreadable> {
    let depth = depth.checked_sub(1).ok_or(Unreadable::Limit)?;
    // Of two members with one name, readers take the last.
    let last = |names: &[&str]| {
        value.members().filter(|member| names.iter().any(|name| member.key.eq_ignore_ascii_case(name))).last()
    };
    let own = last(&DIRECTORIES).and_then(|member| member.value.as_str());
    let directory = own.as_deref().or(outer);
    let words = last(&WORDS).map(|member| member.value).filter(|words| words.kind() == Kind::Array);
    for member in value.members() {
        if keys.iter().any(|key| key.eq_ignore_ascii_case(&member.key)) {
            let mut commands = command(member.value, member.key.ends_with('s'));
            if let (Some(words), Some(Found::Text(program, _))) = (words, commands.first())
                && !program.contains(char::is_whitespace)
            {
                // The program and its arguments: one command, and no shell.
                commands = list(std::iter::once(member.value).chain(words.items())).into_iter().collect();
            }
            found.extend(commands.into_iter().map(|found| (found, directory.map(str::to_owned))));
        }
        if matches!(member.value.kind(), Kind::Object | Kind::Array) {
            search(member.value, keys, depth, directory, found)?;
        }
    }
    for item in value.items() {
        if matches!(item.kind(), Kind::Object | Kind::Array) {
            search(item, keys, depth, directory, found)?;
        }
    }
    Ok(())
}

fn string(value: Value<'_>) -> Option<(String, Value<'_>)> {
    Some((value.as_str()?.into_owned(), value))
}

fn command(value: Value<'_>, is_list: bool) -> Vec<Found> {
    let plain = |value: Value<'_>| Some(Found::Text(value.as_str()?.into_owned(), value.string_span()?));
    match value.kind() {
        Kind::String => plain(value).into_iter().collect(),
        Kind::Array => {
            let strings = || value.items().filter(|item| item.kind() == Kind::String);
            // A list of one word may be a command as a whole.
            if is_list || strings().count() == 1 {
                strings().filter_map(plain).collect()
            } else {
                list(strings()).into_iter().collect()
            }
        }
        Kind::Object | Kind::Number | Kind::Bool | Kind::Null => Vec::new(),
    }
}

/// A command as a list of words.
fn list<'a>(values: impl Iterator<Item = Value<'a>>) -> Option<Found> {
    let (words, values): (Vec<_>, Vec<_>) = values.filter_map(string).unzip();
    (!words.is_empty()).then(|| Found::Words(words, values.into_iter().map(Value::span).collect()))
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
