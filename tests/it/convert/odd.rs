//! Requests in which one value is another than its dialect asks for: no crash, and never a body that is no JSON.

use std::{fs, path::PathBuf};

use bytes::Bytes;
use luthien::{
    dialect::without_foreign_reasoning,
    model::{Dialect, conversation::Lossy},
};
use serde_json::{Value, json};

use super::support::{convert, dialect, model};

#[test]
fn one_odd_value_anywhere_does_no_harm() {
    let odd = [
        json!(null),
        json!(7),
        json!(true),
        json!(""),
        json!("\u{7f}é\u{2028}\""),
        json!([]),
        json!({}),
        json!([7, [], {}]),
    ];
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/convert/cases");
    let (mut tried, mut sent) = (0, 0);
    for entry in fs::read_dir(folder).unwrap() {
        let case: Value = serde_json::from_str(&fs::read_to_string(entry.unwrap().path()).unwrap()).unwrap();
        let from = dialect(case["from"].as_str().unwrap());
        let mut places = Vec::new();
        all(&case["request"], String::new(), &mut places);
        for place in places {
            for value in &odd {
                let mut body = case["request"].clone();
                *body.pointer_mut(&place).unwrap() = value.clone();
                let body = body.to_string();
                let (cleaned, _) = without_foreign_reasoning(from, &Bytes::copy_from_slice(body.as_bytes()));
                assert!(serde_json::from_slice::<Value>(&cleaned).is_ok(), "{body}");
                for to in Dialect::ALL.into_iter().filter(|to| *to != from) {
                    tried += 1;
                    if let Ok(converted) = convert(from, to, &body, model(to), Some(Lossy::Drop)) {
                        sent += 1;
                        let out: Value = serde_json::from_slice(&converted.body)
                            .unwrap_or_else(|error| panic!("{error}: {body}: {:?}", converted.body));
                        assert_eq!(out["model"], model(to));
                    }
                }
            }
        }
    }
    assert!(tried > 10_000 && sent > tried / 2, "{sent} of {tried}");
}

/// Each with each other would be some 10^9 comparisons, which no test has the time for.
#[test]
fn a_choice_of_very_many_tools_is_as_long_as_it_is() {
    const MANY: usize = 50_000;
    let tool = |at: usize| json!({ "type": "function", "name": format!("f{at}"), "parameters": {} });
    let named = |at: usize| json!({ "type": "function", "name": format!("f{}", MANY - 1 - at) });
    let body = json!({ "model": "m", "input": "x", "tools": (0..MANY).map(tool).collect::<Vec<_>>(),
        "tool_choice": { "type": "allowed_tools", "mode": "auto", "tools": (0..MANY).map(named).collect::<Vec<_>>() } });
    let body = body.to_string();
    for to in [Dialect::AnthropicMessages, Dialect::OpenaiChat] {
        let sent = convert(Dialect::OpenaiResponses, to, &body, model(to), Some(Lossy::Drop)).expect("a conversion");
        let sent: Value = serde_json::from_slice(&sent.body).expect("JSON");
        assert_eq!(sent["tools"].as_array().map(Vec::len), Some(MANY));
    }
}

fn all(value: &Value, path: String, out: &mut Vec<String>) {
    match value {
        Value::Object(members) => members.iter().for_each(|(key, value)| all(value, format!("{path}/{key}"), out)),
        Value::Array(items) => items.iter().enumerate().for_each(|(at, value)| all(value, format!("{path}/{at}"), out)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    out.push(path);
}
