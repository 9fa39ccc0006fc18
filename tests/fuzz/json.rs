//! JSON as text, against a reader that makes a tree of it.

use std::collections::BTreeMap;

use luthien::json::{Kind, Patch, Span, Text, Value, build::compact, literals, quote};
use serde_json::Value as Tree;

use super::input::Input;
use crate::core::random::lot;

/// A byte that chooses what is edited, and a document.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let seed = input.byte();
    let document = input.rest();
    let tree = serde_json::from_slice::<Tree>(document);
    let Ok(value) = Value::parse(document) else {
        return assert!(tree.is_err(), "refused, though it is JSON");
    };
    let text = std::str::from_utf8(document).expect("what was read is UTF-8");
    assert!(serde_json::from_str::<Tree>(&compact(text)).is_ok() == tree.is_ok(), "{}", compact(text));
    for range in literals(text) {
        let _ = Text::decode_raw(&document[range]);
    }
    // A half of a surrogate pair is no text to the plain reader.
    let Ok(tree) = tree else { return };
    same(value, &tree);
    patched(value, &tree, document, seed);
    texts(value, seed);
}

/// The view says what the tree says.
fn same(value: Value<'_>, tree: &Tree) {
    assert_eq!(serde_json::from_slice::<Tree>(value.raw()).ok().as_ref(), Some(tree), "another place");
    match tree {
        Tree::Null => assert!(value.is_null()),
        Tree::Bool(said) => assert_eq!(value.as_bool(), Some(*said)),
        Tree::Number(number) => {
            assert_eq!(value.kind(), Kind::Number);
            assert!(value.as_u64().is_none_or(|read| number.as_u64() == Some(read)), "{number}");
        }
        Tree::String(said) => assert_eq!(value.as_str().as_deref(), Some(said.as_str())),
        Tree::Array(items) => {
            assert_eq!(value.items().count(), items.len());
            value.items().zip(items).for_each(|(value, tree)| same(value, tree));
        }
        Tree::Object(fields) => {
            // Of two equal keys the last counts, for both.
            let last: BTreeMap<_, _> = value.members().map(|member| (member.key.into_owned(), member.value)).collect();
            assert_eq!(last.len(), fields.len());
            for (key, tree) in fields {
                same(last[key], tree);
                assert_eq!(value.get(key).map(Value::span), Some(last[key].span()));
            }
        }
    }
}

/// Replaces, removes and appends, and reads it again.
fn patched(value: Value<'_>, tree: &Tree, document: &[u8], seed: u8) {
    let chosen = |at: usize| lot((seed, at)).is_multiple_of(3);
    let mut patch = Patch::default();
    let mut expected = tree.clone();
    match &mut expected {
        Tree::Array(items) => {
            for (at, item) in value.items().enumerate().filter(|(at, _)| at % 2 == 0) {
                patch.replace(item.span(), "\"new\"");
                items[at] = "new".into();
            }
            patch.remove_items(value, chosen);
            let mut at = 0;
            items.retain(|_| {
                at += 1;
                !chosen(at - 1)
            });
            patch.append(value, items.is_empty(), b"7");
            items.push(7.into());
        }
        Tree::Object(fields) => {
            let keys: Vec<String> = fields.keys().cloned().collect();
            let gone = |key: &str| keys.iter().position(|known| known == key).is_some_and(chosen);
            patch.remove_members(value, |member| gone(&member.key));
            fields.retain(|key, _| !gone(key));
            patch.append(value, fields.is_empty(), b"\"\\u0000new\":7");
            fields.insert("\0new".to_owned(), 7.into());
        }
        whole @ (Tree::Null | Tree::Bool(_) | Tree::Number(_) | Tree::String(_)) => {
            patch.replace(value.span(), quote("new"));
            *whole = "new".into();
        }
    }
    let out = patch.apply(document);
    let read: Tree =
        serde_json::from_slice(&out).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&out)));
    assert_eq!(read, expected, "{}", String::from_utf8_lossy(&out));
}

/// Every text can be written and edited.
fn texts(value: Value<'_>, seed: u8) {
    for member in value.members() {
        texts(member.value, seed);
    }
    for item in value.items() {
        texts(item, seed);
    }
    let Some(raw) = value.string_raw() else { return };
    let text = Text::from_raw(bytes::Bytes::copy_from_slice(raw));
    let said = text.decode().into_owned();
    assert_eq!(serde_json::from_slice::<String>(&quote(&said)).expect("a quoted text is JSON"), said);
    let places: Vec<usize> = said.char_indices().map(|(at, _)| at).chain([said.len()]).collect();
    let pick = |salt: u8| places[usize::try_from(lot((seed, salt, said.len()))).unwrap_or_default() % places.len()];
    let (start, end) = (pick(0).min(pick(1)), pick(0).max(pick(1)));
    let edits = [luthien::json::Edit { range: start..end, with: "\"X\n".to_owned() }];
    let spliced = text.splice(0, false, &edits);
    let whole = [b"\"", spliced.raw().as_ref(), b"\""].concat();
    let read: String =
        serde_json::from_slice(&whole).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&whole)));
    assert_eq!(read, format!("{}\"X\n{}", &said[..start], &said[end..]));
    let Span { start, end } = value.span();
    assert!(start < end);
}
