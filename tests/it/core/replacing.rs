//! `string_replacement`: however a text is cut, nothing of a match leaves, and the result is that of the whole text.

use std::collections::BTreeMap;

use luthien::model::Dialect;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    corpus::{Name, WHOLE, assert_only_prefixes, needle, run_cut, texts},
    reader::{self, Kind, sse},
    responses,
    support::{Stream, built_in, rules, stream_of},
    validator,
};

type Pairs = Vec<(String, String)>;

/// Replaces in a whole text, the plain way.
fn replaced(text: &str, pairs: &Pairs, fold: bool) -> String {
    let lower = |text: &str| text.chars().map(|char| char.to_lowercase().collect::<String>()).collect::<Vec<_>>();
    let mut out = String::new();
    let mut rest = text;
    'places: while let Some(first) = rest.chars().next() {
        for (from, to) in pairs {
            let len: usize = rest.chars().take(from.chars().count()).map(char::len_utf8).sum();
            let matched = &rest[..len];
            if matched == from || (fold && lower(matched) == lower(from)) {
                out.push_str(&if fold { in_case_of(matched, to) } else { to.clone() });
                rest = &rest[len..];
                continue 'places;
            }
        }
        out.push(first);
        rest = &rest[first.len_utf8()..];
    }
    out
}

fn in_case_of(matched: &str, to: &str) -> String {
    let upper: Vec<bool> =
        matched.chars().filter(|char| char.is_uppercase() || char.is_lowercase()).map(char::is_uppercase).collect();
    match upper.as_slice() {
        [] => to.to_owned(),
        all if all.iter().all(|upper| *upper) => to.to_uppercase(),
        all if all.iter().all(|upper| !upper) => to.to_lowercase(),
        [true, rest @ ..] if rest.iter().all(|upper| !upper) => {
            let first = to.chars().take(1).flat_map(char::to_uppercase);
            first.chain(to.chars().skip(1).flat_map(char::to_lowercase)).collect()
        }
        _ => {
            let like = matched.chars().map(Some).chain(std::iter::repeat(None));
            let cased = |(char, like): (char, Option<char>)| match like {
                Some(like) if like.is_uppercase() => char.to_uppercase().collect(),
                Some(like) if like.is_lowercase() => char.to_lowercase().collect(),
                _ => char.to_string(),
            };
            to.chars().zip(like).map(cased).collect()
        }
    }
}

/// Replaces in every string of a JSON value.
fn replaced_in(value: Value, pairs: &Pairs, fold: bool) -> Value {
    match value {
        Value::String(text) => Value::String(replaced(&sse::joined(&text, false), pairs, fold)),
        Value::Array(items) => items.into_iter().map(|item| replaced_in(item, pairs, fold)).collect(),
        Value::Object(members) => members
            .into_iter()
            .map(|(key, value)| (replaced(&sse::joined(&key, false), pairs, fold), replaced_in(value, pairs, fold)))
            .collect(),
        other => other,
    }
}

/// All strings of a JSON value.
fn strings(value: &Value, out: &mut Vec<String>) {
    match value {
        Value::String(text) => out.push(sse::joined(text, false)),
        Value::Array(items) => items.iter().for_each(|item| strings(item, out)),
        Value::Object(members) => {
            out.extend(members.keys().cloned());
            members.values().for_each(|value| strings(value, out));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn is_prose(kind: &Kind) -> bool {
    matches!(kind, Kind::Text | Kind::Refusal)
}

/// What a block becomes. In Messages a text of which nothing is left says so, because an empty one is refused as history.
fn becomes(dialect: Dialect, kind: &Kind, text: String, pairs: &Pairs, fold: bool) -> String {
    if !is_prose(kind) {
        return text;
    }
    let after = replaced(&text, pairs, fold);
    let emptied = dialect == Dialect::AnthropicMessages && after.is_empty() && !text.is_empty();
    if emptied { "[removed by policy]".to_owned() } else { after }
}

fn check(stream: &Stream, pairs: &Pairs, fold: bool, tools: bool, cut: u64) {
    let dialect = stream.dialect;
    let what = format!("{} {pairs:?} fold {fold} tools {tools} cut {cut}", stream.name);
    let config = json!({"replacements": pairs, "match_capitalization": fold, "include_tool_calls": tools});
    let rules = rules(vec![built_in("string_replacement", &config)]);
    let before = reader::stream(dialect, &stream.body);
    let mut expected: BTreeMap<Name, String> =
        texts(dialect, &before, |kind, text| becomes(dialect, kind, text, pairs, fold));
    expected.retain(|(_, kind, _), _| matches!(kind.as_str(), "text" | "refusal"));
    let run = run_cut(dialect, &rules, &stream.body, cut);
    assert_only_prefixes(dialect, &run.out, &expected, &what);

    let out = run.out.concat();
    let known = validator::problems(dialect, &stream.body);
    let problems: Vec<_> = validator::problems(dialect, &out).into_iter().filter(|p| !known.contains(p)).collect();
    assert!(problems.is_empty(), "{what}: {problems:?}");
    let after = reader::stream(dialect, &out);
    let found = texts(dialect, &after, |_, text| text);
    for (name, expected) in &expected {
        // In a chat, a text of which nothing is left is not there at all.
        assert_eq!(found.get(name).map_or("", String::as_str), expected, "{what}: {name:?}");
    }
    let json = |text: &str| sse::json(if text.is_empty() { "null" } else { text });
    let arguments = |answer: &reader::Answer| -> Vec<String> {
        answer.texts().into_iter().filter(|(kind, _)| matches!(kind, Kind::Tool { .. })).map(|(_, text)| text).collect()
    };
    for (old, new) in arguments(&before).into_iter().zip(arguments(&after)) {
        match json(&old) {
            Some(value) if tools => {
                let new = json(&new).unwrap_or_else(|| panic!("{what}: {new} is not JSON"));
                assert_eq!(replaced_in(new, &Vec::new(), false), replaced_in(value, pairs, fold), "{what}");
            }
            Some(_) => assert_eq!(old, new, "{what}"),
            None => {}
        }
    }
}

const WITH: [&str; 6] = ["", "*", "[REDACTED]", "ä😀\"\\\n", "sk", "Mixed Case"];

/// Pieces of the stream's own texts, and what they become.
fn pairs(stream: &Stream, seeds: &[u64], fold: bool) -> Pairs {
    let mut found = Vec::new();
    for (kind, text) in reader::stream(stream.dialect, &stream.body).texts() {
        match kind {
            Kind::Text | Kind::Refusal => found.push(text),
            Kind::Tool { .. } => strings(&sse::json(&text).unwrap_or_default(), &mut found),
            _ => {}
        }
    }
    let with = |seed: u64| WITH[usize::try_from(seed % 6).unwrap()].to_owned();
    let cased = |needle: String, seed: u64| match seed % 3 {
        0 if fold => needle.to_ascii_uppercase(),
        1 if fold => needle.to_ascii_lowercase(),
        _ => needle,
    };
    seeds.iter().filter_map(|seed| Some((cased(needle(&found, *seed)?, seed / 6), with(*seed)))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn is_replacing_in_the_whole_text_and_nothing_of_a_match_leaves(
        stream: prop::sample::Index, seeds in proptest::collection::vec(any::<u64>(), 1..4), fold: bool, tools: bool, cut: u64,
    ) {
        let stream = &WHOLE[stream.index(WHOLE.len())];
        let pairs = pairs(stream, &seeds, fold);
        if !pairs.is_empty() {
            check(stream, &pairs, fold, tools, cut);
        }
    }
}

/// One text block (or message) that comes in these deltas.
fn in_deltas(dialect: Dialect, deltas: &[&str]) -> Stream {
    let mut data: Vec<String> = Vec::new();
    match dialect {
        Dialect::AnthropicMessages => {
            data.push(r#"{"type":"message_start","message":{"id":"m","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"usage":{"input_tokens":1,"output_tokens":1}}}"#.to_owned());
            data.push(
                r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#.to_owned(),
            );
            data.extend(deltas.iter().map(|delta| {
                format!(
                    r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"text_delta","text":"{delta}"}}}}"#
                )
            }));
            data.push(r#"{"type":"content_block_stop","index":0}"#.to_owned());
            data.push(
                r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":9}}"#.to_owned(),
            );
            data.push(r#"{"type":"message_stop"}"#.to_owned());
        }
        Dialect::OpenaiChat => {
            let chunk = |delta: &str, finish: &str| {
                format!(
                    r#"{{"id":"c","object":"chat.completion.chunk","choices":[{{"index":0,"delta":{delta},"finish_reason":{finish}}}]}}"#
                )
            };
            data.push(chunk(r#"{"role":"assistant","content":""}"#, "null"));
            data.extend(deltas.iter().map(|delta| chunk(&format!(r#"{{"content":"{delta}"}}"#), "null")));
            data.push(chunk("{}", "\"stop\""));
            data.push("[DONE]".to_owned());
        }
        Dialect::OpenaiResponses => {
            let text: String = deltas.concat();
            let message = responses::Made::message("msg_1", deltas, &text);
            let body = responses::stream(&[message]);
            return Stream { name: format!("{deltas:?}"), class: None, accepted: true, dialect, body };
        }
    }
    let data: Vec<&str> = data.iter().map(String::as_str).collect();
    let body = stream_of(dialect, &data);
    Stream { name: format!("{deltas:?}"), class: None, accepted: true, dialect, body }
}

/// Deltas, what is replaced by what, and whether whatever the case.
type Case = (&'static [&'static str], &'static [(&'static str, &'static str)], bool);

#[test]
fn matches_span_deltas_escapes_and_halves_of_pairs() {
    let cases: [Case; 12] = [
        (&["a sk-", "live", "-1 b"], &[("sk-live", "X")], false),
        (&["\\u0073k", "-\\u006cive"], &[("sk-live", "X")], false),
        (&["\\ud83d", "\\ude00 ok"], &[("😀", ":)")], false),
        (&["a\\ud83d", "\\ude00b\\ud83d", "c"], &[("a😀b", "-"), ("c", "")], false),
        (&["x\\ud83d"], &[("\u{fffd}", "?")], false),
        (&["one", " two", " three"], &[("one two three", "")], false),
        (&["aaa", "aab"], &[("aab", "X"), ("aa", "Y")], false),
        (&["HEL", "LO hello", " Hello hELlo"], &[("hello", "Good Bye")], true),
        (&["stra", "SSE ÉTÉ été"], &[("été", "hiver"), ("ss", "ß")], true),
        (&["key sk", "-"], &[("sk-live", "X")], false),
        (&["\\n\\\"", "quoted\\\"\\\\"], &[("\n\"q", "\"\\"), ("\\", "/")], false),
        (&["", "a", "", "b", ""], &[("ab", "")], false),
    ];
    for dialect in [Dialect::AnthropicMessages, Dialect::OpenaiChat, Dialect::OpenaiResponses] {
        for (deltas, pairs, fold) in cases {
            let pairs: Pairs = pairs.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect();
            for cut in 0..8 {
                check(&in_deltas(dialect, deltas), &pairs, fold, false, cut);
            }
        }
    }
}

#[test]
fn a_secret_in_the_escaped_input_of_a_tool_is_replaced_and_the_input_stays_json() {
    for name in ["anthropic/47-secret-in-tool-json-escapes", "openai-chat/43-secret-split-args"] {
        let stream = super::support::vector(name);
        let pairs = vec![("sk-live-ABCDEF0123".to_owned(), "a \"quoted\"\n\\ text".to_owned())];
        check(&stream, &pairs, false, true, 0);
        let rules =
            rules(vec![built_in("string_replacement", &json!({"replacements": pairs, "include_tool_calls": true}))]);
        let out = run_cut(stream.dialect, &rules, &stream.body, 1).out.concat();
        let after = reader::stream(stream.dialect, &out);
        let inputs: String = after.texts().into_iter().map(|(_, text)| text).collect();
        assert!(inputs.contains(r#"a \"quoted\"\n\\ text"#) && !inputs.contains("ABCDEF"), "{name}: {inputs}");
    }
}
