//! Responses: items and parts dense and added before they are used, every text the same in all its places, events
//! numbered without a gap, and a terminal object that lists what was done.

use std::collections::HashSet;

use serde_json::Value;

use super::{
    super::reader::sse::{self, Sse},
    Arguments, arguments,
};

#[derive(Default)]
struct Checker {
    problems: Problems,
    /// The id of the response, once it is created.
    response: Option<Value>,
    sequence: Option<u64>,
    items: Vec<Item>,
    /// The ids of all of them.
    ids: HashSet<String>,
    ended: bool,
}

#[derive(Default)]
struct Problems(Vec<String>);

struct Item {
    added: Value,
    content: Vec<Part>,
    summary: Vec<Part>,
    /// What a call is called with.
    text: Said,
    done: Option<Value>,
    cut: bool,
}

struct Part {
    kind: String,
    said: Said,
    annotations: u64,
    done: Option<Value>,
}

/// A text as its deltas add up, and as it is repeated at its end.
#[derive(Default)]
struct Said {
    sum: String,
    done: Option<String>,
}

/// The names of the events that say the text of a part, the part's type, and the member that repeats the text.
const TEXTS: [(&str, &str, &str); 4] = [
    ("response.output_text", "output_text", "text"),
    ("response.refusal", "refusal", "refusal"),
    ("response.reasoning_text", "reasoning_text", "text"),
    ("response.reasoning_summary_text", "summary_text", "text"),
];

/// The same for the texts that an item itself has.
const CALLS: [(&str, &str, &str); 4] = [
    ("response.function_call_arguments", "function_call", "arguments"),
    ("response.custom_tool_call_input", "custom_tool_call", "input"),
    ("response.mcp_call_arguments", "mcp_call", "arguments"),
    ("response.code_interpreter_call_code", "code_interpreter_call", "code"),
];

pub fn problems(events: &[Sse]) -> Vec<String> {
    let mut checker = Checker::default();
    for event in events {
        checker.event(event);
    }
    checker.problems.expect(checker.ended, "the stream does not end");
    checker.problems.0
}

impl Problems {
    fn expect(&mut self, holds: bool, problem: &str) {
        if !holds {
            self.0.push(problem.to_owned());
        }
    }
}

impl Checker {
    fn event(&mut self, event: &Sse) {
        self.problems.expect(!self.ended, "something stands behind the end");
        if event.data.trim() == "[DONE]" {
            return self.problems.expect(false, "[DONE] is no event of this dialect");
        }
        let Some(data) = sse::json(&event.data) else { return self.problems.expect(false, "data is not JSON") };
        let kind = data["type"].as_str().unwrap_or_default();
        self.problems.expect(event.name.as_deref() == Some(kind), "an event is not called what its type says");
        self.number(&data);
        if kind == "keepalive" {
            return;
        }
        if kind == "error" {
            self.ended = true;
            let error = if data["error"].is_object() { &data["error"] } else { &data };
            return self.failure(error);
        }
        let first = self.response.is_none();
        self.problems.expect(first == (kind == "response.created"), "response.created is not the first event alone");
        match kind {
            "response.created"
            | "response.queued"
            | "response.in_progress"
            | "response.completed"
            | "response.incomplete"
            | "response.failed" => self.lifecycle(kind, &data["response"]),
            "response.output_item.added" => self.added(&data),
            _ if data["output_index"].is_null() => {}
            _ => self.of_item(kind, &data),
        }
    }

    fn number(&mut self, data: &Value) {
        let number = data["sequence_number"].as_u64();
        let follows = self.sequence.map_or(number == Some(0), |last| number == Some(last + 1));
        self.problems.expect(number.is_some(), "an event has no sequence_number");
        self.problems.expect(number.is_none() || follows, "sequence_number does not go up by one");
        self.sequence = number.or(self.sequence);
    }

    fn failure(&mut self, error: &Value) {
        self.problems.expect(error["message"].is_string(), "an error without a message");
        self.problems.expect(error["code"].is_string(), "an error without a code");
    }

    fn lifecycle(&mut self, kind: &str, response: &Value) {
        let id = self.response.get_or_insert_with(|| response["id"].clone());
        self.problems.expect(response["id"] == *id && id.is_string(), "the id of the response changes");
        let status = response["status"].as_str().unwrap_or_default();
        let word = kind.trim_start_matches("response.");
        let fits = match word {
            "created" => matches!(status, "in_progress" | "queued"),
            _ => status == word,
        };
        self.problems.expect(fits, &format!("{kind} with the status {status}"));
        self.ended = matches!(word, "completed" | "incomplete" | "failed");
        match word {
            "completed" | "incomplete" => self.terminal(response, word == "incomplete"),
            "failed" => {
                self.failure(&response["error"]);
                let unknown = |item: &Value| !self.items.iter().any(|known| known.done.as_ref() == Some(item));
                let made_up = response["output"].as_array().is_some_and(|output| output.iter().any(unknown));
                self.problems.expect(!made_up, "the output of a failure has what was not done");
            }
            _ => {
                let empty = response["output"].as_array().is_none_or(Vec::is_empty);
                self.problems.expect(empty, "a response has output before it is streamed");
            }
        }
    }

    fn terminal(&mut self, response: &Value, incomplete: bool) {
        let problems = &mut self.problems;
        let reason = response["incomplete_details"]["reason"].is_string();
        problems.expect(reason == incomplete, "incomplete_details does not fit the status");
        problems.expect(response["error"].is_null(), "an answer that did not fail has an error");
        problems.expect(self.items.iter().all(|item| item.done.is_some()), "the end while an item is open");
        problems.expect(incomplete || !self.items.iter().any(|item| item.cut), "half of a tool call was closed");
        let Some(output) = response["output"].as_array() else {
            return problems.expect(false, "the terminal output is not a list");
        };
        let known: Vec<&Value> = self.items.iter().filter_map(|item| item.done.as_ref()).collect();
        problems.expect(known.len() == output.len(), "the terminal output has other items than were done");
        for (said, done) in output.iter().zip(known) {
            problems.expect(identity(said) == identity(done), "the terminal output has another item than was done");
            problems.expect(unsealed(said) == unsealed(done), "the terminal output says an item differently");
        }
        let prose = output.iter().filter(|item| item["type"] == "message");
        let parts = prose.flat_map(|item| item["content"].as_array().into_iter().flatten());
        let text: String = parts.filter_map(|part| part["text"].as_str()).collect();
        let agrees = response["output_text"].as_str().is_none_or(|said| same(said, &text));
        problems.expect(agrees, "output_text is not what the items say");
    }

    fn added(&mut self, data: &Value) {
        let item = &data["item"];
        let index = data["output_index"].as_u64();
        self.problems.expect(index == Some(self.items.len() as u64), "a gap in output_index");
        self.problems.expect(item["type"].is_string() && item["id"].is_string(), "an item without type or id");
        let own: HashSet<String> = ids(item).collect();
        self.problems.expect(self.ids.is_disjoint(&own), "two items have one id");
        self.ids.extend(own);
        let bare = |key: &str| item[key].as_array().is_none_or(Vec::is_empty);
        self.problems.expect(bare("content") && bare("summary"), "an item has parts before they are added");
        let call = CALLS.iter().find(|(_, of, _)| item["type"] == *of);
        let silent = call.is_none_or(|(_, _, key)| item[*key].as_str().unwrap_or_default().is_empty());
        self.problems.expect(silent, "a call has its text before it is streamed");
        let is_call = matches!(item["type"].as_str(), Some("function_call" | "custom_tool_call"));
        let named = item["name"].is_string() && item["call_id"].is_string();
        self.problems.expect(!is_call || named, "a call without call_id or name");
        let role = item["type"] != "message" || item["role"] == "assistant";
        self.problems.expect(role, "a message of another role");
        self.items.push(Item {
            added: item.clone(),
            content: Vec::new(),
            summary: Vec::new(),
            text: Said::default(),
            done: None,
            cut: false,
        });
    }

    fn of_item(&mut self, kind: &str, data: &Value) {
        let index = data["output_index"].as_u64().and_then(|index| usize::try_from(index).ok());
        let problems = &mut self.problems;
        let Some(item) = index.and_then(|index| self.items.get_mut(index)) else {
            return problems.expect(false, "an event of an item that was not added");
        };
        problems.expect(item.done.is_none(), "an item goes on behind its end");
        if kind == "response.output_item.done" {
            return item.close(&data["item"], problems);
        }
        problems.expect(data["item_id"] == item.added["id"], "item_id is not that of the item");
        let parts = if data["summary_index"].is_null() { &mut item.content } else { &mut item.summary };
        let at = data["content_index"].as_u64().or(data["summary_index"].as_u64());
        let at = at.and_then(|at| usize::try_from(at).ok());
        match kind {
            "response.content_part.added" | "response.reasoning_summary_part.added" => {
                problems.expect(at == Some(parts.len()), "a gap in the indices of parts");
                let part = Part::new(&data["part"]);
                let fits = matches!(
                    (item.added["type"].as_str(), part.kind.as_str()),
                    (Some("message"), "output_text" | "refusal")
                        | (Some("reasoning"), "reasoning_text" | "summary_text")
                );
                problems.expect(fits, "a part that its item cannot have");
                problems.expect(text_of(&data["part"]) == Some(""), "a part has text before it is streamed");
                parts.push(part);
            }
            "response.content_part.done" | "response.reasoning_summary_part.done" => {
                match at.and_then(|at| parts.get_mut(at)) {
                    Some(part) => part.close(&data["part"], problems),
                    None => problems.expect(false, "the end of a part that was not added"),
                }
            }
            "response.output_text.annotation.added" => match at.and_then(|at| parts.get_mut(at)) {
                Some(part) => {
                    let next = data["annotation_index"] == part.annotations;
                    problems.expect(next && part.done.is_none(), "an annotation out of its turn");
                    part.annotations += 1;
                }
                None => problems.expect(false, "an annotation of a part that was not added"),
            },
            _ => {
                if let Some((name, of, key)) = TEXTS.into_iter().find(|(name, ..)| is_text_event(kind, name)) {
                    let Some(part) = at.and_then(|at| parts.get_mut(at)) else {
                        return problems.expect(false, "text of a part that was not added");
                    };
                    problems.expect(part.kind == of, &format!("{name} in a part {}", part.kind));
                    problems.expect(part.done.is_none(), "a part goes on behind its end");
                    part.said.event(kind, data, key, problems);
                } else if let Some((name, of, key)) = CALLS.into_iter().find(|(name, ..)| is_text_event(kind, name)) {
                    problems.expect(item.added["type"] == of, &format!("{name} in an item {}", item.added["type"]));
                    let named = data["name"].is_null() || data["name"] == item.added["name"];
                    problems.expect(named, "a call changes its name");
                    item.text.event(kind, data, key, problems);
                }
            }
        }
    }
}

impl Item {
    fn close(&mut self, item: &Value, problems: &mut Problems) {
        problems.expect(identity(item) == identity(&self.added), "what an item is changes at its end");
        let settled =
            item["status"].is_null() || matches!(item["status"].as_str(), Some(status) if status != "in_progress");
        problems.expect(settled, "an item is in progress at its end");
        for (key, parts) in [("content", &self.content), ("summary", &self.summary)] {
            let said = item[key].as_array().map(Vec::as_slice).unwrap_or_default();
            let all = parts.iter().all(|part| part.done.is_some());
            problems.expect(all, "an item is done before its parts are");
            problems.expect(said.len() == parts.len(), "an item has other parts at its end than were added");
            for (said, part) in said.iter().zip(parts) {
                problems.expect(part.done.as_ref() == Some(said), "an item says a part differently");
            }
        }
        if let Some((_, _, key)) = CALLS.iter().find(|(_, of, _)| item["type"] == *of) {
            let text = item[*key].as_str().unwrap_or_default();
            problems.expect(same(text, &self.text.sum), "an item says its text differently than the deltas");
            problems.expect(text.is_empty() || self.text.done.is_some(), "a call is done before its text is");
            if item["type"] == "function_call" {
                let arguments = arguments(text);
                problems.expect(arguments != Arguments::Malformed, "the arguments of a call are not JSON");
                self.cut = arguments == Arguments::Cut && item["status"] != "incomplete";
            }
        }
        self.done = Some(item.clone());
    }
}

impl Part {
    fn new(part: &Value) -> Self {
        let kind = part["type"].as_str().unwrap_or_default().to_owned();
        Self { kind, said: Said::default(), annotations: 0, done: None }
    }

    fn close(&mut self, part: &Value, problems: &mut Problems) {
        problems.expect(self.done.is_none(), "the end of a part is said again");
        problems.expect(part["type"] == self.kind, "a part changes its type");
        let text = text_of(part);
        problems
            .expect(text.is_some_and(|text| same(text, &self.said.sum)), "a part says another text than the deltas");
        problems.expect(self.said.done.is_some(), "a part is done before its text is");
        if self.kind == "output_text" {
            let annotations = part["annotations"].as_array();
            problems.expect(annotations.is_some(), "a text without annotations, which clients read");
            let count = annotations.map_or(0, |annotations| annotations.len() as u64);
            problems.expect(count <= self.annotations, "an annotation that no event added");
            let longest = text.unwrap_or_default().encode_utf16().count() as u64;
            let inside = |at: &Value| at["end_index"].as_u64().is_none_or(|end| end <= longest);
            problems.expect(annotations.into_iter().flatten().all(inside), "an annotation of more than the text");
        }
        problems.expect(tokens(part).is_none_or(|tokens| same(&tokens, &self.said.sum)), OTHER_TOKENS);
        self.done = Some(part.clone());
    }
}

const OTHER_TOKENS: &str = "log probabilities are of another text";

impl Said {
    fn event(&mut self, kind: &str, data: &Value, key: &str, problems: &mut Problems) {
        problems.expect(self.done.is_none(), "a text goes on behind its end");
        let said = if kind.strip_suffix(".delta").is_some() {
            let delta = data["delta"].as_str();
            self.sum.push_str(delta.unwrap_or_default());
            delta
        } else {
            self.done = data[key].as_str().map(str::to_owned);
            let done = self.done.as_deref();
            problems.expect(done.is_none_or(|done| same(done, &self.sum)), "a text ends as another than its deltas");
            done
        };
        problems.expect(said.is_some(), "a text event without its text");
        let of = said.unwrap_or_default();
        problems.expect(tokens(data).is_none_or(|tokens| same(&tokens, of)), OTHER_TOKENS);
    }
}

fn is_text_event(kind: &str, name: &str) -> bool {
    matches!(kind.strip_prefix(name), Some(".delta" | ".done"))
}

/// The text that a part says.
fn text_of(part: &Value) -> Option<&str> {
    part["text"].as_str().or(part["refusal"].as_str())
}

/// The text that log probabilities are of. `None`: there are none.
fn tokens(data: &Value) -> Option<String> {
    let tokens = data["logprobs"].as_array().filter(|tokens| !tokens.is_empty())?;
    Some(tokens.iter().filter_map(|token| token["token"].as_str()).collect())
}

/// Whether two texts are one, however their surrogate pairs are written.
fn same(one: &str, other: &str) -> bool {
    sse::joined(one, false) == sse::joined(other, false)
}

/// An item without what is sealed in it, which providers seal anew each time they say it.
fn unsealed(item: &Value) -> Value {
    let mut item = item.clone();
    item.as_object_mut().map(|item| item.remove("encrypted_content"));
    item
}

fn ids(item: &Value) -> impl Iterator<Item = String> {
    // A call and its output share the `call_id`.
    let is_output = item["type"].as_str().is_some_and(|kind| kind.ends_with("_output"));
    let call = item["call_id"].as_str().filter(|_| !is_output).map(str::to_owned);
    item["id"].as_str().map(str::to_owned).into_iter().chain(call)
}

/// What must stay the same from an item's beginning to the terminal object.
fn identity(item: &Value) -> [&Value; 5] {
    ["type", "id", "call_id", "name", "role"].map(|key| &item[key])
}
