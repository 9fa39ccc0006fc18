//! Chat streams as servers write them: calls at the same time, names late, no ids or no numbers, text behind calls. Clients
//! of the other dialects read one block after the other.

use std::collections::BTreeSet;

use bytes::Bytes;
use luthien::model::Dialect;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    super::{random::lot, support::stream_of, validator},
    nobody, run, said,
};

/// A stream, and what it says.
#[derive(Debug, Clone)]
struct Case {
    texts: Vec<Say>,
    calls: Vec<Call>,
    form: Form,
    /// In which order things come.
    order: u64,
}

#[derive(Debug, Clone)]
enum Say {
    Text(String),
    Thinking(String),
}

#[derive(Debug, Clone)]
struct Call {
    has_id: bool,
    /// So many fragments of the arguments come before the name.
    late_name: usize,
    arguments: String,
    fragments: usize,
    /// The first fragment has no `arguments` at all.
    silent: bool,
}

#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "servers combine these as they like")]
struct Form {
    /// Calls have numbers. If not, they come one after the other and have ids.
    numbered: bool,
    /// The role stands in each chunk.
    roles: bool,
    done: bool,
    /// The last fragment stands in the chunk with the reason.
    joined: bool,
    /// Two things can stand in one chunk.
    pairs: bool,
    usage: bool,
}

const ARGUMENTS: [&str; 5] =
    ["", "{}", r#"{"q":"é😀 \"x\" \\ \n","n":1e3}"#, r#"{ "a": [1, 2.50, null] }"#, r#"{"s":"\u0041\ud83d\ude00"}"#];

fn cases() -> impl Strategy<Value = Case> {
    let text = prop::sample::select(vec!["a", "two words ", "é😀", "\n", "\"quoted\" \\u0041"]).prop_map(str::to_owned);
    let say =
        (any::<bool>(), text).prop_map(|(thinks, text)| if thinks { Say::Thinking(text) } else { Say::Text(text) });
    let call = (any::<bool>(), 0_usize..3, 0..ARGUMENTS.len(), 1_usize..5, any::<bool>()).prop_map(
        |(has_id, late_name, arguments, fragments, silent)| Call {
            has_id,
            late_name,
            arguments: ARGUMENTS[arguments].to_owned(),
            fragments,
            silent,
        },
    );
    let form = any::<[bool; 6]>().prop_map(|[numbered, roles, done, joined, pairs, usage]| Form {
        numbered,
        roles,
        done,
        joined,
        pairs,
        usage,
    });
    (prop::collection::vec(say, 0..6), prop::collection::vec(call, 0..4), form, any::<u64>())
        .prop_map(|(texts, calls, form, order)| Case { texts, calls, form, order })
}

fn fragments(text: &str, count: usize) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let size = chars.len().div_ceil(count).max(1);
    let mut out: Vec<String> = chars.chunks(size).map(|chunk| chunk.iter().collect()).collect();
    out.resize(count.max(out.len()), String::new());
    out
}

impl Case {
    /// What comes of one call, in order: entries of `tool_calls`.
    fn entries(&self, number: usize) -> Vec<Value> {
        let call = &self.calls[number];
        let name = format!("f{number}");
        let mut entries: Vec<Value> = fragments(&call.arguments, call.fragments)
            .into_iter()
            .map(|fragment| json!({"function": {"arguments": fragment}}))
            .collect();
        let late = call.late_name.min(entries.len() - 1);
        entries[late]["function"]["name"] = json!(name);
        if call.silent && entries[0]["function"]["arguments"] == "" {
            entries[0]["function"].as_object_mut().unwrap().remove("arguments");
        }
        if self.form.numbered {
            for entry in &mut entries {
                entry["index"] = json!(number);
            }
        }
        if call.has_id || !self.form.numbered {
            entries[0]["id"] = json!(format!("id-{number}"));
        }
        entries
    }

    /// The deltas, in order.
    fn deltas(&self) -> Vec<Value> {
        let texts: Vec<Value> = self
            .texts
            .iter()
            .map(|say| match say {
                Say::Text(text) => json!({"content": text}),
                Say::Thinking(text) => json!({"reasoning_content": text}),
            })
            .collect();
        let calls = (0..self.calls.len()).map(|number| {
            self.entries(number).into_iter().map(|entry| json!({"tool_calls": [entry]})).collect::<Vec<_>>()
        });
        let mut queues: Vec<std::collections::VecDeque<Value>> = vec![texts.into()];
        if self.form.numbered {
            queues.extend(calls.map(Into::into));
        } else {
            queues.push(calls.flatten().collect::<Vec<_>>().into());
        }
        let mut deltas = Vec::new();
        while queues.iter().any(|queue| !queue.is_empty()) {
            queues.retain(|queue| !queue.is_empty());
            let at = usize::try_from(lot((self.order, deltas.len())) % queues.len() as u64).unwrap();
            deltas.extend(queues[at].pop_front());
        }
        deltas
    }

    fn stream(&self) -> Bytes {
        let mut deltas = self.deltas();
        if self.form.pairs {
            // A text and a fragment of a call in one chunk, the text first.
            for at in (1..deltas.len()).rev() {
                let [one, two] = [&deltas[at - 1], &deltas[at]];
                if one["tool_calls"].is_null() && !two["tool_calls"].is_null() && two.as_object().unwrap().len() == 1 {
                    let tool = deltas.remove(at)["tool_calls"].clone();
                    deltas[at - 1]["tool_calls"] = tool;
                }
            }
        }
        let reason = if self.calls.is_empty() { "stop" } else { "tool_calls" };
        let chunk = |delta: &Value, finish: Option<&str>| {
            json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m",
                "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})
            .to_string()
        };
        let last = if self.form.joined { deltas.pop() } else { None };
        let role = |delta: &Value, first: bool| {
            let mut delta = delta.clone();
            if first || self.form.roles {
                delta["role"] = json!("assistant");
            }
            delta
        };
        let mut data: Vec<String> =
            deltas.iter().enumerate().map(|(at, delta)| chunk(&role(delta, at == 0), None)).collect();
        data.push(chunk(&role(&last.unwrap_or(json!({})), data.is_empty()), Some(reason)));
        if self.form.usage {
            data.push(
                json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": [],
                "usage": {"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 5}}})
                .to_string(),
            );
        }
        if self.form.done {
            data.push("[DONE]".to_owned());
        }
        stream_of(Dialect::OpenaiChat, &data.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn check(&self, to: Dialect) {
        let stream = self.stream();
        let out = run(Dialect::OpenaiChat, to, &nobody(), &stream, usize::MAX).out.concat();
        let what = format!("for {to:?}, of:\n{}", String::from_utf8_lossy(&stream));
        validator::assert_legal(to, &out, &what);
        let sent = said::stream(to, &out);
        let shown = String::from_utf8_lossy(&out);
        let of = |thinks: bool| -> String {
            let said = self.texts.iter().map(|say| match say {
                Say::Text(text) if !thinks => text.as_str(),
                Say::Thinking(text) if thinks => text.as_str(),
                Say::Text(_) | Say::Thinking(_) => "",
            });
            said.collect()
        };
        assert_eq!(sent.text(), of(false), "{what}\nis:\n{shown}");
        assert_eq!(sent.thinking().concat(), of(true), "{what}\nis:\n{shown}");
        let mut calls = sent.calls();
        calls.sort_by_key(|(_, name, _)| (*name).to_owned());
        assert_eq!(calls.len(), self.calls.len(), "{what}\nis:\n{shown}");
        for (number, ((id, name, arguments), call)) in calls.iter().zip(&self.calls).enumerate() {
            assert_eq!(*name, format!("f{number}"), "{what}\nis:\n{shown}");
            assert!(said::same_arguments(&call.arguments, arguments), "{what}\nis:\n{shown}");
            assert!(!call.has_id || *id == format!("id-{number}"), "{what}\nis:\n{shown}");
        }
        let ids: BTreeSet<&str> = calls.iter().map(|(id, ..)| *id).collect();
        assert!(ids.len() == calls.len() && !ids.contains(""), "{what}\nis:\n{shown}");
        let tools = if self.calls.is_empty() { said::End::Turn } else { said::End::Tools };
        assert_eq!(sent.end, tools, "{what}\nis:\n{shown}");
        let tokens = if self.form.usage { [9, 5, 0, 4, 0] } else { [0; 5] };
        assert_eq!(sent.tokens, tokens, "{what}\nis:\n{shown}");
        let cut = run(Dialect::OpenaiChat, to, &nobody(), &stream, 5).out.concat();
        assert_eq!(String::from_utf8_lossy(&cut), shown, "{what}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_interleaved_comes_one_after_the_other(case in cases()) {
        for to in [Dialect::AnthropicMessages, Dialect::OpenaiResponses] {
            case.check(to);
        }
    }
}

fn converted(to: Dialect, data: &[&str]) -> (Vec<u8>, said::Said) {
    let out = run(Dialect::OpenaiChat, to, &nobody(), &stream_of(Dialect::OpenaiChat, data), 7).out.concat();
    let said = said::stream(to, &out);
    (out, said)
}

/// A chunk with this choice.
fn chunk(choice: &str) -> String {
    format!(r#"{{"id":"c","object":"chat.completion.chunk","choices":[{choice}]}}"#)
}

#[test]
fn calls_of_one_id_get_ids_of_their_own() {
    let calls = chunk(
        r#"{"index":0,"delta":{"tool_calls":[{"index":0,"id":"x","function":{"name":"a","arguments":"{}"}},{"index":1,"id":"x","function":{"name":"b","arguments":"{}"}}]},"finish_reason":"tool_calls"}"#,
    );
    for to in [Dialect::AnthropicMessages, Dialect::OpenaiResponses] {
        let (out, said) = converted(to, &[&calls, "[DONE]"]);
        validator::assert_legal(to, &out, "two calls of one id");
        let calls = said.calls();
        assert!(calls[0].0 == "x" && calls[1].0 != "x" && !calls[1].0.is_empty(), "{calls:?}");
    }
}

#[test]
fn a_call_without_a_name_is_a_failure() {
    let call = chunk(
        r#"{"index":0,"delta":{"content":"a","tool_calls":[{"index":0,"id":"x","function":{"arguments":"{}"}}]},"finish_reason":"tool_calls"}"#,
    );
    for to in [Dialect::AnthropicMessages, Dialect::OpenaiResponses] {
        let (out, said) = converted(to, &[&call, "[DONE]"]);
        validator::assert_legal(to, &out, "a call without a name");
        assert_eq!((said.end, said.calls().len()), (said::End::Failed, 0), "{}", String::from_utf8_lossy(&out));
    }
}

#[test]
fn the_first_choice_ends_for_its_own_reason() {
    let data = [
        chunk(r#"{"index":0,"delta":{"content":"a"},"finish_reason":null}"#),
        chunk(r#"{"index":1,"delta":{"content":"b"},"finish_reason":"stop"}"#),
        chunk(r#"{"index":0,"delta":{},"finish_reason":"length"}"#),
    ];
    let mut data: Vec<&str> = data.iter().map(String::as_str).collect();
    data.push("[DONE]");
    for to in [Dialect::AnthropicMessages, Dialect::OpenaiResponses] {
        let (_, said) = converted(to, &data);
        assert_eq!((said.text().as_str(), said.end), ("a", said::End::Cut));
    }
}

#[test]
fn calls_are_run_whatever_the_server_calls_the_reason() {
    let call = |reason: &str| {
        chunk(&format!(
            r#"{{"index":0,"delta":{{"tool_calls":[{{"index":0,"id":"x","function":{{"name":"a","arguments":"{{}}"}}}}]}},"finish_reason":"{reason}"}}"#
        ))
    };
    for reason in ["stop", "eos", "tool_call"] {
        for to in [Dialect::AnthropicMessages, Dialect::OpenaiResponses] {
            let (out, said) = converted(to, &[&call(reason), "[DONE]"]);
            validator::assert_legal(to, &out, reason);
            assert_eq!(said.end, said::End::Tools, "{reason}");
        }
    }
}
