//! Chat Completions: per choice, id, name and role once, tool calls dense from 0, one reason, usage last.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    super::reader::sse::{self, Sse},
    Arguments, arguments,
};

#[derive(Default)]
struct Checker {
    problems: Vec<String>,
    choices: BTreeMap<u64, Choice>,
    usage: Usage,
    end: End,
}

/// Token counts, which every chunk sets anew.
#[derive(Default, PartialEq)]
enum Usage {
    #[default]
    Unsaid,
    Said,
    TakenBack,
}

#[derive(Default, PartialEq)]
enum End {
    #[default]
    Ahead,
    Done,
    Error,
}

#[derive(Default)]
struct Choice {
    role: bool,
    tools: Vec<Tool>,
    function: Option<Tool>,
    finish: Option<String>,
}

#[derive(Default)]
struct Tool {
    custom: bool,
    text: String,
}

pub fn problems(events: &[Sse]) -> Vec<String> {
    let mut checker = Checker::default();
    for event in events {
        checker.event(event);
    }
    checker.end();
    checker.problems
}

impl Checker {
    fn expect(&mut self, holds: bool, problem: &str) {
        if !holds {
            self.problems.push(problem.to_owned());
        }
    }

    fn event(&mut self, event: &Sse) {
        self.expect(self.end == End::Ahead, "something stands behind the end");
        if event.data.trim() == "[DONE]" {
            self.expect(event.data == "[DONE]", "[DONE] is not exact");
            self.end = End::Done;
            return;
        }
        let Some(data) = sse::json(&event.data) else {
            self.expect(false, "data is not JSON");
            return;
        };
        if !data["error"].is_null() {
            self.expect(data["error"]["message"].is_string(), "an error without a message");
            self.end = End::Error;
            return;
        }
        let Some(choices) = data["choices"].as_array() else {
            return self.expect(false, "choices is not an array");
        };
        self.usage = match (&self.usage, data["usage"].is_null()) {
            (_, false) => Usage::Said,
            (Usage::Unsaid, true) => Usage::Unsaid,
            (Usage::Said | Usage::TakenBack, true) => Usage::TakenBack,
        };
        let chunk = data["object"] == "chat.completion.chunk";
        self.expect(chunk || choices.iter().all(|choice| choice["delta"].is_null()), "a chunk is not called one");
        for choice in choices {
            self.choice(choice);
        }
    }

    fn choice(&mut self, said: &Value) {
        let Some(index) = said["index"].as_u64() else { return self.expect(false, "a choice without its index") };
        let known = (0..index).all(|before| self.choices.contains_key(&before));
        self.expect(known, "a choice begins before the one before it");
        let choice = self.choices.entry(index).or_default();
        let mut problems = Vec::new();
        choice.says(said, &mut problems);
        self.problems.extend(problems.into_iter().map(str::to_owned));
    }

    fn end(&mut self) {
        let finished = !self.choices.is_empty() && self.choices.values().all(|choice| choice.finish.is_some());
        let failed = self.end == End::Error;
        self.expect(failed || self.usage != Usage::TakenBack, "usage is not last");
        self.expect(failed || finished, "a choice has no finish_reason");
    }
}

impl Choice {
    fn says(&mut self, said: &Value, problems: &mut Vec<&'static str>) {
        let delta = &said["delta"];
        let mut expect = |holds: bool, problem| problems.extend((!holds).then_some(problem));
        let is_empty = |value: &Value| value.is_null() || *value == "" || *value == Value::Array(Vec::new());
        let silent = delta.as_object().is_none_or(|delta| delta.values().all(is_empty));
        expect(self.finish.is_none() || silent, "a choice goes on behind its finish_reason");
        if delta["role"].is_string() {
            expect(!std::mem::replace(&mut self.role, true), "role is said again");
        }
        for entry in delta["tool_calls"].as_array().into_iter().flatten() {
            let Some(index) = entry["index"].as_u64().and_then(|index| usize::try_from(index).ok()) else {
                expect(false, "a tool call without index");
                continue;
            };
            let custom = entry["custom"].is_object();
            let body = if custom { &entry["custom"] } else { &entry["function"] };
            if index >= self.tools.len() {
                expect(index == self.tools.len(), "a gap in the indices of tool calls");
                let named = entry["id"].is_string() && body["name"].is_string();
                expect(named, "a tool call begins without id or name");
                self.tools.resize_with(index + 1, Tool::default);
                self.tools[index].custom = custom;
            } else {
                let again = entry["id"].is_string() || body["name"].is_string();
                expect(!again, "id or name of a tool call is said again");
            }
            self.tools[index].text.push_str(body["arguments"].as_str().or(body["input"].as_str()).unwrap_or_default());
        }
        if let Some(call) = delta["function_call"].as_object() {
            let known = self.function.is_some();
            let named = call.get("name").is_some_and(Value::is_string);
            expect(known != named, "the name of function_call is not said once");
            let arguments = call.get("arguments").and_then(Value::as_str).unwrap_or_default();
            self.function.get_or_insert_default().text.push_str(arguments);
        }
        if let Some(reason) = said["finish_reason"].as_str() {
            expect(self.finish.is_none(), "finish_reason is said again");
            self.finish = Some(reason.to_owned());
            let tools = self.tools.len() + usize::from(self.function.is_some());
            expect(!matches!(reason, "tool_calls" | "function_call") || tools > 0, "tool_calls without a tool call");
            expect(reason != "stop" || tools == 0, "stop with a tool call");
            for tool in self.tools.iter().chain(&self.function).filter(|tool| !tool.custom) {
                match arguments(&tool.text) {
                    Arguments::Whole => {}
                    Arguments::Cut => expect(reason == "length", "half of a tool call was closed"),
                    Arguments::Malformed => expect(false, "the arguments of a tool call are not JSON"),
                }
            }
        }
    }
}
