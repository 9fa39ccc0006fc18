//! A stream as one body: what the official SDKs accumulate.

use bytes::Bytes;
use luthien::{
    dialect::Assembler,
    model::Dialect,
    wire::{Frame, Framer},
};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::support::{stream_of, streams as all_streams, vector};
use crate::common::streams::{self, Class, Recorded};

const DIALECTS: [(streams::Dialect, Dialect); 3] = [
    (streams::Dialect::Anthropic, Dialect::AnthropicMessages),
    (streams::Dialect::OpenaiChat, Dialect::OpenaiChat),
    (streams::Dialect::OpenaiResponses, Dialect::OpenaiResponses),
];

/// Where a body of ours is not what the SDK made: the stream, or the SDK for all of its; the place; why.
const EXCEPTIONS: [(&str, &str, &str); 11] = [
    ("anthropic/14-mcp-beta", "content.*.input", "asked without the beta namespace, which alone reads this input"),
    ("anthropic/29-fallback-beta", "model", "asked without the beta namespace, which alone knows fallbacks"),
    ("anthropic/29-fallback-beta", "usage.iterations", "the same"),
    ("anthropic/35-cut-tool-json-max-tokens", "content.*.input", CUT),
    (INCOMPLETE_INPUT, "content.*.input", CUT),
    ("openai-chat/22-azure-filter-chunks", "prompt_filter_results", FILTER),
    ("openai-chat/22-azure-filter-chunks", "choices.*.content_filter_results", FILTER),
    ("openai-chat/22-azure-filter-chunks", "choices.*.content_filter_offsets", FILTER),
    (PARTS_THEN_TEXT, "choices.*.content", "the SDK drops parts of content where it has text, here all thinking"),
    ("node", "choices.*.message.tool_calls.*.index", "Node takes it out, Python leaves it"),
    ("node", "output_text", "a helper of the SDK's: all texts of the output"),
];
const INCOMPLETE_INPUT: &str =
    "anthropic/anthropics-anthropic-sdk-python__streaming_fixtures_incomplete_partial_json_response.sse";
const PARTS_THEN_TEXT: &str = "openai-chat/prism-php-prism__Fixtures_mistral_stream-reasoning-model-1-1.sse";
const CUT: &str = "the SDK drops what stands behind the last complete value; ours keeps the text as it came";
const FILTER: &str = "the SDK drops chunks that do not name their object, and what only later chunks say";

fn frames(body: &Bytes) -> Vec<Frame> {
    let mut framer = Framer::new(usize::MAX);
    let mut out = Vec::new();
    framer.push(body, &mut out).unwrap();
    out.extend(framer.finish());
    out
}

fn assembled<'a>(dialect: Dialect, frames: impl IntoIterator<Item = &'a Frame>) -> Option<Value> {
    let mut assembler = Assembler::new(dialect);
    for frame in frames {
        assembler.take(frame);
    }
    assembler.finish()
}

/// The same in the form in which bodies are compared: `null` is the same as nothing, because the SDKs add every field that
/// they know of, and `1` is the same as `1.0`, because they turn numbers into the type that they know of.
fn plain(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let said = members.iter().filter(|(_, value)| !value.is_null());
            said.map(|(key, value)| (key.clone(), plain(value))).collect::<Map<_, _>>().into()
        }
        Value::Array(items) => items.iter().map(plain).collect(),
        Value::Number(number) => match number.as_f64() {
            Some(float) if float.fract() == 0.0 && float.abs() < 1e15 => json!(float + 0.0),
            _ => value.clone(),
        },
        Value::Null | Value::Bool(_) | Value::String(_) => value.clone(),
    }
}

/// Takes out what stands at a path, in which `*` is every entry of an array.
fn without(value: &mut Value, path: &str) {
    match (path.split_once('.'), value) {
        (Some(("*", rest)), Value::Array(items)) => items.iter_mut().for_each(|item| without(item, rest)),
        (Some((key, rest)), Value::Object(members)) => {
            if let Some(inner) = members.get_mut(key) {
                without(inner, rest);
            }
        }
        (None, Value::Object(members)) => {
            members.remove(path);
        }
        _ => {}
    }
}

/// What is wrong, if anything is that is no exception for one of these names.
fn difference(names: &[&str], mut ours: Value, mut theirs: Value) -> Option<String> {
    for (_, path, _) in EXCEPTIONS.iter().filter(|(name, ..)| names.contains(name)) {
        without(&mut theirs, path);
        without(&mut ours, path);
    }
    let (ours, theirs) = (plain(&ours), plain(&theirs));
    (ours != theirs).then(|| format!("{}\n  ours   {ours}\n  theirs {theirs}", names.join(", ")))
}

#[test]
fn a_vector_is_what_the_sdks_make_of_it() {
    let mut wrong = Vec::new();
    let mut compared = 0;
    for (folder, dialect) in DIALECTS {
        for vector in streams::vectors(folder) {
            if !matches!(vector.class, Class::Legal | Class::Rewrite | Class::Tolerate) {
                continue;
            }
            // Where Python's helper gives up, Node's may not.
            let sdks = ["python", "node"].map(|sdk| (sdk, &vector.expected(sdk)["final"]));
            let Some((sdk, theirs)) = sdks.into_iter().find(|(_, made)| !made.is_null()) else {
                wrong.push(format!("{}: no SDK made anything of it", vector.name));
                continue;
            };
            let theirs = theirs.clone();
            let ours = assembled(dialect, &frames(&vector.bytes.into())).unwrap_or_default();
            compared += 1;
            wrong.extend(difference(&[&vector.name, sdk], ours, theirs));
        }
    }
    assert!(wrong.is_empty(), "{}\n{} of {compared}", wrong.join("\n"), wrong.len());
}

#[test]
fn a_recording_is_what_the_sdk_makes_of_it() {
    let mut wrong = Vec::new();
    for (folder, dialect) in DIALECTS {
        for stream in streams::recorded(folder).unwrap_or_default().into_iter().filter(|stream| stream.accepted) {
            let Some(theirs) = stream.assembled() else { continue };
            let ours = assembled(dialect, &frames(&stream.bytes.clone().into())).unwrap_or_default();
            let (ours, theirs) = kept(&stream, &ours, theirs);
            wrong.extend(difference(&[&stream.name, "python"], ours, theirs));
        }
    }
    assert!(wrong.is_empty(), "{}\n{} failures", wrong.join("\n"), wrong.len());
}

/// What the recordings keep of what the SDK made, of both.
fn kept(stream: &Recorded, ours: &Value, mut theirs: Value) -> (Value, Value) {
    match stream.dialect {
        streams::Dialect::Anthropic => (ours.clone(), theirs["message"].take()),
        streams::Dialect::OpenaiChat => {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let choices = ours["choices"].as_array().into_iter().flatten().map(|choice| {
                let message = &choice["message"];
                let calls = message["tool_calls"].as_array().into_iter().flatten().map(|call| {
                    let function = &call["function"];
                    json!({"id": call["id"], "name": function["name"], "arguments": text(&function["arguments"])})
                });
                json!({
                    "content": text(&message["content"]),
                    "reasoning": text(&message["reasoning_content"]) + &text(&message["reasoning"]),
                    "refusal": text(&message["refusal"]),
                    "tool_calls": calls.collect::<Vec<_>>(),
                    "finish_reason": choice["finish_reason"],
                    "index": choice["index"],
                })
            });
            let choices: Vec<Value> = choices.collect();
            let id = ours["id"].as_str().filter(|id| !id.is_empty());
            (json!({"choices": choices, "id": id, "model": ours["model"], "usage": ours["usage"]}), theirs)
        }
        streams::Dialect::OpenaiResponses => (ours.clone(), theirs["final"].take()),
    }
}

#[test]
fn a_cut_stream_gives_what_came() {
    for stream in all_streams() {
        let mut assembler = Assembler::new(stream.dialect);
        // Long recordings would take long, and are made of the same.
        for (number, frame) in frames(&stream.body).into_iter().enumerate().take(60) {
            for cut in (0..frame.raw().len().min(2000)).step_by(31) {
                let mut cut_here = assembler.clone();
                cut_here.take(&Frame::new(frame.raw().slice(..cut), false));
                let body = cut_here.finish();
                assert!(body.is_none_or(|body| body.is_object()), "{} cut in {number} at {cut}", stream.name);
            }
            assembler.take(&frame);
        }
    }
}

#[test]
fn a_response_that_was_cut_is_what_its_items_said() {
    let whole = vector("openai-responses/04-reasoning-summary-encrypted");
    let frames = frames(&whole.body);
    let all = assembled(whole.dialect, &frames).unwrap();
    let cut = assembled(whole.dialect, &frames[..frames.len() - 1]).unwrap();
    assert_eq!(cut["output"], all["output"]);
    assert_eq!((&cut["status"], &cut["usage"]), (&json!("in_progress"), &Value::Null));
}

#[test]
fn what_it_keeps_is_counted() {
    for stream in all_streams() {
        let mut assembler = Assembler::new(stream.dialect);
        for frame in frames(&stream.body) {
            assembler.take(&frame);
        }
        let size = assembler.size();
        let body = assembler.finish().unwrap_or_default().to_string();
        assert!(size <= stream.body.len() && size * 2 + 200 >= body.len(), "{}: {size}, {}", stream.name, body.len());
    }
}

#[test]
fn a_character_that_is_cut_in_a_tool_call_is_whole() {
    let part = |arguments: &str| {
        format!(
            r#"{{"choices":[{{"index":0,"delta":{{"tool_calls":[{{"index":0,"function":{{"arguments":"{arguments}"}}}}]}}}}]}}"#
        )
    };
    let parts = [part(r"a\ud83d"), part(r"\ude00\ud83d")];
    let body = stream_of(Dialect::OpenaiChat, &parts.each_ref().map(String::as_str));
    let ours = assembled(Dialect::OpenaiChat, &frames(&body)).unwrap();
    let call = &ours["choices"][0]["message"]["tool_calls"][0];
    assert_eq!(call["function"]["arguments"], "a\u{1f600}\u{fffd}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn frames_in_any_order_are_taken(seed: u64, swaps in proptest::collection::vec((0_usize..64, 0_usize..64), 1..40)) {
        let streams = DIALECTS.map(|(folder, _)| streams::vectors(folder)).concat();
        for turn in 0..8_u64 {
            let pick = usize::try_from(seed.wrapping_mul(turn + 1) % streams.len() as u64).unwrap();
            let mut frames = frames(&streams[pick].bytes.clone().into());
            let other = &streams[(pick + 1) % streams.len()];
            frames.extend(self::frames(&other.bytes.clone().into()));
            let len = frames.len();
            for (a, b) in &swaps {
                frames.swap(a % len, b % len);
            }
            for (_, dialect) in DIALECTS {
                let body = assembled(dialect, &frames);
                prop_assert!(body.is_none_or(|body| body.is_object()));
            }
        }
    }
}
