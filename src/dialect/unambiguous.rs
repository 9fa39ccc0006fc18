//! What every reader of a request reads in the same way.
//!
//! Of two equal keys one reader takes the first and another the last; some take `Content` for `content`; some give up on
//! what nests too deeply. A policy has to see what the provider will, so that a request which leaves the choice is refused.

use std::borrow::Cow;

use crate::json::{Step, Value};

use super::Undecodable;

/// How deeply objects and arrays may stand within each other. Other readers take no more either, and it bounds ours.
const DEEPEST: usize = 127;

/// Keys under which policies find what a request says, and those by which it is told what that is.
const READ: [&str; 41] = [
    "arguments",
    "call_id",
    "content",
    "context",
    "conversation",
    "custom",
    "data",
    "definition",
    "description",
    "format",
    "function",
    "function_call",
    "functions",
    "input",
    "instructions",
    "max_tokens",
    "messages",
    "model",
    "name",
    "output",
    "outputs",
    "previous_response_id",
    "prompt",
    "reasoning",
    "reasoning_content",
    "refusal",
    "result",
    "results",
    "role",
    "server_description",
    "source",
    "store",
    "stream",
    "system",
    "text",
    "title",
    "tool_calls",
    "tool_use_id",
    "tools",
    "type",
    "variables",
];

/// Keys of objects whose own keys somebody else chose: schemas, arguments of calls, names of the client's.
const FREE: [&str; 9] =
    ["arguments", "env", "headers", "input", "input_schema", "metadata", "parameters", "schema", "variables"];

/// An object or an array that is open.
struct Level {
    /// Where its keys begin.
    first: usize,
    /// Its keys are not ours to read.
    is_free: bool,
}

/// Fails if readers could differ about this request.
pub(super) fn check(request: Value<'_>) -> Result<(), Undecodable> {
    let (mut levels, mut keys): (Vec<Level>, Vec<Cow<'_, str>>) = (Vec::new(), Vec::new());
    // What the next object is called.
    let mut is_free = false;
    for step in request.steps() {
        let is_within = levels.last().is_some_and(|level| level.is_free);
        match step {
            Step::Key(key) => {
                if !is_within && let Some(meant) = meant(&key) {
                    return Err(Undecodable(format!("the request body has the key `{key}`; write it as `{meant}`")));
                }
                is_free = FREE.contains(&&*key);
                keys.push(key);
            }
            Step::Object | Step::Array if levels.len() == DEEPEST => {
                return Err(Undecodable(format!("the request body nests more than {DEEPEST} levels deep")));
            }
            Step::Object => levels.push(Level { first: keys.len(), is_free: is_within || is_free }),
            Step::Array => {
                levels.push(Level { first: keys.len(), is_free: is_within });
                is_free = false;
            }
            Step::End => {
                let first = levels.pop().map_or(0, |level| level.first);
                let own = keys.get_mut(first..).unwrap_or_default();
                own.sort_unstable();
                if let Some([key, _]) = own.windows(2).find(|pair| matches!(pair, [one, other] if one == other)) {
                    return Err(Undecodable(format!("the request body has the key `{key}` twice in one object")));
                }
                keys.truncate(first);
                is_free = false;
            }
        }
    }
    Ok(())
}

/// The key that readers without regard for the case would take this one for, if policies look for that.
fn meant(key: &str) -> Option<&'static str> {
    if key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') {
        return None;
    }
    // Some fold letters beyond ASCII too: the long s to `s`, the sign of kelvins to `k`.
    let folded = key.to_uppercase().to_lowercase();
    READ.into_iter().find(|known| *known == folded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Option<String> {
        check(Value::parse(text.as_bytes()).expect("JSON")).err().map(|error| error.to_string())
    }

    #[test]
    fn a_key_stands_once_in_its_object() {
        for text in [
            r#"{"model":"a","model":"b"}"#,
            r#"{"model":"a","mod\u0065l":"b"}"#,
            r#"{"messages":[{"role":"user","content":"a","content":"b"}]}"#,
            r#"{"messages":[{"content":[{"type":"text","text":"a","\u0074ext":"b"}]}]}"#,
            r#"{"tools":[{"input_schema":{"a":{},"b":1,"a":{}}}]}"#,
            r#"{"messages":[{"content":[{"type":"tool_use","input":{"path":"/a","path":"/b"}}]}]}"#,
            r#"{"":1,"":2}"#,
        ] {
            assert!(told(text).is_some_and(|told| told.contains("twice in one object")), "{text}: {:?}", told(text));
        }
        let same = r#"{"a":{"b":1},"b":{"a":1},"messages":[{"role":"a"},{"role":"b"}],"c":[[],{}]}"#;
        assert_eq!(told(same), None);
    }

    #[test]
    fn a_key_that_policies_look_for_stands_in_small_letters() {
        for (text, meant) in [
            (r#"{"Messages":[]}"#, "messages"),
            (r#"{"messages":[{"CONTENT":"a"}]}"#, "content"),
            (r#"{"messages":[{"content":[{"input":"free","x":[{"Text":"a"}]}]}]}"#, "text"),
            (r#"{"input":[{"Role":"user"}]}"#, "role"),
            (r#"{"\u004dodel":"a"}"#, "model"),
            (r#"{"mes\u017fages":[]}"#, "messages"),
            (r#"{"metadata":{"Name":"a"},"System":"b"}"#, "system"),
        ] {
            let told = told(text).unwrap_or_default();
            assert!(told.contains(&format!("write it as `{meant}`")), "{text}: {told}");
        }
        for text in [
            r#"{"tools":[{"input_schema":{"properties":{"Name":{},"name":{}}}}]}"#,
            r#"{"messages":[{"content":[{"type":"tool_use","input":{"Text":"a","list":[{"Type":1}]}}]}]}"#,
            r#"{"metadata":{"Model":"a"},"tools":[{"headers":{"Content-Type":"a","Name":"b"}}],"Vendors_Own":1}"#,
        ] {
            assert_eq!(told(text), None, "{text}");
        }
    }

    #[test]
    fn nesting_has_an_end_and_is_no_stack() {
        let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
        assert_eq!(told(&nested(DEEPEST)), None);
        assert!(serde_json::from_str::<serde_json::Value>(&nested(DEEPEST)).is_ok());
        assert!(told(&nested(DEEPEST + 1)).is_some_and(|told| told.contains("levels deep")));
        assert!(serde_json::from_str::<serde_json::Value>(&nested(DEEPEST + 1)).is_err());
        assert!(told(&nested(1_000_000)).is_some());
    }
}
