//! `blocked_content`: nothing of a match leaves, however the text is cut.

use std::collections::BTreeMap;

use luthien::{journal::Fact, model::Dialect};
use proptest::prelude::*;
use regex::Regex;
use serde_json::{Value, json};

use super::{
    corpus::{Name, WHOLE, assert_only_prefixes, names, needle, run_cut, texts},
    reader::{self, Answer, Kind, sse},
    support::{Stream, built_in, rules, vector},
    validator,
};

const MESSAGE: &str = "<<blocked>>";

/// Where the first match of a block begins.
fn first_match(kind: &Kind, text: &str, pattern: &Regex) -> Option<usize> {
    match kind {
        Kind::Text | Kind::Refusal => pattern.find(text).map(|found| found.start()),
        Kind::Tool { name, .. } => {
            let mut strings = vec![name.clone(), text.to_owned()];
            match sse::json(text) {
                Some(value) => collect(&value, &mut strings),
                // Cut off by a token limit: what stands between quotes, and what the last of them begins.
                None => strings.extend(text.split('"').skip(1).step_by(2).map(str::to_owned)),
            }
            strings.iter().any(|string| pattern.is_match(string)).then_some(0)
        }
        _ => None,
    }
}

fn collect(value: &Value, out: &mut Vec<String>) {
    match value {
        Value::String(text) => out.push(sse::joined(text, false)),
        Value::Array(items) => items.iter().for_each(|item| collect(item, out)),
        Value::Object(members) => members.iter().for_each(|(key, value)| {
            out.push(key.clone());
            collect(value, out);
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// A pattern made of a piece of the stream's texts, or of none of them.
fn pattern(stream: &Stream, seed: u64) -> Option<Regex> {
    let found: Vec<String> =
        reader::stream(stream.dialect, &stream.body).texts().into_iter().map(|(_, text)| text).collect();
    let needle = regex::escape(&needle(&found, seed / 8)?);
    let pattern = match seed % 8 {
        0 => format!(r"\b{needle}\b"),
        1 => format!("(?i){needle}"),
        2 => format!("{needle}.{{0,5}}e"),
        3 => format!("(?s){needle}.*zzz"),
        4 => format!("{needle}|never"),
        5 => format!("{needle}$"),
        6 => format!("{needle}never"),
        _ => needle,
    };
    Some(Regex::new(&pattern).unwrap())
}

fn answer_of(stream: &Stream) -> Answer {
    reader::stream(stream.dialect, &stream.body)
}

fn check_refuse(stream: &Stream, pattern: &Regex, cut: u64) {
    let (dialect, before) = (stream.dialect, answer_of(stream));
    let what = format!("{} refuse {pattern} cut {cut}", stream.name);
    let config = json!({"patterns": [pattern.as_str()], "message": MESSAGE, "on_match": "refuse"});
    let run = run_cut(dialect, &rules(vec![built_in("blocked_content", &config)]), &stream.body, cut);
    let out = run.out.concat();
    let blocks = before.texts();
    let matched: Vec<_> = blocks.iter().map(|(kind, text)| first_match(kind, text, pattern)).collect();
    if matched.iter().all(Option::is_none) {
        assert!(out == stream.body, "{what}: nothing matches, and bytes changed");
        return;
    }
    assert!(run.facts.iter().any(|fact| matches!(fact, Fact::Decided { decision: "refuse", .. })), "{what}");
    // Up to its first match, each text may have left; of a tool call nothing.
    let mut allowed: BTreeMap<Name, String> = BTreeMap::new();
    let mut over: Vec<Name> = Vec::new();
    for ((name, (_, text)), at) in names(dialect, &before).into_iter().zip(&blocks).zip(&matched) {
        if !over.contains(&name) {
            allowed.entry(name.clone()).or_default().push_str(&text[..at.unwrap_or(text.len())]);
            over.extend(at.is_some().then_some(name));
        }
    }
    assert_only_prefixes(dialect, &run.out, &allowed, &what);
    let known = validator::problems(dialect, &stream.body);
    let problems: Vec<_> = validator::problems(dialect, &out).into_iter().filter(|p| !known.contains(p)).collect();
    assert!(problems.is_empty(), "{what}: {problems:?}\n{}", String::from_utf8_lossy(&out));
    let text = String::from_utf8(out).unwrap();
    assert!(text.trim_end().lines().last().unwrap().contains(MESSAGE), "{what}: the error is last\n{text}");
}

fn check_replace(stream: &Stream, pattern: &Regex, cut: u64) {
    let (dialect, before) = (stream.dialect, answer_of(stream));
    let what = format!("{} replace {pattern} cut {cut}", stream.name);
    let config = json!({"patterns": [pattern.as_str()], "message": MESSAGE});
    let out = run_cut(dialect, &rules(vec![built_in("blocked_content", &config)]), &stream.body, cut).out.concat();
    let blocks = before.texts();
    let is_matched = |(kind, text): &(Kind, String)| first_match(kind, text, pattern).is_some();
    let matched = blocks.iter().filter(|block| is_matched(block)).count();
    if matched == 0 {
        assert!(out == stream.body, "{what}: nothing matches, and bytes changed");
        return;
    }
    let known = validator::problems(dialect, &stream.body);
    let problems: Vec<_> = validator::problems(dialect, &out).into_iter().filter(|p| !known.contains(p)).collect();
    assert!(problems.is_empty(), "{what}: {problems:?}\n{}", String::from_utf8_lossy(&out));
    let after = reader::stream(dialect, &out);
    let found = texts(dialect, &after, |_, text| text);
    let all: String = found.values().map(String::as_str).collect::<Vec<_>>().join("\n");
    assert_eq!(all.matches(MESSAGE).count(), matched, "{what}: {all}");
    for (kind, text) in after.texts() {
        let rest = text.replace(MESSAGE, "");
        let own = blocks.iter().any(|(_, text)| *text == rest);
        assert!(own || first_match(&kind, &rest, pattern).is_none(), "{what}: {rest}");
    }
    // In a chat, a replaced call's text stands within the content; what else is there is there still.
    for block in blocks.iter().filter(|block| !is_matched(block) && block.0 != Kind::Thinking) {
        let stays = after.texts().iter().any(|(kind, text)| *kind == block.0 && text.contains(&block.1));
        assert!(stays, "{what}: {block:?} is lost");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_of_a_match_leaves(stream: prop::sample::Index, seed: u64, refuse: bool, cut: u64) {
        let stream = &WHOLE[stream.index(WHOLE.len())];
        if let Some(pattern) = pattern(stream, seed) {
            let check = if refuse { check_refuse } else { check_replace };
            check(stream, &pattern, cut);
        }
    }
}

#[test]
fn a_secret_that_comes_in_pieces_is_refused_before_its_first_byte() {
    let secret = Regex::new("sk-live-[A-Z0-9]+").unwrap();
    for stream in [vector("anthropic/46-secret-split-text"), vector("openai-chat/43-secret-split-args")] {
        for cut in 0..16 {
            check_refuse(&stream, &secret, cut);
            check_replace(&stream, &secret, cut);
        }
    }
    // Two blocks are two texts: what stands on both sides of a border is no match.
    let across = Regex::new("ABCDEF0123[0-9]").unwrap();
    check_refuse(&vector("anthropic/46-secret-split-text"), &across, 3);
}

#[test]
fn a_blocked_thinking_is_dropped_and_its_signature_with_it() {
    let stream = vector("anthropic/08-thinking-signature-redacted");
    let config = json!({"patterns": ["(?s)."], "include_thinking": true});
    let out = run_cut(Dialect::AnthropicMessages, &rules(vec![built_in("blocked_content", &config)]), &stream.body, 1);
    let out = out.out.concat();
    validator::assert_legal(Dialect::AnthropicMessages, &out, "without thinking");
    let after = reader::stream(Dialect::AnthropicMessages, &out);
    assert!(after.heads.iter().all(|head| head.kind != Kind::Thinking), "{after:?}");
    assert!(!String::from_utf8(out).unwrap().contains("signature"));
}
