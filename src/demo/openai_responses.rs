//! OpenAI Responses, as the API sends it: <https://platform.openai.com/docs/api-reference/responses-streaming>.

use axum::body::Bytes;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::openai::{self, HTTP, content, error, id, is_of, now};
use super::play::{self, Parts};
use super::reply::{Input, Tool, by_chars, by_word, text_of, tokens};
use super::{Ask, Reply};

/// A request, and what of it the answer repeats.
struct Wish {
    ask: Ask,
    id: String,
    created: u64,
    /// The fields of the request that stand in every response object.
    repeated: Value,
}

/// `POST /v1/responses`.
pub(super) async fn responses(body: Bytes) -> Response {
    let wish = match read(&body) {
        Ok(wish) => wish,
        Err(message) => return error(StatusCode::BAD_REQUEST, &message),
    };
    let stream = |reply: &Reply| {
        let frames: Vec<Bytes> = events(&wish, reply).iter().map(event).collect();
        // The number of the event that it stands in for.
        let failure = json!({
            "type": "error",
            "sequence_number": play::half(frames.len()),
            "error": {
                "type": "server_error", "code": "server_error", "message": "the prompt asked for an error",
                "param": null,
            },
        });
        Parts { frames, terminal: 1, error: event(&failure) }
    };
    // The terminal event holds the very object that is the body without a stream.
    let whole = |reply: &Reply| {
        let last = events(&wish, reply).pop();
        last.and_then(|mut event| event.get_mut("response").map(Value::take)).unwrap_or_default()
    };
    HTTP.answer(&wish.ask, stream, whole)
}

fn read(body: &[u8]) -> Result<Wish, String> {
    let (request, model) = openai::read(body)?;
    let input = request.get("input").filter(|input| !input.is_null());
    let input = input.ok_or("Missing required parameter: 'input'.")?;
    let items = input.as_array().map(Vec::as_slice).unwrap_or_default();
    let prompt = input.as_str().map(str::to_owned);
    let prompt = prompt.or_else(|| items.iter().rfind(|item| is_of(item, "user")).map(content)).unwrap_or_default();
    let is_output = |item: &&Value| matches!(kind(item), Some("function_call_output" | "custom_tool_call_output"));
    let output = |item: &Value| item.get("output").and_then(text_of).unwrap_or_default().to_owned();
    let additional = items.iter().filter(|item| kind(item) == Some("additional_tools"));
    let tools = request.get("tools").cloned().unwrap_or_else(|| json!([]));
    let repeated = json!({
        "instructions": request.get("instructions"),
        "max_output_tokens": request.get("max_output_tokens"),
        "metadata": request.get("metadata").cloned().unwrap_or_else(|| json!({})),
        "parallel_tool_calls": request.get("parallel_tool_calls").and_then(Value::as_bool).unwrap_or(true),
        "previous_response_id": request.get("previous_response_id"),
        "reasoning": { "effort": null, "summary": null },
        "store": request.get("store").and_then(Value::as_bool).unwrap_or(true),
        "temperature": 1.0,
        "text": { "format": { "type": "text" } },
        "tool_choice": request.get("tool_choice").cloned().unwrap_or_else(|| json!("auto")),
        "tools": tools,
        "top_p": 1.0,
        "truncation": "disabled",
        "user": request.get("user"),
    });
    let ask = Ask {
        model,
        stream: request.get("stream").and_then(Value::as_bool).unwrap_or(false),
        prompt,
        tool_result: items.last().filter(is_output).map(output),
        tools: [&request].into_iter().chain(additional).flat_map(offered).collect(),
        thinking: false,
        tokens: tokens(body.len()),
    };
    Ok(Wish { ask, id: id("resp_"), created: now(), repeated })
}

/// The tools in the `tools` of a request, of an item that adds some, or of a namespace.
fn offered(of: &Value) -> Vec<Tool> {
    let tools = of.get("tools").and_then(Value::as_array).into_iter().flatten();
    let read = |tool: &Value| match kind(tool) {
        Some("function") => Tool::of_schema(tool, tool.get("parameters").unwrap_or(&Value::Null)).into_iter().collect(),
        Some("custom") => {
            let name = tool.get("name").and_then(Value::as_str);
            name.map(|name| Tool { name: name.to_owned(), input: Input::Text }).into_iter().collect()
        }
        // The tools of any other namespace are called with its name beside theirs.
        Some("namespace") if tool.get("name").and_then(Value::as_str) == Some("functions") => offered(tool),
        _ => Vec::new(),
    };
    tools.flat_map(read).collect()
}

fn kind(value: &Value) -> Option<&str> {
    value.get("type").and_then(Value::as_str)
}

/// The response object at one moment.
fn object(wish: &Wish, status: &str, output: &[Value], usage: &Value) -> Value {
    let mut object = json!({
        "id": wish.id,
        "object": "response",
        "created_at": wish.created,
        "status": status,
        "background": false,
        "error": null,
        "incomplete_details": null,
        "model": wish.ask.model,
        "output": output,
        "usage": usage,
    });
    if let (Some(fields), Some(repeated)) = (object.as_object_mut(), wish.repeated.as_object()) {
        fields.extend(repeated.clone());
    }
    object
}

fn usage(wish: &Wish, reply: &Reply) -> Value {
    let (input, output) = (wish.ask.tokens, reply.tokens());
    json!({
        "input_tokens": input,
        "input_tokens_details": { "cached_tokens": 0 },
        "output_tokens": output,
        "output_tokens_details": { "reasoning_tokens": 0 },
        "total_tokens": input + output,
    })
}

/// All events of an answer; the last is the terminal one.
fn events(wish: &Wish, reply: &Reply) -> Vec<Value> {
    let mut events = Events::default();
    let none = Value::Null;
    events.push(&json!({ "type": "response.created", "response": object(wish, "in_progress", &[], &none) }));
    events.push(&json!({ "type": "response.in_progress", "response": object(wish, "in_progress", &[], &none) }));
    if let Some(thinking) = &reply.thinking {
        reasoning(&mut events, thinking);
    }
    message(&mut events, &reply.text);
    for call in &reply.calls {
        match call.input.as_str() {
            Some(text) => custom_call(&mut events, &call.name, text),
            None => function_call(&mut events, &call.name, &call.input.to_string()),
        }
    }
    let whole = object(wish, "completed", &events.output, &usage(wish, reply));
    events.push(&json!({ "type": "response.completed", "response": whole }));
    events.list
}

fn reasoning(events: &mut Events, text: &str) {
    let (id, index) = (id("rs_"), events.output.len());
    let at = json!({ "item_id": id, "output_index": index, "summary_index": 0 });
    let part = |text: &str| json!({ "type": "summary_text", "text": text });
    events.open(&json!({ "id": id, "type": "reasoning", "summary": [] }));
    events.at("response.reasoning_summary_part.added", &at, &json!({ "part": part("") }));
    for delta in by_word(text) {
        events.at("response.reasoning_summary_text.delta", &at, &json!({ "delta": delta }));
    }
    events.at("response.reasoning_summary_text.done", &at, &json!({ "text": text }));
    events.at("response.reasoning_summary_part.done", &at, &json!({ "part": part(text) }));
    events.close(json!({ "id": id, "type": "reasoning", "summary": [part(text)] }));
}

fn message(events: &mut Events, deltas: &[String]) {
    let (id, index) = (id("msg_"), events.output.len());
    let at = json!({ "item_id": id, "output_index": index, "content_index": 0 });
    let text = deltas.concat();
    let part = |text: &str| json!({ "type": "output_text", "annotations": [], "logprobs": [], "text": text });
    let item = |status: &str, content: Value| json!({ "id": id, "type": "message", "status": status, "content": content, "role": "assistant" });
    events.open(&item("in_progress", json!([])));
    events.at("response.content_part.added", &at, &json!({ "part": part("") }));
    for delta in deltas {
        events.at("response.output_text.delta", &at, &json!({ "delta": delta, "logprobs": [] }));
    }
    events.at("response.output_text.done", &at, &json!({ "text": text, "logprobs": [] }));
    events.at("response.content_part.done", &at, &json!({ "part": part(&text) }));
    events.close(item("completed", json!([part(&text)])));
}

fn function_call(events: &mut Events, name: &str, arguments: &str) {
    let (id, call_id, index) = (id("fc_"), id("call_"), events.output.len());
    let at = json!({ "item_id": id, "output_index": index });
    let item = |status: &str, arguments: &str| {
        json!({
            "id": id, "type": "function_call", "status": status, "arguments": arguments, "call_id": call_id,
            "name": name,
        })
    };
    events.open(&item("in_progress", ""));
    for delta in by_chars(arguments) {
        events.at("response.function_call_arguments.delta", &at, &json!({ "delta": delta }));
    }
    events.at("response.function_call_arguments.done", &at, &json!({ "arguments": arguments, "name": name }));
    events.close(item("completed", arguments));
}

fn custom_call(events: &mut Events, name: &str, input: &str) {
    let (id, call_id, index) = (id("ctc_"), id("call_"), events.output.len());
    let at = json!({ "item_id": id, "output_index": index });
    let item = |status: &str, input: &str| {
        json!({
            "id": id, "type": "custom_tool_call", "status": status, "input": input, "call_id": call_id, "name": name,
        })
    };
    events.open(&item("in_progress", ""));
    for delta in by_chars(input) {
        events.at("response.custom_tool_call_input.delta", &at, &json!({ "delta": delta }));
    }
    events.at("response.custom_tool_call_input.done", &at, &json!({ "input": input }));
    events.close(item("completed", input));
}

/// Events under way, and the items that are complete.
#[derive(Default)]
struct Events {
    list: Vec<Value>,
    output: Vec<Value>,
}

impl Events {
    fn push(&mut self, event: &Value) {
        let number = json!({ "sequence_number": self.list.len() });
        self.list.push(merged([event, &number]));
    }

    fn at(&mut self, kind: &str, place: &Value, fields: &Value) {
        self.push(&merged([&json!({ "type": kind }), place, fields]));
    }

    fn open(&mut self, item: &Value) {
        let index = self.output.len();
        self.push(&json!({ "type": "response.output_item.added", "output_index": index, "item": item }));
    }

    fn close(&mut self, item: Value) {
        let index = self.output.len();
        self.push(&json!({ "type": "response.output_item.done", "output_index": index, "item": item }));
        self.output.push(item);
    }
}

/// One object with the fields of all, in their order.
fn merged<const N: usize>(objects: [&Value; N]) -> Value {
    let fields = objects.into_iter().filter_map(Value::as_object).flatten();
    Value::Object(fields.map(|(key, value)| (key.clone(), value.clone())).collect())
}

/// One server-sent event, named as its data's `type`.
fn event(data: &Value) -> Bytes {
    let name = data.get("type").and_then(Value::as_str).unwrap_or_default();
    Bytes::from(format!("event: {name}\ndata: {data}\n\n"))
}
