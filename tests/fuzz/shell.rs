//! Commands in tool calls, as `command_guard` reads them.

use std::sync::{Arc, LazyLock};

use luthien::{model::Dialect, policy::Rules};
use serde_json::{Value, json};

use super::{
    input::{Input, with_clock},
    oracle::assert_no_panic,
};
use crate::core::support::{Run, built_in, rules};

static RULES: LazyLock<Arc<Rules>> = LazyLock::new(|| rules(vec![built_in("command_guard", &json!({}))]));

/// A byte that chooses the form, and a command, or the arguments of a call.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let form = input.byte();
    let Some(text) = input.text() else { return };
    with_clock(|| {
        if form.is_multiple_of(4) {
            judged(text);
            return;
        }
        let arguments = json!({ "command": text }).to_string();
        let kept = judged(&arguments);
        assert!(kept.is_none_or(|kept| kept == arguments), "changed: {text:?}");
        // What runs first runs, whatever stands behind it.
        let first = format!("rm -rf /\n{text}");
        assert_eq!(judged(&json!({ "command": first }).to_string()), None, "{first:?} is let through");
        // So it does as a command of its own before it.
        let list = json!({ "commands": ["rm -rf /", text] }).to_string();
        assert_eq!(judged(&list), None, "{list} is let through");
    });
}

/// The arguments, if the call is let through.
fn judged(arguments: &str) -> Option<String> {
    let body = json!({
        "id": "c", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{ "index": 0, "finish_reason": "tool_calls", "message": { "role": "assistant", "content": null,
            "tool_calls": [{ "id": "t", "type": "function", "function": { "name": "bash", "arguments": arguments } }] } }],
    });
    let mut run = Run::body(Dialect::OpenaiChat, &RULES);
    run.push(&body.to_string().into());
    run.finish();
    assert_no_panic(&run);
    assert_eq!(run.failure, None, "a fault: {arguments:.200}");
    let out: Value = serde_json::from_slice(&run.out.concat()).expect("an answer is JSON");
    let message = &out["choices"][0]["message"];
    let call = message["tool_calls"][0]["function"]["arguments"].as_str();
    assert!(call.is_some() != message["content"].is_string(), "neither a call nor a text: {out}");
    call.map(str::to_owned)
}
