//! What the codecs hold a provider's JSON to while a policy enforces.
//!
//! Readers differ in what they make of a key that stands twice, of a number where a string belongs, of an error beside an
//! answer. What one client would show and another would not, no policy can judge: it counts as unreadable. Without an
//! enforcing policy nothing of this is asked, and the bytes pass as they are.

use crate::json::{Kind, Value};

use super::Undecodable;

/// The members with these keys. Fails if one of them stands twice, or in other letters than these: some readers ignore the case.
pub(super) fn unique<'a, const N: usize>(
    object: Value<'a>,
    keys: [&str; N],
) -> Result<[Option<Value<'a>>; N], Undecodable> {
    let mut found = [None; N];
    for member in object.members() {
        let mut places = keys.iter().zip(&mut found);
        let Some((key, found)) = places.find(|(key, _)| key.eq_ignore_ascii_case(&member.key)) else { continue };
        if *key != member.key {
            return Err(Undecodable(format!("the key `{}` is not in small letters", member.key)));
        }
        if found.replace(member.value).is_some() {
            return Err(Undecodable(format!("the key `{}` stands twice in one object", member.key)));
        }
    }
    Ok(found)
}

/// A member, which must be of one of these kinds if it is there and not `null`.
pub(super) fn member<'a>(object: Value<'a>, key: &str, kinds: &[Kind]) -> Result<Option<Value<'a>>, Undecodable> {
    fits(object.get(key), key, kinds)
}

/// The value of this member, which must be of one of these kinds if it is there and not `null`.
pub(super) fn fits<'a>(value: Option<Value<'a>>, key: &str, kinds: &[Kind]) -> Result<Option<Value<'a>>, Undecodable> {
    match value.filter(|value| !value.is_null()) {
        Some(value) if !kinds.contains(&value.kind()) => {
            Err(Undecodable(format!("`{key}` is {}", named(value.kind()))))
        }
        value => Ok(value),
    }
}

/// Something that must be an object.
pub(super) fn object(value: Value<'_>, what: &str) -> Result<(), Undecodable> {
    if value.kind() == Kind::Object {
        return Ok(());
    }
    Err(Undecodable(format!("{what} is {}", named(value.kind()))))
}

fn named(kind: Kind) -> &'static str {
    match kind {
        Kind::Object => "an object, where none belongs",
        Kind::Array => "a list, where none belongs",
        Kind::String => "a string, where none belongs",
        Kind::Number => "a number, where none belongs",
        Kind::Bool => "true or false, where neither belongs",
        Kind::Null => "null, where that does not belong",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_stands_once_and_in_small_letters() {
        let is_unique = |json: &str| unique(Value::parse(json.as_bytes()).expect("JSON"), ["delta", "type"]).is_ok();
        assert!(is_unique(r#"{"type":"a","delta":"b","Other":1,"Other":2}"#));
        assert!(!is_unique(r#"{"delta":"a","delta":"b"}"#));
        assert!(!is_unique(r#"{"delta":"a","Delta":"b"}"#));
        assert!(!is_unique(r#"{"DELTA":"b"}"#));
    }
}
