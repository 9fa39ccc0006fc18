//! Requests and answers in the form that OpenTelemetry's conventions for generative AI give messages: `[{role, parts,
//! finish_reason}]`, the same for all dialects. For people who look on; nothing is sent to a provider or a client in it.

use serde_json::{Map, Value, json};

/// The longest text that is told whole, in bytes.
const LONGEST_TEXT: usize = 8 << 10;
/// The longest list that is told, in bytes: of a longer one, what came last.
const LONGEST_LIST: usize = 32 << 10;

/// The messages of a request.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TellRequest {
    /// What stands above the conversation: parts.
    pub system: Option<Value>,
    /// The conversation: messages.
    pub messages: Option<Value>,
    /// The tools, as the request describes them.
    pub tools: Option<Value>,
}

/// The messages of a request in any dialect. What is not understood is left out.
pub fn tell_request(request: &Value) -> TellRequest {
    let system = request.get("system").or(request.get("instructions")).map(parts).filter(|parts| !parts.is_empty());
    let said = request.get("messages").or(request.get("input"));
    let messages = match said {
        Some(Value::String(text)) => vec![message("user", &[self::text(text)])],
        Some(Value::Array(items)) => items.iter().map(turn).collect(),
        _ => Vec::new(),
    };
    let tools = request.get("tools").filter(|tools| tools.as_array().is_some_and(|tools| !tools.is_empty()));
    let list = |items: Vec<Value>| (!items.is_empty()).then(|| last(items));
    TellRequest {
        system: list(system.unwrap_or_default()),
        messages: list(messages),
        tools: tools.and_then(Value::as_array).cloned().and_then(list),
    }
}

/// The messages of an answer in any dialect, one for each alternative.
pub fn tell_answer(answer: &Value) -> Option<Value> {
    let with_reason = |mut message: Value, reason: &str| {
        if let (Some(message), false) = (message.as_object_mut(), reason.is_empty()) {
            message.insert("finish_reason".to_owned(), word(reason).into());
        }
        message
    };
    let messages: Vec<Value> = if let Some(choices) = answer.get("choices").and_then(Value::as_array) {
        choices
            .iter()
            .map(|choice| with_reason(choice.get("message").map(turn).unwrap_or_default(), at(choice, "finish_reason")))
            .collect()
    } else if let Some(items) = answer.get("output").and_then(Value::as_array) {
        let parts: Vec<Value> = items.iter().flat_map(item).collect();
        vec![with_reason(message("assistant", &parts), at(answer, "status"))]
    } else {
        let parts = parts(answer.get("content")?);
        vec![with_reason(message("assistant", &parts), at(answer, "stop_reason"))]
    };
    Some(last(messages))
}

/// A message, or an item of a conversation that is a message of its own.
fn turn(item: &Value) -> Value {
    let role = match at(item, "type") {
        "function_call_output" | "custom_tool_call_output" => "tool",
        "function_call" | "custom_tool_call" | "reasoning" => "assistant",
        _ => at(item, "role"),
    };
    let role = if role.is_empty() { "user" } else { role };
    message(role, &self::item(item))
}

fn item(item: &Value) -> Vec<Value> {
    if item.get("role").is_none() && at(item, "type") != "message" {
        return vec![part(item)];
    }
    let call = at(item, "tool_call_id");
    let content = item.get("content").unwrap_or(&Value::Null);
    if !call.is_empty() {
        return vec![json!({ "type": "tool_call_response", "id": call, "response": plain(content) })];
    }
    let mut told = parts(content);
    let thought = ["reasoning_content", "reasoning"].iter().map(|key| at(item, key)).find(|text| !text.is_empty());
    told.extend(thought.map(|text| json!({ "type": "reasoning", "content": cut(text) })));
    told.extend(item.get("tool_calls").and_then(Value::as_array).into_iter().flatten().map(part));
    told
}

fn parts(content: &Value) -> Vec<Value> {
    match content {
        Value::String(said) if said.is_empty() => Vec::new(),
        Value::String(said) => vec![text(said)],
        Value::Array(parts) => parts.iter().map(part).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => Vec::new(),
    }
}

fn part(part: &Value) -> Value {
    let call = |id: &str, of: &Value, input: &str| {
        let arguments = of.get(input).map(short).unwrap_or_default();
        json!({ "type": "tool_call", "id": at(part, id), "name": at(of, "name"), "arguments": arguments })
    };
    let result = |id: &str, content: &str| {
        let response = part.get(content).map(plain).unwrap_or_default();
        json!({ "type": "tool_call_response", "id": at(part, id), "response": response })
    };
    match at(part, "type") {
        "text" | "input_text" | "output_text" => text(at(part, "text")),
        "refusal" => text(at(part, "refusal")),
        "thinking" => json!({ "type": "reasoning", "content": cut(at(part, "thinking")) }),
        "reasoning" => {
            let parts = ["summary", "content"].iter().filter_map(|key| part.get(key)?.as_array()).flatten();
            let texts: Vec<&str> = parts.map(|part| at(part, "text")).collect();
            json!({ "type": "reasoning", "content": cut(&texts.join("\n")) })
        }
        "tool_use" => call("id", part, "input"),
        "function_call" => call("call_id", part, "arguments"),
        "custom_tool_call" => call("call_id", part, "input"),
        "function" => call("id", part.get("function").unwrap_or(part), "arguments"),
        "custom" => call("id", part.get("custom").unwrap_or(part), "input"),
        "tool_result" => result("tool_use_id", "content"),
        "function_call_output" | "custom_tool_call_output" => result("call_id", "output"),
        // Bytes of images and documents, and what only one provider knows, are not told.
        other => json!({ "type": other }),
    }
}

fn message(role: &str, parts: &[Value]) -> Value {
    json!({ "role": role, "parts": parts })
}

fn text(text: &str) -> Value {
    json!({ "type": "text", "content": cut(text) })
}

/// What a tool said: its texts.
fn plain(content: &Value) -> Value {
    match content {
        Value::Array(parts) => {
            let texts: Vec<&str> = parts.iter().map(|part| at(part, "text")).filter(|text| !text.is_empty()).collect();
            cut(&texts.join("\n")).into()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => short(content),
    }
}

fn at<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn short(value: &Value) -> Value {
    match value {
        Value::String(text) => cut(text).into(),
        Value::Object(members) => {
            Value::Object(members.iter().map(|(key, value)| (key.clone(), short(value))).collect::<Map<_, _>>())
        }
        Value::Array(items) => items.iter().map(short).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

fn cut(text: &str) -> String {
    match text.get(..text.floor_char_boundary(LONGEST_TEXT)) {
        Some(beginning) if beginning.len() < text.len() => format!("{beginning}…"),
        _ => text.to_owned(),
    }
}

/// The last of a list, as far as it may be told, and at least one.
fn last(mut items: Vec<Value>) -> Value {
    for item in &mut items {
        if item.to_string().len() > LONGEST_LIST {
            *item = too_long(item);
        }
    }
    let mut room = LONGEST_LIST;
    let mut fits = |item: &Value| {
        let length = item.to_string().len();
        let fits = length <= room;
        room = room.saturating_sub(length);
        fits
    };
    let kept = items.iter().rev().take_while(|item| fits(item)).count().max(1);
    Value::Array(items.split_off(items.len().saturating_sub(kept)))
}

/// What is left of an item that is too long to be told.
fn too_long(item: &Value) -> Value {
    let names = ["role", "type", "name"]
        .iter()
        .filter_map(|key| Some(((*key).to_owned(), cut(item.get(key)?.as_str()?).into())));
    let mut left: Map<_, _> = names.collect();
    left.insert("parts".to_owned(), json!([text("[too long to be told]")]));
    Value::Object(left)
}

/// Why an answer ended, in the words of the conventions.
fn word(reason: &str) -> &str {
    match reason {
        "end_turn" | "stop" | "stop_sequence" | "completed" => "stop",
        "tool_use" | "tool_calls" | "function_call" => "tool_call",
        "max_tokens" | "length" | "incomplete" => "length",
        "content_filter" | "refusal" => "content_filter",
        "failed" => "error",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_conversation_reads_the_same_in_every_dialect() {
        let expected = json!([
            { "role": "user", "parts": [{ "type": "text", "content": "hi" }] },
            { "role": "assistant", "parts": [
                { "type": "tool_call", "id": "c", "name": "ls", "arguments": { "p": "/" } } ] },
            { "role": "tool", "parts": [{ "type": "tool_call_response", "id": "c", "response": "a\nb" }] },
        ]);
        let chat = json!({ "messages": [
            { "role": "user", "content": "hi" },
            { "role": "assistant", "content": null, "tool_calls": [
                { "type": "function", "id": "c", "function": { "name": "ls", "arguments": { "p": "/" } } } ] },
            { "role": "tool", "tool_call_id": "c", "content": [{ "type": "text", "text": "a" }, { "type": "text", "text": "b" }] },
        ]});
        let responses = json!({ "input": [
            { "role": "user", "content": [{ "type": "input_text", "text": "hi" }] },
            { "type": "function_call", "call_id": "c", "name": "ls", "arguments": { "p": "/" } },
            { "type": "function_call_output", "call_id": "c", "output": "a\nb" },
        ]});
        assert_eq!(tell_request(&chat).messages, Some(expected.clone()));
        assert_eq!(tell_request(&responses).messages, Some(expected.clone()));
        let messages = json!({ "system": "be kind", "tools": [{ "name": "ls" }], "messages": [
            { "role": "user", "content": "hi" },
            { "role": "assistant", "content": [{ "type": "tool_use", "id": "c", "name": "ls", "input": { "p": "/" } }] },
            { "role": "tool", "content": [{ "type": "tool_result", "tool_use_id": "c", "content": "a\nb" }] },
        ]});
        let told = tell_request(&messages);
        assert_eq!(told.messages, Some(expected));
        assert_eq!(told.system, Some(json!([{ "type": "text", "content": "be kind" }])));
        assert_eq!(told.tools, Some(json!([{ "name": "ls" }])));
    }

    #[test]
    fn answers_say_why_they_ended() {
        let expected =
            json!([{ "role": "assistant", "parts": [{ "type": "text", "content": "yes" }], "finish_reason": "stop" }]);
        for answer in [
            json!({ "choices": [{ "message": { "role": "assistant", "content": "yes" }, "finish_reason": "stop" }] }),
            json!({ "status": "completed", "output": [{ "type": "message", "role": "assistant", "content": [
                { "type": "output_text", "text": "yes" }] }] }),
            json!({ "content": [{ "type": "text", "text": "yes" }], "stop_reason": "end_turn" }),
        ] {
            assert_eq!(tell_answer(&answer), Some(expected.clone()), "{answer}");
        }
        assert_eq!(tell_answer(&json!({ "error": "no" })), None);
    }

    #[test]
    fn what_is_long_is_cut_and_of_much_the_last_is_told() {
        let long = "x".repeat(LONGEST_TEXT + 1);
        let messages: Vec<Value> =
            (0..20).map(|number| json!({ "role": format!("{number}"), "content": long })).collect();
        let told = tell_request(&json!({ "messages": messages })).messages.unwrap();
        let told = told.as_array().unwrap();
        assert!(told.len() < 10 && told.last().unwrap()["role"] == "19", "{}", told.len());
        assert!(told.iter().all(|message| message.to_string().len() < LONGEST_TEXT + 100));
        let parts: Vec<Value> = (0..700).map(|_| json!({ "type": "text", "text": long })).collect();
        for request in [
            json!({ "messages": [{ "role": "user", "content": parts }] }),
            json!({ "tools": [{ "name": "t", "input_schema": { "description": long.repeat(9) } }] }),
        ] {
            let told = tell_request(&request);
            let told = told.messages.or(told.tools).unwrap().to_string();
            assert!(told.contains("too long") && told.len() < 1000, "{}", told.len());
        }
        let bytes =
            json!({ "messages": [{ "role": "user", "content": [{ "type": "image", "source": { "data": long } }] }] });
        assert_eq!(tell_request(&bytes).messages, Some(json!([{ "role": "user", "parts": [{ "type": "image" }] }])));
    }
}
