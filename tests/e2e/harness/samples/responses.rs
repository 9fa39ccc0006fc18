//! The samples in OpenAI Responses: every text stands in five places, and every event has its number.

use serde_json::{Value, json};

use super::{Call, event, halves};

/// A stream, told item by item. It knows what stands in the object at the end.
#[derive(Debug, Clone, Default)]
pub(super) struct Stream {
    number: u64,
    output: Vec<Value>,
    open: Option<String>,
}

const MESSAGE: &str = "msg_0aSample";

impl Stream {
    /// The beginning, before any item.
    pub(super) fn start(&mut self) -> String {
        let begun = response("in_progress", &[]);
        self.event("response.created", json!({ "response": begun }))
            + &self.event("response.in_progress", json!({ "response": begun }))
    }

    /// Opens the message.
    pub(super) fn open_text(&mut self) -> String {
        self.open = Some(String::new());
        let place = self.output.len();
        let item = message("in_progress", &[]);
        let part = json!({ "item_id": MESSAGE, "output_index": place, "content_index": 0, "part": text("") });
        self.event("response.output_item.added", json!({ "output_index": place, "item": item }))
            + &self.event("response.content_part.added", part)
    }

    /// Says one more piece of the open text.
    pub(super) fn delta(&mut self, piece: &str) -> String {
        self.open.as_mut().expect("a text is open").push_str(piece);
        let mut data = self.part();
        data["delta"] = piece.into();
        data["logprobs"] = json!([]);
        self.event("response.output_text.delta", data)
    }

    /// Closes the message.
    pub(super) fn close_text(&mut self) -> String {
        let place = self.output.len();
        let (mut done, mut part) = (self.part(), self.part());
        let said = self.open.take().expect("a text is open");
        done["text"] = said.as_str().into();
        done["logprobs"] = json!([]);
        part["part"] = text(&said);
        let item = message("completed", &[text(&said)]);
        self.output.push(item.clone());
        self.event("response.output_text.done", done)
            + &self.event("response.content_part.done", part)
            + &self.event("response.output_item.done", json!({ "output_index": place, "item": item }))
    }

    /// Makes one call, its arguments cut in half.
    pub(super) fn call(&mut self, call: &Call) -> String {
        let place = self.output.len();
        let item = called(call);
        let mut begun = item.clone();
        begun["arguments"] = "".into();
        begun["status"] = "in_progress".into();
        let mut stream = self.event("response.output_item.added", json!({ "output_index": place, "item": begun }));
        let (id, arguments) = (&item["id"], call.2);
        for half in halves(arguments) {
            let delta = json!({ "item_id": id, "output_index": place, "delta": half });
            stream += &self.event("response.function_call_arguments.delta", delta);
        }
        let done = json!({ "item_id": id, "output_index": place, "arguments": arguments });
        stream += &self.event("response.function_call_arguments.done", done);
        stream += &self.event("response.output_item.done", json!({ "output_index": place, "item": item }));
        self.output.push(item);
        stream
    }

    /// The end.
    pub(super) fn end(&mut self) -> String {
        let response = response("completed", &self.output);
        self.event("response.completed", json!({ "response": response }))
    }

    /// Where the open text is.
    fn part(&self) -> Value {
        json!({ "item_id": MESSAGE, "output_index": self.output.len(), "content_index": 0 })
    }

    fn event(&mut self, kind: &str, mut data: Value) -> String {
        data["type"] = kind.into();
        data["sequence_number"] = self.number.into();
        self.number += 1;
        event(&data)
    }
}

/// The body of an answer that is not streamed.
pub(super) fn whole(said: &str, calls: &[Call]) -> Value {
    let text = (!said.is_empty()).then(|| message("completed", &[text(said)]));
    let output: Vec<Value> = text.into_iter().chain(calls.iter().map(called)).collect();
    response("completed", &output)
}

fn response(status: &str, output: &[Value]) -> Value {
    let usage = (status == "completed").then(|| {
        json!({
            "input_tokens": 3, "input_tokens_details": { "cached_tokens": 0 }, "output_tokens": 5,
            "output_tokens_details": { "reasoning_tokens": 0 }, "total_tokens": 8,
        })
    });
    json!({
        "id": "resp_0aSample", "object": "response", "created_at": 1_795_000_000, "status": status, "background": false,
        "error": null, "incomplete_details": null, "instructions": null, "max_output_tokens": null, "model": "gpt-test",
        "output": output, "parallel_tool_calls": true, "previous_response_id": null,
        "reasoning": { "effort": "low", "summary": null }, "store": true, "temperature": 1.0,
        "text": { "format": { "type": "text" }, "verbosity": "medium" }, "tool_choice": "auto", "tools": [],
        "top_p": 1.0, "truncation": "disabled", "usage": usage, "metadata": {},
    })
}

fn message(status: &str, content: &[Value]) -> Value {
    json!({ "id": MESSAGE, "type": "message", "status": status, "role": "assistant", "content": content })
}

fn text(said: &str) -> Value {
    json!({ "type": "output_text", "text": said, "annotations": [], "logprobs": [] })
}

fn called((id, name, arguments): &Call) -> Value {
    json!({
        "id": format!("fc_{id}"), "type": "function_call", "status": "completed", "call_id": id, "name": name,
        "arguments": arguments,
    })
}
