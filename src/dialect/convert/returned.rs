//! Reasoning that a client returns to a provider that did not make it.

use bytes::Bytes;

use crate::{
    dialect::{
        carried::{Carried, SEAL},
        convert::models::Claude,
    },
    json::{Kind, Patch, Value, quote},
    model::Dialect,
};

/// The request without the reasoning that was sealed for another provider, for requests that are not converted, and what
/// was left out of it, as the client calls it.
///
/// A client whose earlier calls went to a provider of another dialect returns what that one sealed. To its own provider
/// this is an error. What was sealed for this one is opened. The same bytes come back when nothing is sealed.
pub fn without_foreign_reasoning(dialect: Dialect, body: &Bytes) -> (Bytes, Vec<String>) {
    let unchanged = || (body.clone(), Vec::new());
    if memchr::memmem::find(body, SEAL.as_bytes()).is_none() {
        return unchanged();
    }
    let Ok(value) = Value::parse(body) else { return unchanged() };
    let mut patch = Patch::default();
    let mut dropped = Vec::new();
    match dialect {
        Dialect::AnthropicMessages => {
            let from = lists(&mut patch, value, "messages", "content", messages_block);
            dropped.extend((!from.is_empty()).then(|| "messages[].content[].thinking".to_owned()));
            if let Some(thinking) = unfounded_thinking(value, &from) {
                patch.replace(thinking.span(), r#"{"type":"disabled"}"#);
                dropped.push("thinking".to_owned());
            }
        }
        Dialect::OpenaiChat => {
            let from = lists(&mut patch, value, "messages", "thinking_blocks", |_, _, _| true);
            dropped.extend((!from.is_empty()).then(|| "messages[].thinking_blocks".to_owned()));
        }
        Dialect::OpenaiResponses => {
            let gone = value.get("input").map_or(0, |input| remove(&mut patch, input, responses_item));
            dropped.extend((gone > 0).then(|| "input[].reasoning".to_owned()));
        }
    }
    if patch.is_empty() { unchanged() } else { (patch.apply(body).into(), dropped) }
}

/// The demand for thinking that the model cannot meet: before Claude 4.6, calls that are being answered must have been thought
/// about, and the thoughts of this turn are gone. `from`: the messages that they are gone from.
fn unfounded_thinking<'a>(request: Value<'a>, from: &[usize]) -> Option<Value<'a>> {
    let thinking = request.some("thinking").filter(|thinking| thinking.str_at("type").as_deref() == Some("enabled"))?;
    if request.str_at("model").is_some_and(|model| Claude::of(&model).is_adaptive()) {
        return None;
    }
    let is_assistant = |message: &Value<'_>| message.str_at("role").as_deref() == Some("assistant");
    let (at, last) =
        request.get("messages")?.items().enumerate().filter(|(_, message)| is_assistant(message)).last()?;
    let calls = last.get("content")?.items().any(|block| block.str_at("type").as_deref() == Some("tool_use"));
    (calls && from.contains(&at)).then_some(thinking)
}

/// Whether an item with this sealed text is to go; if not, it may be patched.
type Foreign = fn(&mut Patch, Value<'_>, &Carried) -> bool;

fn messages_block(patch: &mut Patch, block: Value<'_>, carried: &Carried) -> bool {
    let (key, own) = match carried {
        Carried::Signature(signature) => ("signature", signature),
        Carried::Redacted(data) => ("data", data),
        Carried::Reasoning { .. } => return true,
    };
    match block.get(key) {
        Some(sealed) => {
            patch.replace(sealed.span(), quote(own));
            false
        }
        None => true,
    }
}

fn responses_item(patch: &mut Patch, item: Value<'_>, carried: &Carried) -> bool {
    let Carried::Reasoning { id, encrypted } = carried else { return true };
    if let Some(old) = item.get("id") {
        patch.replace(old.span(), quote(id));
    }
    if let Some(sealed) = item.get("encrypted_content") {
        patch.replace(sealed.span(), quote(encrypted));
    }
    false
}

/// Goes through the list `inner` of each item of the list `outer`. An item whose content is gone goes with it. Returns the
/// numbers of the items that something is gone from.
fn lists(patch: &mut Patch, value: Value<'_>, outer: &str, inner: &str, foreign: Foreign) -> Vec<usize> {
    let Some(outer) = value.get(outer) else { return Vec::new() };
    let (mut from, mut emptied) = (Vec::new(), Vec::new());
    for (at, item) in outer.items().enumerate() {
        let Some(list) = item.get(inner).filter(|list| list.kind() == Kind::Array) else { continue };
        let removed = remove(patch, list, foreign);
        from.extend((removed > 0).then_some(at));
        if removed > 0 && removed == list.items().count() && inner == "content" {
            emptied.push(at);
        }
    }
    if !emptied.is_empty() {
        patch.remove_items(outer, |at| emptied.contains(&at));
    }
    from
}

/// Removes the foreign items of a list; how many.
fn remove(patch: &mut Patch, list: Value<'_>, foreign: Foreign) -> usize {
    let gone: Vec<usize> = list
        .items()
        .enumerate()
        .filter(|(_, item)| match sealed(*item) {
            Sealed::As(carried) => foreign(patch, *item, &carried),
            Sealed::Otherwise => true,
            Sealed::Not => false,
        })
        .map(|(at, _)| at)
        .collect();
    if !gone.is_empty() {
        patch.remove_items(list, |at| gone.contains(&at));
    }
    gone.len()
}

/// What an item carries.
enum Sealed {
    /// This, sealed.
    As(Carried),
    /// Something that was sealed in a way that this version does not know.
    Otherwise,
    /// Nothing that is sealed.
    Not,
}

fn sealed(item: Value<'_>) -> Sealed {
    let key = match item.str_at("type").as_deref() {
        Some("thinking") => "signature",
        Some("redacted_thinking") => "data",
        Some("reasoning") => "encrypted_content",
        _ => return Sealed::Not,
    };
    match item.str_at(key).filter(|text| text.starts_with(SEAL)) {
        Some(text) => Carried::open(&text).map_or(Sealed::Otherwise, Sealed::As),
        None => Sealed::Not,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cleaned(dialect: Dialect, body: &str) -> String {
        let (body, _) = without_foreign_reasoning(dialect, &Bytes::copy_from_slice(body.as_bytes()));
        String::from_utf8(body.to_vec()).unwrap()
    }

    #[test]
    fn what_was_sealed_for_another_provider_goes() {
        let foreign = r#"{"type":"thinking","thinking":"a","signature":"luthien1.reasoning.4.rs_1gA"}"#;
        let own = r#"{"type":"thinking","thinking":"b","signature":"Eq"}"#;
        let body = format!(
            r#"{{"messages":[{{"content":"luthien1."}},{{"content":[{foreign},{own}, {{"type":"text"}}]}},{{"content":[{foreign}]}}]}}"#
        );
        assert_eq!(
            cleaned(Dialect::AnthropicMessages, &body),
            format!(r#"{{"messages":[{{"content":"luthien1."}},{{"content":[{own}, {{"type":"text"}}]}}]}}"#)
        );
        let body = r#"{"input":[{"type":"reasoning","id":"rs_x","encrypted_content":"luthien1.signature.E"},{"type":"reasoning","id":"x","encrypted_content":"luthien1.reasoning.4.rs_1gA.b"},{"type":"reasoning","id":"rs_2","encrypted_content":"gB"}]}"#;
        assert_eq!(
            cleaned(Dialect::OpenaiResponses, body),
            r#"{"input":[{"type":"reasoning","id":"rs_1","encrypted_content":"gA.b"},{"type":"reasoning","id":"rs_2","encrypted_content":"gB"}]}"#
        );
    }

    #[test]
    fn the_same_bytes_come_back_when_nothing_is_sealed() {
        let body = Bytes::from_static(br#"{"messages" : [ {"content":"luthien1."} ]}"#);
        for dialect in Dialect::ALL {
            let (same, dropped) = without_foreign_reasoning(dialect, &body);
            assert_eq!((same.as_ptr(), dropped), (body.as_ptr(), Vec::new()));
        }
    }

    #[test]
    fn nobody_is_asked_to_think_about_calls_whose_thoughts_are_gone() {
        let foreign = r#"{"type":"thinking","thinking":"a","signature":"luthien1.text."}"#;
        let request = |model: &str, content: &str, thinking: &str| {
            format!(
                r#"{{"model":"{model}","thinking":{thinking},"messages":[{{"role":"assistant","content":[{content}]}},{{"role":"user","content":"a"}}]}}"#
            )
        };
        let (enabled, disabled) = (r#"{"type":"enabled","budget_tokens":2048}"#, r#"{"type":"disabled"}"#);
        let (call, text) = (r#"{"type":"tool_use"}"#, r#"{"type":"text"}"#);
        for (model, behind, asked, sent) in [
            ("claude-sonnet-4-5", call, enabled, disabled),
            ("claude-sonnet-4-5", text, enabled, enabled),
            ("claude-opus-4-6", call, enabled, enabled),
            ("claude-opus-5", call, r#"{"type":"adaptive"}"#, r#"{"type":"adaptive"}"#),
        ] {
            let body = request(model, &format!("{foreign},{behind}"), asked);
            assert_eq!(cleaned(Dialect::AnthropicMessages, &body), request(model, behind, sent));
        }
    }
}
