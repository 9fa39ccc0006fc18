//! `command_guard`: commands and what becomes of them.

mod forms;
mod fuzz;

use std::sync::{Arc, LazyLock};

use luthien::{model::Dialect, policies, policy::Rules};
use serde_json::{Value, json};

use crate::core::support::{built_in, rules, run_body, try_built_in};

use bytes::Bytes;

const TABLE: &str = include_str!("commands.yaml");

/// What a command comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    Allow,
    Deny(String),
    Rewrite(String),
}

/// An answer with one tool call.
fn answer(dialect: Dialect, tool: &str, arguments: &str) -> Bytes {
    let body = match dialect {
        Dialect::OpenaiChat => json!({
            "id": "c", "object": "chat.completion", "created": 1, "model": "m",
            "choices": [{ "index": 0, "finish_reason": "tool_calls", "message": { "role": "assistant", "content": null,
                "tool_calls": [{ "id": "t", "type": "function", "function": { "name": tool, "arguments": arguments } }] } }],
        }),
        Dialect::AnthropicMessages => json!({
            "id": "c", "type": "message", "role": "assistant", "model": "m", "stop_reason": "tool_use",
            "content": [{ "type": "tool_use", "id": "t", "name": tool,
                "input": serde_json::from_str::<Value>(arguments).unwrap() }],
            "usage": { "input_tokens": 1, "output_tokens": 1 },
        }),
        Dialect::OpenaiResponses => json!({
            "id": "c", "object": "response", "created_at": 1, "model": "m", "status": "completed",
            "output": [{ "type": "function_call", "id": "f", "call_id": "t", "name": tool, "arguments": arguments,
                "status": "completed" }],
        }),
    };
    body.to_string().into()
}

/// What the policy makes of a call: the new arguments, or the text in its place.
fn judged(dialect: Dialect, config: &Value, tool: &str, arguments: &str) -> Result<String, String> {
    static DEFAULTS: LazyLock<Arc<Rules>> = LazyLock::new(|| rules(vec![built_in("command_guard", &json!({}))]));
    let is_default = config.as_object().is_some_and(serde_json::Map::is_empty);
    let rules = if is_default { Arc::clone(&DEFAULTS) } else { rules(vec![built_in("command_guard", config)]) };
    let body = answer(dialect, tool, arguments);
    let out = run_body(dialect, &rules, &body);
    assert!(!out.is_empty(), "a fault: {arguments:.200}");
    if out == body {
        return Ok(arguments.to_owned());
    }
    let out: Value = serde_json::from_slice(&out).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&out)));
    let (call, text) = match dialect {
        Dialect::OpenaiChat => {
            let message = &out["choices"][0]["message"];
            (message["tool_calls"][0]["function"]["arguments"].clone(), message["content"].clone())
        }
        Dialect::AnthropicMessages => {
            let block = &out["content"][0];
            let input = (!block["input"].is_null()).then(|| Value::from(block["input"].to_string()));
            (input.unwrap_or_default(), block["text"].clone())
        }
        Dialect::OpenaiResponses => {
            let item = &out["output"][0];
            (item["arguments"].clone(), item["content"][0]["text"].clone())
        }
    };
    match (call.as_str(), text.as_str()) {
        (Some(arguments), _) => Ok(arguments.to_owned()),
        (None, Some(text)) => Err(text.to_owned()),
        (None, None) => panic!("{out}"),
    }
}

fn outcome(dialect: Dialect, config: &Value, command: &str) -> Outcome {
    let arguments = json!({ "command": command }).to_string();
    match judged(dialect, config, "bash", &arguments) {
        Err(text) => Outcome::Deny(text.split('`').nth(1).unwrap_or(&text).to_owned()),
        Ok(new) if new == arguments => Outcome::Allow,
        Ok(new) => Outcome::Rewrite(
            serde_json::from_str::<Value>(&new).unwrap()["command"].as_str().unwrap_or_default().to_owned(),
        ),
    }
}

#[test]
fn a_variable_with_more_values_than_are_followed_hides_none() {
    let many = |last: &str| {
        let words: Vec<String> = (0..70).map(|number| format!("file{number}")).collect();
        format!("for f in {} {last}; do rm -rf $f; done", words.join(" "))
    };
    for dialect in [Dialect::OpenaiChat, Dialect::AnthropicMessages, Dialect::OpenaiResponses] {
        assert!(matches!(outcome(dialect, &json!({}), &many("/")), Outcome::Deny(_)));
    }
}

/// What is wrong with a config.
fn problems(config: &Value) -> Option<Vec<policies::Problem>> {
    try_built_in("command_guard", config).err()
}

/// The commands of the table with the rule that denies each; none: it passes. `\n` is written for a new line, `<CR>` for a
/// carriage return, and two backslashes for one before a new line.
fn table() -> Vec<(String, Option<String>)> {
    let mut rule = None;
    let mut rows = Vec::new();
    for line in TABLE.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let text = line.trim_start();
        if let Some(name) = text.strip_suffix(": |").filter(|name| !name.contains(' ')) {
            rule = (name != "allow").then(|| name.to_owned());
        } else if line.starts_with("  ") {
            let command = text.replace("\\\\\\n", "\\\n").replace("<CR>", "\r");
            // Within quotes of a program's own the two characters stay.
            let command = if is_one_line(&command) { command } else { command.replace("\\n", "\n") };
            rows.push((command, rule.clone()));
        }
    }
    rows
}

/// Whether `\n` in a row is the program's own and not a new line of the command.
fn is_one_line(command: &str) -> bool {
    ["printf", "echo $'", "tr ", "xargs -d"].iter().any(|word| command.contains(word))
}

#[test]
fn the_table_of_commands() {
    let rows = table();
    assert!(rows.len() > 400, "{}", rows.len());
    let mut wrong = Vec::new();
    for (command, rule) in &rows {
        let expected = rule.clone().map_or(Outcome::Allow, Outcome::Deny);
        let found = outcome(Dialect::OpenaiChat, &json!({}), command);
        if found != expected {
            wrong.push(format!("{command:?}: {found:?}, not {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}

#[test]
fn commands_of_the_table_in_every_dialect() {
    for (command, rule) in table().iter().step_by(23) {
        let expected = rule.clone().map_or(Outcome::Allow, Outcome::Deny);
        for dialect in [Dialect::AnthropicMessages, Dialect::OpenaiResponses] {
            assert_eq!(outcome(dialect, &json!({}), command), expected, "{command}");
        }
    }
}

#[test]
fn the_documentation_lists_every_default_rule() {
    let written = include_str!("../../../../src/policies/command_guard/defaults.yaml");
    let documented = include_str!("../../../../docs/policies.md");
    let mut rows = Vec::new();
    for line in written.lines() {
        if let Some(name) = line.strip_prefix("- name: ") {
            rows.push((name, "it is allowed"));
        } else if let (Some(reason), Some(row)) = (line.strip_prefix("  reason: "), rows.last_mut()) {
            row.1 = reason;
        }
    }
    let expected: String =
        rows.iter().map(|(name, reason)| format!("| `{name}` | {reason} |")).collect::<Vec<_>>().join("\n");
    assert!(rows.len() > 30 && documented.contains(&expected), "docs/policies.md must have:\n{expected}");
    for (name, _) in rows {
        let is_tried = table().iter().any(|(_, rule)| rule.as_deref() == Some(name));
        // These two make exceptions, and commands that pass stand under no rule's name.
        assert!(
            is_tried || matches!(name, "crontab-list" | "known-hosts"),
            "no command of the table is denied by `{name}`"
        );
    }
}
