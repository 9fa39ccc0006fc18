//! What a stream that the gateway wrote must keep to, whatever it was made from. Read from an SDK's items, apart from the
//! crate. Each rule is a mistake that somebody's converter made.

use std::collections::BTreeSet;

use serde_json::Value;

use super::read::{list, word};
use crate::common::streams::Dialect;

/// What is wrong with a stream. A stream that reports a failure may end where it does.
pub(super) fn problems(dialect: Dialect, items: &[Value], failed: bool) -> Vec<String> {
    let mut problems = Problems(Vec::new());
    match dialect {
        Dialect::Anthropic => messages(items, failed, &mut problems),
        Dialect::OpenaiChat => chat(items, failed, &mut problems),
        Dialect::OpenaiResponses => responses(items, failed, &mut problems),
    }
    problems.0
}

struct Problems(Vec<String>);

impl Problems {
    fn check(&mut self, holds: bool, item: &Value, problem: &str) {
        if !holds {
            self.0.push(format!("{problem}: {item}"));
        }
    }
}

fn messages(items: &[Value], failed: bool, problems: &mut Problems) {
    /// The open block: its number, its start, its text so far.
    type Open = Option<(u64, Value, String)>;
    let (mut open, mut next, mut calls, mut stop): (Open, u64, u32, Option<String>) = (None, 0, 0, None);
    let mut is_cut = false;
    for (number, item) in items.iter().enumerate() {
        let kind = word(&item["type"]);
        problems.check((number == 0) == (kind == "message_start"), item, "message_start comes first and once");
        problems.check(stop.is_none() || kind == "message_stop", item, "something after the stop reason");
        match kind.as_str() {
            "content_block_start" => {
                problems.check(open.is_none(), item, "a block begins inside another");
                problems.check(item["index"] == next, item, "a block's number is not the next one");
                let block = item["content_block"].clone();
                if block["type"] == "tool_use" {
                    calls += 1;
                    problems.check(!word(&block["id"]).is_empty(), item, "a call without an id");
                    problems.check(!word(&block["name"]).is_empty(), item, "a call without a name");
                }
                open = Some((next, block, String::new()));
                next += 1;
            }
            "content_block_delta" => {
                let delta = &item["delta"];
                let Some((index, block, text)) = &mut open else {
                    problems.check(false, item, "a delta to no open block");
                    continue;
                };
                problems.check(item["index"] == *index, item, "a delta to a block that is not open");
                let (field, fits) = match word(&delta["type"]).as_str() {
                    "text_delta" => ("text", block["type"] == "text"),
                    "thinking_delta" => ("thinking", block["type"] == "thinking"),
                    "signature_delta" => ("signature", block["type"] == "thinking"),
                    "input_json_delta" => ("partial_json", word(&block["type"]).ends_with("tool_use")),
                    _ => ("", true),
                };
                problems.check(fits, item, "a delta that does not fit its block");
                if block["type"] == "text" && field == "text" {
                    problems.check(!word(&delta[field]).is_empty(), item, "an empty text delta");
                }
                *text += &word(&delta[field]);
            }
            "content_block_stop" => {
                let Some((index, block, text)) = open.take() else {
                    problems.check(false, item, "no block is open");
                    continue;
                };
                problems.check(item["index"] == index, item, "another block ends than is open");
                if block["type"] == "text" {
                    problems.check(!(text.clone() + &word(&block["text"])).is_empty(), &block, "an empty text block");
                }
                if block["type"] == "tool_use" && !text.is_empty() {
                    let input = serde_json::from_str::<Value>(&text);
                    is_cut |= !input.is_ok_and(|input| input.is_object());
                }
            }
            "message_delta" => {
                problems.check(open.is_none(), item, "the answer stops while a block is open");
                stop = item["delta"]["stop_reason"].as_str().map(str::to_owned);
            }
            _ => {}
        }
    }
    let last = items.last().unwrap_or(&Value::Null);
    if failed {
        problems.check(last["type"] != "message_stop", last, "a failed answer ends as if it were whole");
        return;
    }
    problems.check(last["type"] == "message_stop", last, "the end is missing");
    let stop = stop.unwrap_or_default();
    problems.check(!is_cut || stop == "max_tokens", last, "input that is no JSON object");
    problems.check(stop != "tool_use" || calls > 0, last, "tool_use without a call");
    problems.check(stop != "end_turn" || calls == 0, last, "a call without tool_use");
}

fn chat(items: &[Value], failed: bool, problems: &mut Problems) {
    let (mut roles, mut calls, mut finish): (u32, u64, Option<String>) = (0, 0, None);
    for (number, item) in items.iter().enumerate() {
        for field in ["id", "model", "created", "object"] {
            problems.check(item[field] == items[0][field] && !item[field].is_null(), item, field);
        }
        let choices = list(&item["choices"]);
        problems.check(!choices.is_empty() || !item["usage"].is_null(), item, "a chunk that says nothing");
        for choice in choices {
            let delta = &choice["delta"];
            problems.check(finish.is_none(), item, "something after the finish reason");
            problems.check(choice["index"] == 0, item, "a second choice");
            if !delta["role"].is_null() {
                roles += 1;
                problems.check(number == 0, item, "a role in a later chunk");
            }
            problems.check(number == 0 || delta["content"] != "", item, "an empty text delta");
            problems.check(delta["tool_calls"] != serde_json::json!([]), item, "an empty list of calls");
            for call in list(&delta["tool_calls"]) {
                let function = &call["function"];
                if call["id"].is_null() {
                    problems.check(call["index"].as_u64().is_some_and(|at| at < calls), item, "no such call");
                    problems.check(function["name"].is_null(), item, "a name twice");
                    problems.check(function["arguments"] != "", item, "an empty fragment of arguments");
                } else {
                    problems.check(call["index"] == calls, item, "a call's number is not the next one");
                    problems.check(!word(&function["name"]).is_empty(), item, "a call without a name");
                    problems.check(call["type"] == "function", item, "a call without a type");
                    calls += 1;
                }
            }
            if let Some(reason) = choice["finish_reason"].as_str() {
                finish = Some(reason.to_owned());
            }
        }
    }
    let last = items.last().unwrap_or(&Value::Null);
    problems.check(roles == 1 || items.is_empty(), last, "the role comes once");
    if failed {
        problems.check(finish.is_none(), last, "a failed answer ends as if it were whole");
        return;
    }
    problems.check(finish.is_some(), last, "the end is missing");
    let finish = finish.unwrap_or_default();
    problems.check(finish != "tool_calls" || calls > 0, last, "tool_calls without a call");
    problems.check(finish != "stop" || calls == 0, last, "a call without tool_calls");
}

fn responses(items: &[Value], failed: bool, problems: &mut Problems) {
    let mut open: Option<(Value, String)> = None;
    let (mut done, mut parts): (Vec<Value>, BTreeSet<String>) = (Vec::new(), BTreeSet::new());
    let ends = ["response.completed", "response.incomplete", "response.failed", "error"];
    for (number, item) in items.iter().enumerate() {
        let kind = word(&item["type"]);
        problems.check(item["sequence_number"] == number, item, "sequence numbers go up by one from 0");
        problems.check((number == 0) == (kind == "response.created"), item, "response.created comes first and once");
        // What breaks off in mid-stream has no end.
        let (is_end, is_last) = (ends.contains(&kind.as_str()), number + 1 == items.len());
        problems.check(is_end == is_last || (is_last && failed), item, "one end, at the end");
        if !item["output_index"].is_null() {
            problems.check(item["output_index"] == done.len(), item, "the number of an item that is not open");
        }
        if let (Some(id), Some((open, _))) = (item["item_id"].as_str(), &open) {
            problems.check(open["id"] == id, item, "the id of another item");
        }
        match kind.as_str() {
            "response.output_item.added" => {
                problems.check(open.is_none(), item, "an item begins inside another");
                open = Some((item["item"].clone(), String::new()));
            }
            "response.output_item.done" => {
                let Some((begun, text)) = open.take() else {
                    problems.check(false, item, "an item ends that did not begin");
                    continue;
                };
                let item = &item["item"];
                problems.check(begun["id"] == item["id"] && begun["type"] == item["type"], item, "another item ends");
                problems.check(parts.is_empty(), item, "an item ends with an open part");
                if item["type"] == "message" {
                    problems.check(said(item) == text && !text.is_empty(), item, "an item's text is not what was said");
                }
                if item["type"] == "function_call" {
                    problems.check(item["arguments"] == text, item, "a call's arguments are not what was said");
                }
                done.push(item.clone());
            }
            "response.content_part.added" | "response.reasoning_summary_part.added" => {
                problems.check(open.is_some(), item, "a part of no item");
                problems.check(parts.insert(part(item)), item, "a part twice");
            }
            "response.content_part.done" | "response.reasoning_summary_part.done" => {
                problems.check(parts.remove(&part(item)), item, "a part ends that did not begin");
            }
            "response.output_text.delta" | "response.refusal.delta" => {
                problems.check(parts.contains(&part(item)), item, "text of no part");
                problems.check(!word(&item["delta"]).is_empty(), item, "an empty text delta");
                if let Some((_, text)) = &mut open {
                    *text += &word(&item["delta"]);
                }
            }
            "response.function_call_arguments.delta" => {
                problems.check(open.is_some(), item, "arguments of no call");
                if let Some((_, text)) = &mut open {
                    *text += &word(&item["delta"]);
                }
            }
            _ => {}
        }
    }
    let last = items.last().unwrap_or(&Value::Null);
    let whole = ["response.completed", "response.incomplete"].contains(&word(&last["type"]).as_str());
    problems.check(whole != failed, last, "the end is not the one that it should be");
    if whole {
        problems.check(open.is_none(), last, "the answer ends inside an item");
        let output = list(&last["response"]["output"]);
        let same = output.len() == done.len()
            && output.iter().zip(&done).all(|(last, done)| {
                (&last["id"], &last["arguments"], said(last)) == (&done["id"], &done["arguments"], said(done))
            });
        problems.check(same, last, "the end tells another output than was streamed");
        problems.check(last["response"]["usage"].is_object(), last, "the end has no usage");
    }
}

/// Names a part of an item.
fn part(event: &Value) -> String {
    format!("{}/{}", event["content_index"], event["summary_index"])
}

fn said(item: &Value) -> String {
    list(&item["content"]).iter().map(|part| word(&part["text"]) + &word(&part["refusal"])).collect()
}
