//! What became of a body: which places of it changed, how, and by whose decision.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};
use similar::{Algorithm, ChangeTag, DiffOp, TextDiff, capture_diff_slices};

/// How long the words of one text may be compared. Then what is left counts as replaced.
const PATIENCE: Duration = Duration::from_millis(300);

/// A place that changed.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub(in crate::admin) struct Difference {
    /// Where, as `messages[3].content[0].text`. Of what was added: in the body as it left; otherwise in the one that came.
    pub(in crate::admin) path: String,
    /// What became of it.
    pub(in crate::admin) change: Change,
    /// The kind of the block, where it is in one: `text`, `tool_call`, ….
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::admin) block: Option<&'static str>,
    /// What stood there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::admin) before: Option<Value>,
    /// What stands there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::admin) after: Option<Value>,
    /// Both texts word by word, where both are texts.
    pub(in crate::admin) words: Vec<Words>,
    /// Who decided it. Empty: it follows from another change, or from conversion.
    pub(in crate::admin) by: Vec<Decision>,
}

/// What became of a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::admin) enum Change {
    /// It is another.
    Changed,
    /// It is new.
    Added,
    /// It is gone.
    Removed,
}

/// A run of words in one of the texts, or in both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(in crate::admin) struct Words {
    /// In which.
    pub(in crate::admin) op: Op,
    /// The words.
    pub(in crate::admin) text: String,
}

/// In which texts words stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::admin) enum Op {
    /// In both.
    Equal,
    /// Only in the one that came.
    Delete,
    /// Only in the one that left.
    Insert,
}

/// What a policy decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(in crate::admin) struct Decision {
    /// The policy.
    pub(in crate::admin) policy: String,
    /// The kind of the block, or `request`.
    pub(in crate::admin) on: String,
    /// The number of the block in the provider's answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::admin) block: Option<u64>,
    /// `edit`, `drop`, `replace`, `add`, `answer` or `refuse`.
    #[expect(clippy::struct_field_names, reason = "the word of the live activity")]
    pub(in crate::admin) decision: String,
}

/// The decisions among events, as far as they took effect.
pub(in crate::admin) fn decisions(events: &[Value]) -> Vec<Decision> {
    let decided = |event: &&Value| event.get("type").is_some_and(|kind| kind == "policy.decided");
    let in_force = |event: &&Value| event.get("shadow") != Some(&Value::Bool(true));
    let text = |event: &Value, key: &str| event.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let decision = |event: &Value| Decision {
        policy: text(event, "policy"),
        on: text(event, "on"),
        block: event.get("block").and_then(Value::as_u64),
        decision: text(event, "decision"),
    };
    let mut found: Vec<Decision> = Vec::new();
    for decision in events.iter().filter(decided).filter(in_force).map(decision) {
        if !found.contains(&decision) {
            found.push(decision);
        }
    }
    found
}

/// What became of a request.
pub(in crate::admin) fn of_request(before: &Value, after: &Value, decisions: &[Decision]) -> Vec<Difference> {
    let mut found = Vec::new();
    compare(&mut Place::default(), before, after, &mut found);
    let by: Vec<Decision> = decisions.iter().filter(|decision| decision.on == "request").cloned().collect();
    found.into_iter().map(|difference| Difference { by: by.clone(), block: None, ..difference }).collect()
}

/// What became of an answer.
pub(in crate::admin) fn of_response(before: &Value, after: &Value, decisions: &[Decision]) -> Vec<Difference> {
    let mut found = Vec::new();
    compare(&mut Place::default(), before, after, &mut found);
    for difference in &mut found {
        let Some(kind) = difference.block else { continue };
        let number = number_of(&difference.path);
        let fits = |decision: &&Decision| {
            decision.on == kind
                && match (decision.block, number, difference.change) {
                    (Some(block), Some(number), Change::Changed | Change::Removed) => block == number,
                    _ => true,
                }
        };
        // What is new can have come in the place of another kind of block.
        let makes = |decision: &&Decision| matches!(decision.decision.as_str(), "replace" | "add");
        if difference.change == Change::Added {
            difference.by = decisions.iter().filter(makes).cloned().collect();
        }
        if difference.by.is_empty() {
            difference.by = decisions.iter().filter(fits).cloned().collect();
        }
    }
    found
}

/// The number of the block, in dialects that number all of an answer's blocks.
fn number_of(path: &str) -> Option<u64> {
    let (number, _) = path.strip_prefix("content[")?.split_once(']')?;
    number.parse().ok()
}

/// Where the comparison stands.
#[derive(Default)]
struct Place {
    path: String,
    block: Option<&'static str>,
}

impl Place {
    /// Goes one step down, and back.
    fn within(&mut self, step: &str, block: Option<&'static str>, go: impl FnOnce(&mut Self)) {
        let (length, before) = (self.path.len(), self.block);
        if !step.starts_with('[') && !self.path.is_empty() {
            self.path.push('.');
        }
        self.path.push_str(step);
        self.block = block.or(before);
        go(self);
        self.path.truncate(length);
        self.block = before;
    }
}

fn compare(place: &mut Place, before: &Value, after: &Value, out: &mut Vec<Difference>) {
    if before == after {
        return;
    }
    match (before, after) {
        (Value::Object(old), Value::Object(new)) if kind_of(before) == kind_of(after) => fields(place, old, new, out),
        (Value::Array(old), Value::Array(new)) => items(place, old, new, out),
        (Value::String(old), Value::String(new)) => {
            let words = words(old, new);
            out.push(Difference { words, ..difference(place, Change::Changed, Some(before), Some(after)) });
        }
        (Value::Null, _) => out.push(difference(place, Change::Added, None, Some(after))),
        (_, Value::Null) => out.push(difference(place, Change::Removed, Some(before), None)),
        _ => out.push(difference(place, Change::Changed, Some(before), Some(after))),
    }
}

fn difference(place: &Place, change: Change, before: Option<&Value>, after: Option<&Value>) -> Difference {
    Difference {
        path: place.path.clone(),
        change,
        block: place.block.or_else(|| before.or(after).and_then(kind_of)),
        before: before.cloned(),
        after: after.cloned(),
        words: Vec::new(),
        by: Vec::new(),
    }
}

fn fields(place: &mut Place, old: &Map<String, Value>, new: &Map<String, Value>, out: &mut Vec<Difference>) {
    let added = new.keys().filter(|key| !old.contains_key(*key));
    for key in old.keys().chain(added) {
        let (before, after) = (old.get(key).unwrap_or(&Value::Null), new.get(key).unwrap_or(&Value::Null));
        let block = kind_of_field(key, old);
        place.within(&step(key), block, |place| compare(place, before, after, out));
    }
}

/// A key as a step of a path.
fn step(key: &str) -> String {
    let is_plain = !key.is_empty() && key.chars().all(|sign| sign.is_alphanumeric() || matches!(sign, '_' | '-'));
    if is_plain { key.to_owned() } else { format!("[{}]", Value::String(key.to_owned())) }
}

/// Items that are the same stand beside each other, and of the rest those that could have become each other.
fn items(place: &mut Place, old: &[Value], new: &[Value], out: &mut Vec<Difference>) {
    let text = |items: &[Value]| items.iter().map(Value::to_string).collect::<Vec<_>>();
    for op in capture_diff_slices(Algorithm::Myers, &text(old), &text(new)) {
        let (gone, come) = (op.old_range(), op.new_range());
        if matches!(op, DiffOp::Equal { .. }) {
            continue;
        }
        let mut come: Vec<usize> = come.collect();
        for from in gone {
            let Some(before) = old.get(from) else { continue };
            let becomes = come.iter().position(|to| new.get(*to).is_some_and(|after| could_become(before, after)));
            let after = becomes.and_then(|at| new.get(come.remove(at)));
            let block = kind_of(before);
            place.within(&format!("[{from}]"), block, |place| match after {
                Some(after) => compare(place, before, after, out),
                None => out.push(difference(place, Change::Removed, Some(before), None)),
            });
        }
        for to in come {
            let Some(after) = new.get(to) else { continue };
            place.within(&format!("[{to}]"), kind_of(after), |place| {
                out.push(difference(place, Change::Added, None, Some(after)));
            });
        }
    }
}

/// Whether one item can be what another became: they are of one kind, and of one name where they have any.
fn could_become(before: &Value, after: &Value) -> bool {
    ["type", "role", "id", "call_id", "index", "name"].iter().all(|key| before.get(key) == after.get(key))
}

/// The kind of the block that a value is, by what dialects call them.
fn kind_of(value: &Value) -> Option<&'static str> {
    match value.get("type")?.as_str()? {
        "text" | "output_text" | "message" => Some("text"),
        "thinking" | "redacted_thinking" | "reasoning" => Some("thinking"),
        "refusal" => Some("refusal"),
        "tool_use" | "function_call" | "custom_tool_call" | "function" | "custom" => Some("tool_call"),
        "server_tool_use" => Some("server_tool"),
        _ => None,
    }
}

/// The kind of the block that a field of a chat message is.
fn kind_of_field(key: &str, around: &Map<String, Value>) -> Option<&'static str> {
    if !around.contains_key("role") {
        return None;
    }
    match key {
        "content" if around.get("content").is_some_and(Value::is_string) => Some("text"),
        "reasoning_content" | "reasoning" => Some("thinking"),
        "refusal" => Some("refusal"),
        "tool_calls" => Some("tool_call"),
        _ => None,
    }
}

fn words(old: &str, new: &str) -> Vec<Words> {
    let diff = TextDiff::configure().timeout(PATIENCE).diff_unicode_words(old, new);
    let mut words: Vec<Words> = Vec::new();
    for change in diff.iter_all_changes() {
        let op = match change.tag() {
            ChangeTag::Equal => Op::Equal,
            ChangeTag::Delete => Op::Delete,
            ChangeTag::Insert => Op::Insert,
        };
        match words.last_mut().filter(|last| last.op == op) {
            Some(last) => last.text.push_str(change.value()),
            None => words.push(Words { op, text: change.value().to_owned() }),
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(policy: &str, on: &str, block: Option<u32>, decision: &str) -> Value {
        json!({ "type": "policy.decided", "policy": policy, "on": on, "block": block, "decision": decision })
    }

    /// Path, change and deciders of each difference.
    fn told(found: &[Difference]) -> Vec<(&str, Change, Vec<&str>)> {
        let by = |difference: &Difference| difference.by.len();
        assert!(found.iter().all(|difference| by(difference) < 5));
        found
            .iter()
            .map(|difference| {
                let by = difference.by.iter().map(|decision| decision.policy.as_str()).collect();
                (difference.path.as_str(), difference.change, by)
            })
            .collect()
    }

    #[test]
    fn a_replaced_word_and_a_blocked_tool_call_are_told_with_who_did_it() {
        let text = |text: &str| json!({ "type": "text", "text": text });
        let call = json!({ "type": "tool_use", "id": "t", "name": "Bash", "input": { "command": "rm" } });
        let before =
            json!({ "id": "m", "content": [text("a dog ran"), call, text("kept")], "stop_reason": "tool_use" });
        let after = json!({ "id": "m", "content": [text("a cat ran"), text("blocked"), text("kept")],
                            "stop_reason": "end_turn" });
        let events = [
            event("words", "text", Some(0), "edit"),
            event("other", "text", Some(2), "edit"),
            event("guard", "tool_call", Some(1), "replace"),
            json!({ "type": "policy.decided", "policy": "shadow", "on": "text", "decision": "edit", "shadow": true }),
        ];
        let found = of_response(&before, &after, &decisions(&events));
        assert_eq!(
            told(&found),
            [
                ("content[0].text", Change::Changed, vec!["words"]),
                ("content[1]", Change::Removed, vec!["guard"]),
                ("content[1]", Change::Added, vec!["guard"]),
                ("stop_reason", Change::Changed, vec![]),
            ]
        );
        let words: Vec<_> = found[0].words.iter().map(|words| (words.op, words.text.as_str())).collect();
        assert_eq!(words, [(Op::Equal, "a "), (Op::Delete, "dog"), (Op::Insert, "cat"), (Op::Equal, " ran")]);
    }

    #[test]
    fn chat_messages_have_kinds_by_field() {
        let message = |content: &str, calls: Value| json!({ "choices": [{ "index": 0, "message": { "role": "assistant", "content": content, "tool_calls": calls } }] });
        let before = message("x", json!([{ "id": "a", "type": "function", "function": { "name": "f" } }]));
        let after = message("y", json!([]));
        let events = [event("t", "text", Some(0), "edit"), event("c", "tool_call", Some(1), "drop")];
        let found = of_response(&before, &after, &decisions(&events));
        assert_eq!(
            told(&found),
            [
                ("choices[0].message.content", Change::Changed, vec!["t"]),
                ("choices[0].message.tool_calls[0]", Change::Removed, vec!["c"]),
            ]
        );
    }

    #[test]
    fn requests_are_compared_by_message() {
        let message = |text: &str| json!({ "role": "user", "content": text });
        let before = json!({ "model": "a", "messages": [message("1"), message("2"), message("3")], "a b": 1 });
        let after = json!({ "model": "b", "messages": [message("1"), message("3")], "new": null });
        let found = of_request(&before, &after, &decisions(&[event("p", "request", None, "edit")]));
        assert_eq!(
            told(&found),
            [
                ("model", Change::Changed, vec!["p"]),
                ("messages[1]", Change::Removed, vec!["p"]),
                ("[\"a b\"]", Change::Removed, vec!["p"]),
            ]
        );
        assert_eq!(of_request(&before, &before, &[]), []);
    }

    #[test]
    fn long_texts_do_not_take_long() {
        let text = |step: usize| {
            let words = (0..60_000).map(|word| (word * step % 7919).to_string());
            words.collect::<Vec<_>>().join(" ")
        };
        let began = std::time::Instant::now();
        let found = of_request(&json!({ "x": text(3) }), &json!({ "x": text(5) }), &[]);
        assert_eq!(found.len(), 1);
        assert!(began.elapsed() < Duration::from_secs(20));
    }
}
