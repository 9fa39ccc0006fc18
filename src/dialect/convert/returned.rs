//! Reasoning that a client returns to a provider that did not make it.

use bytes::Bytes;

use crate::{
    dialect::carried::{Carried, SEAL},
    json::{Kind, Patch, Value, quote},
    model::Dialect,
};

/// The request without the reasoning that was sealed for another provider, for requests that are not converted.
///
/// A client whose earlier calls went to a provider of another dialect returns what that one sealed. To its own provider
/// this is an error. What was sealed for this one is opened. The same bytes come back when nothing is sealed.
pub fn without_foreign_reasoning(dialect: Dialect, body: &Bytes) -> Bytes {
    if memchr::memmem::find(body, SEAL.as_bytes()).is_none() {
        return body.clone();
    }
    let Ok(value) = Value::parse(body) else { return body.clone() };
    let mut patch = Patch::default();
    match dialect {
        Dialect::AnthropicMessages => lists(&mut patch, value, "messages", "content", messages_block),
        Dialect::OpenaiChat => lists(&mut patch, value, "messages", "thinking_blocks", |_, _, _| true),
        Dialect::OpenaiResponses => {
            if let Some(input) = value.get("input") {
                remove(&mut patch, input, responses_item);
            }
        }
    }
    if patch.is_empty() { body.clone() } else { patch.apply(body).into() }
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

/// Goes through the list `inner` of each item of the list `outer`. An item whose content is gone goes with it.
fn lists(patch: &mut Patch, value: Value<'_>, outer: &str, inner: &str, foreign: Foreign) {
    let Some(outer) = value.get(outer) else { return };
    let mut emptied = Vec::new();
    for (at, item) in outer.items().enumerate() {
        let Some(list) = item.get(inner).filter(|list| list.kind() == Kind::Array) else { continue };
        let removed = remove(patch, list, foreign);
        if removed > 0 && removed == list.items().count() && inner == "content" {
            emptied.push(at);
        }
    }
    if !emptied.is_empty() {
        patch.remove_items(outer, |at| emptied.contains(&at));
    }
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
        let body = without_foreign_reasoning(dialect, &Bytes::copy_from_slice(body.as_bytes()));
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
            assert_eq!(without_foreign_reasoning(dialect, &body).as_ptr(), body.as_ptr());
        }
    }
}
