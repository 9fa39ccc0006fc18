//! Nothing of a request is lost in silence: it is carried, or named among what was dropped, or refused by name.

use std::{fs, path::PathBuf};

use luthien::{
    dialect::Inconvertible,
    model::{
        Dialect,
        conversation::Lossy::{self, Drop, Refuse},
    },
};
use serde_json::{Value, json};

use super::support::{convert, dialect, model, text};

/// Every field of a chat request, with a value that is not what everybody means anyway.
const CHAT: &str = r#"{"audio":{"voice":"alloy","format":"wav"},"frequency_penalty":0.5,"function_call":"auto",
    "functions":[{"name":"g"}],"logit_bias":{"50256":-100},"logprobs":true,"max_completion_tokens":77,"max_tokens":78,
    "metadata":{"a":"b"},"modalities":["text","audio"],"moderation":{"model":"m"},"n":2,"parallel_tool_calls":false,
    "prediction":{"type":"content","content":"x"},"presence_penalty":0.5,"prompt_cache_key":"k",
    "prompt_cache_options":{"mode":"explicit"},"prompt_cache_retention":"24h","reasoning_effort":"high",
    "response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{"type":"object"}}},
    "safety_identifier":"s","seed":1,"service_tier":"flex","stop":["X"],"store":true,
    "stream_options":{"include_obfuscation":false},"stream":true,"temperature":0.5,"tool_choice":"required",
    "tools":[{"type":"function","function":{"name":"other"}}],"top_logprobs":2,"top_p":0.5,"user":"u",
    "verbosity":"low","web_search_options":{},"nobody_knows":1}"#;

const RESPONSES: &str = r#"{"access_programs":{"cyber":"standard"},"background":true,
    "background_options":{"completion_window":"2h"},"context_management":[{"type":"compaction"}],"conversation":"conv_1",
    "image":{"context_compression":"enabled"},"include":["web_search_call.results"],"instructions":"Be kind.",
    "max_output_tokens":77,"max_tool_calls":3,"metadata":{"a":"b"},"moderation":{"model":"m"},
    "parallel_tool_calls":false,"previous_response_id":"resp_1","prompt":{"id":"pmpt_1"},"prompt_cache_key":"k",
    "prompt_cache_options":{"mode":"explicit"},"prompt_cache_retention":"24h","reasoning":{"effort":"high"},
    "safety_identifier":"s","service_tier":"ultrafast","store":true,"stream_options":{"include_obfuscation":false},
    "temperature":0.5,"text":{"verbosity":"low"},"tool_choice":"required",
    "tools":[{"type":"function","name":"other"}],"top_logprobs":2,"top_p":0.5,"truncation":"auto","user":"u",
    "stream":true,"nobody_knows":1}"#;

const MESSAGES: &str = r#"{"cache_control":{"type":"ephemeral"},"container":"c","diagnostics":{"previous_message_id":"m"},
    "inference_geo":"eu","max_tokens":77,"metadata":{"user_id":"u"},"output_config":{"effort":"low"},
    "service_tier":"standard_only","speed":"fast","stop_sequences":["X"],"system":"Be kind.",
    "thinking":{"type":"enabled","budget_tokens":2000},"tool_choice":{"type":"any"},
    "tools":[{"name":"other","input_schema":{"type":"object"}}],"user_profile_id":"p","workspace_id":"w","stream":true,
    "temperature":0.5,"top_p":0.5,"top_k":5,"billing_policy":{"type":"billing_policy"},
    "compaction":{"type":"summarize"},"context_management":{"edits":[]},"fallback_credit_token":"t",
    "fallbacks":"default","mcp_servers":[{"type":"url","name":"n","url":"u"}],"thread":{"type":"create"},
    "safeguards":{},"betas":["b"],"nobody_knows":1}"#;

fn request(dialect: Dialect) -> Value {
    match dialect {
        Dialect::OpenaiChat => json!({
            "messages": [{ "role": "user", "content": "x" }],
            "tools": [{ "type": "function", "function": { "name": "f" } }],
        }),
        Dialect::OpenaiResponses => json!({ "input": "x", "tools": [{ "type": "function", "name": "f" }] }),
        Dialect::AnthropicMessages => json!({
            "max_tokens": 9000,
            "messages": [{ "role": "user", "content": "x" }],
            "tools": [{ "name": "f", "input_schema": { "type": "object" } }],
        }),
    }
}

/// What becomes of a request, such that two of them can be compared.
fn outcome(from: Dialect, to: Dialect, body: &Value, lossy: Option<Lossy>) -> (String, Vec<String>, String) {
    match convert(from, to, &body.to_string(), model(to), lossy) {
        Ok(converted) => (text(&converted.body), converted.dropped, String::new()),
        Err(Inconvertible::Field { field, .. }) => (String::new(), Vec::new(), field),
        Err(Inconvertible::Malformed(why)) => panic!("malformed: {why}: {body}"),
    }
}

fn names(fields: &[String], key: &str) -> bool {
    fields
        .iter()
        .any(|field| field == key || field.starts_with(&format!("{key}.")) || field.starts_with(&format!("{key}[")))
}

#[test]
fn every_field_is_carried_or_dropped_or_refused() {
    let all =
        [(Dialect::OpenaiChat, CHAT), (Dialect::OpenaiResponses, RESPONSES), (Dialect::AnthropicMessages, MESSAGES)];
    let mut silent = Vec::new();
    for (from, fields) in all {
        let fields: Value = serde_json::from_str(fields).unwrap();
        for to in Dialect::ALL.into_iter().filter(|to| *to != from) {
            for lossy in [None, Some(Drop), Some(Refuse)] {
                let plain = outcome(from, to, &request(from), lossy);
                assert_eq!((plain.1.as_slice(), plain.2.as_str()), ([].as_slice(), ""), "{from:?} to {to:?}");
                for (key, value) in fields.as_object().unwrap() {
                    let mut body = request(from);
                    body[key] = value.clone();
                    let (sent, dropped, refused) = outcome(from, to, &body, lossy);
                    let named = names(&dropped, key) || names(std::slice::from_ref(&refused), key);
                    if !named && (sent == plain.0 || !refused.is_empty()) {
                        silent.push(format!("{key}: {from:?} to {to:?}, {lossy:?}: {dropped:?} {refused}"));
                    }
                    if lossy == Some(Drop) && !refused.is_empty() {
                        silent.push(format!("{key}: refused although it can be left out, {from:?} to {to:?}"));
                    }
                    if lossy == Some(Refuse) && !dropped.is_empty() {
                        silent.push(format!("{key}: dropped although nothing may be, {from:?} to {to:?}"));
                    }
                }
            }
        }
    }
    assert!(silent.is_empty(), "{}", silent.join("\n"));
}

/// Puts a member that nobody knows into each object of each golden request, one at a time.
#[test]
fn a_member_that_nobody_knows_is_reported_wherever_it_stands() {
    const UNKNOWN: &str = "nobody_knows";
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/convert/cases");
    let mut silent = Vec::new();
    let mut tried = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let case: Value = serde_json::from_str(&fs::read_to_string(entry.unwrap().path()).unwrap()).unwrap();
        let from = dialect(case["from"].as_str().unwrap());
        let mut places = Vec::new();
        objects(&case["request"], String::new(), &mut places);
        for place in places {
            let mut body = case["request"].clone();
            body.pointer_mut(&place).unwrap()[UNKNOWN] = json!(1);
            for to in Dialect::ALL.into_iter().filter(|to| *to != from) {
                let target = case["models"][to.name()].as_str().unwrap_or(model(to));
                let Ok(converted) = convert(from, to, &body.to_string(), target, Some(Drop)) else { continue };
                tried += 1;
                let before = convert(from, to, &case["request"].to_string(), target, Some(Drop)).unwrap();
                // What is left out as a whole is reported as a whole.
                let reported = converted.dropped.iter().any(|field| field.ends_with(UNKNOWN));
                let whole = before.dropped.iter().any(|field| is_within(field, &place, &case["request"]))
                    || is_not_allowed(&place, &case["request"], to);
                if !reported && !whole && !text(&converted.body).contains(UNKNOWN) {
                    silent.push(format!("{from:?} to {to:?}: {place} in {}", case["request"]));
                }
            }
        }
    }
    assert!(tried > 300, "only {tried} tried");
    assert!(silent.is_empty(), "{}", silent.join("\n"));
}

fn objects(value: &Value, path: String, out: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                objects(value, format!("{path}/{key}"), out);
            }
            out.push(path);
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                objects(item, format!("{path}/{at}"), out);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Whether `place` stands within something that was left out as a whole: what has the type that `field` ends with, or
/// what `field` names, or a tool that is not allowed.
fn is_within(field: &str, place: &str, request: &Value) -> bool {
    let last = field.trim_end_matches(']').rsplit(['.', '[']).next().unwrap_or_default();
    let ends = place.match_indices('/').map(|(at, _)| at).chain([place.len()]);
    ends.skip(1).any(|end| {
        let above = request.pointer(&place[..end]).unwrap();
        above["type"] == last
            || place[..end].ends_with(&format!("/{last}"))
            || (last == "-1" && end == place.len())
            || (last.starts_with("x-anthropic") && above["text"].as_str().is_some_and(|text| text.starts_with(last)))
    })
}

fn is_not_allowed(place: &str, request: &Value, to: Dialect) -> bool {
    to == Dialect::AnthropicMessages
        && !request["tool_choice"]["allowed_tools"].is_null()
        && place.starts_with("/tools/1/")
}
