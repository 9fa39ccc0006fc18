//! What a provider refuses in a request: the fields that it does not know, and histories that it does not take.

use std::collections::BTreeSet;

use serde_json::Value;

use super::read::{list, word};
use crate::{common::streams::Dialect, fakes::provider::Received};

/// What the request would be refused for.
pub(super) fn problems(dialect: Dialect, request: &Received) -> Vec<String> {
    let mut problems = Vec::new();
    let path = request.path.split('?').next().unwrap_or_default();
    let mut check = |holds: bool, problem: &str| {
        if !holds {
            problems.push(problem.to_owned());
        }
    };
    check(request.method == "POST" && path == dialect.path(), &format!("{} {}", request.method, request.path));
    check(request.header("content-type").is_some_and(|kind| kind.starts_with("application/json")), "content type");
    let bearer = request.header("authorization") == Some("Bearer sk-test-client");
    if dialect == Dialect::Anthropic {
        check(bearer || request.header("x-api-key") == Some("sk-test-client"), "no credential");
        check(request.header("anthropic-version").is_some(), "no anthropic-version");
    } else {
        check(bearer, "no bearer token");
        check(request.header("x-api-key").is_none(), "an x-api-key");
        check(!request.headers.iter().any(|(name, _)| name.starts_with("anthropic-")), "a header of Anthropic's");
    }
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let known = fields(dialect);
    for field in body.as_object().into_iter().flat_map(|body| body.keys()) {
        check(known.contains(&field.as_str()), &format!("the field `{field}`"));
    }
    check(!body.to_string().contains("luthien1."), "sealed reasoning");
    let found = match dialect {
        Dialect::Anthropic => messages(&body),
        Dialect::OpenaiChat => chat(&body),
        Dialect::OpenaiResponses => responses(&body),
    };
    problems.extend(found);
    problems
}

/// The fields that the matrix may see.
fn fields(dialect: Dialect) -> &'static [&'static str] {
    match dialect {
        Dialect::Anthropic => &[
            "model",
            "max_tokens",
            "messages",
            "system",
            "stream",
            "tools",
            "tool_choice",
            "thinking",
            "output_config",
            "metadata",
            "stop_sequences",
            "temperature",
            "top_p",
            "service_tier",
        ],
        Dialect::OpenaiChat => &[
            "model",
            "messages",
            "max_completion_tokens",
            "max_tokens",
            "stream",
            "stream_options",
            "tools",
            "tool_choice",
            "parallel_tool_calls",
            "response_format",
            "reasoning_effort",
            "stop",
            "temperature",
            "top_p",
            "user",
            "service_tier",
            "safety_identifier",
            "prompt_cache_key",
            "store",
            "verbosity",
        ],
        Dialect::OpenaiResponses => &[
            "model",
            "input",
            "instructions",
            "max_output_tokens",
            "stream",
            "tools",
            "tool_choice",
            "parallel_tool_calls",
            "text",
            "reasoning",
            "include",
            "store",
            "temperature",
            "top_p",
            "user",
            "service_tier",
            "safety_identifier",
            "prompt_cache_key",
            "stream_options",
        ],
    }
}

fn messages(body: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    let mut check = |holds: bool, problem: String| {
        if !holds {
            problems.push(problem);
        }
    };
    check(body["max_tokens"].as_u64().is_some_and(|limit| limit > 0), "no max_tokens".to_owned());
    let budget = body["thinking"]["budget_tokens"].as_u64().unwrap_or_default();
    check(body["max_tokens"].as_u64() > Some(budget), "a budget that is no part of max_tokens".to_owned());
    let mut last = String::new();
    let mut waiting: Vec<String> = Vec::new();
    // With a budget, a turn that goes on after its calls must have begun with thinking. Adaptive thinking asks no such
    // thing.
    let assistant = list(&body["messages"]).iter().rfind(|message| message["role"] == "assistant");
    let last_blocks = assistant.map(|message| list(&message["content"])).unwrap_or_default();
    let begun = word(&last_blocks.first().unwrap_or(&Value::Null)["type"]).ends_with("thinking");
    let calls = last_blocks.iter().any(|block| block["type"] == "tool_use");
    check(
        body["thinking"]["type"] != "enabled" || !calls || begun,
        "a budget, and no thinking before calls".to_owned(),
    );
    for message in list(&body["messages"]) {
        let role = word(&message["role"]);
        check(role != last, format!("two messages of {role} in a row"));
        let blocks = list(&message["content"]);
        check(
            message["content"] != "" && message["content"] != serde_json::json!([]),
            format!("nothing said: {message}"),
        );
        let results: Vec<_> = blocks
            .iter()
            .take_while(|block| block["type"] == "tool_result")
            .map(|block| word(&block["tool_use_id"]))
            .collect();
        check(results == waiting, format!("calls {waiting:?}, results {results:?}"));
        let all = blocks.iter().filter(|block| block["type"] == "tool_result").count();
        check(all == results.len(), format!("a result behind something else: {message}"));
        waiting.clear();
        let mut after_call = false;
        for block in blocks {
            let kind = word(&block["type"]);
            check(kind != "text" || !word(&block["text"]).trim().is_empty(), "an empty text".to_owned());
            let proven = !word(&block["signature"]).is_empty() && block["thinking"].is_string();
            check(kind != "thinking" || proven, format!("thinking that nothing proves: {block}"));
            check(kind != "tool_use" || block["input"].is_object(), format!("no input: {block}"));
            check(!(after_call && kind == "thinking"), "thinking behind a call".to_owned());
            if kind == "tool_use" {
                after_call = true;
                waiting.push(word(&block["id"]));
            }
        }
        last = role;
    }
    check(list(&body["messages"]).first().is_some_and(|first| first["role"] == "user"), "no user first".to_owned());
    check(last == "user", format!("{last} last"));
    problems
}

fn chat(body: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    let mut check = |holds: bool, problem: String| {
        if !holds {
            problems.push(problem);
        }
    };
    check(body["stream"] == true || body["stream_options"].is_null(), "stream_options without a stream".to_owned());
    let mut waiting: Vec<String> = Vec::new();
    for message in list(&body["messages"]) {
        let content = &message["content"];
        if message["role"] == "tool" {
            let id = word(&message["tool_call_id"]);
            check(waiting.first() == Some(&id), format!("a result of {id} where {waiting:?} are waited for"));
            waiting.retain(|waiting| *waiting != id);
            let only_text = content.is_string() || list(content).iter().all(|part| part["type"] == "text");
            check(only_text && !content.is_null(), format!("a result that is no text: {message}"));
            continue;
        }
        check(waiting.is_empty(), format!("no result of {waiting:?} before {message}"));
        check(message["tool_calls"] != serde_json::json!([]), "an empty list of calls".to_owned());
        for call in list(&message["tool_calls"]) {
            let arguments = word(&call["function"]["arguments"]);
            check(serde_json::from_str::<Value>(&arguments).is_ok(), format!("arguments: {call}"));
            check(call["type"] == "function", format!("a call without a type: {call}"));
            waiting.push(word(&call["id"]));
        }
        let said = !content.is_null() || !list(&message["tool_calls"]).is_empty();
        check(said && *content != "" && *content != serde_json::json!([]), format!("nothing said: {message}"));
    }
    check(waiting.is_empty(), format!("no result of {waiting:?}"));
    problems
}

fn responses(body: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    let mut check = |holds: bool, problem: String| {
        if !holds {
            problems.push(problem);
        }
    };
    check(body["store"] == false, "what is said would be stored".to_owned());
    let (mut called, mut answered) = (Vec::new(), BTreeSet::new());
    for item in list(&body["input"]) {
        match word(&item["type"]).as_str() {
            "function_call" => {
                let arguments = word(&item["arguments"]);
                check(serde_json::from_str::<Value>(&arguments).is_ok(), format!("arguments: {item}"));
                called.push(word(&item["call_id"]));
            }
            "function_call_output" => {
                let id = word(&item["call_id"]);
                check(called.contains(&id), format!("a result of no call: {item}"));
                check(!item["output"].is_null(), format!("a result without output: {item}"));
                answered.insert(id);
            }
            "reasoning" => {
                check(item["summary"].is_array(), format!("reasoning without a summary: {item}"));
                check(!word(&item["encrypted_content"]).is_empty(), format!("reasoning that nothing proves: {item}"));
            }
            _ => {
                for part in list(&item["content"]) {
                    let fits = word(&part["type"]).starts_with("output_") == (item["role"] == "assistant");
                    check(fits || part["type"] == "refusal", format!("a part of the other role: {item}"));
                }
            }
        }
    }
    check(called.iter().all(|id| answered.contains(id)), format!("results of {answered:?} to calls {called:?}"));
    for tool in list(&body["tools"]) {
        check(tool["strict"].is_boolean(), format!("strict by default: {tool}"));
    }
    problems
}
