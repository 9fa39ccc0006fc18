//! What the codecs hold a provider's JSON to while a policy enforces.
//!
//! Readers differ in what they make of a key that stands twice, of a number where a string belongs, of an error beside an
//! answer. What one client would show and another would not, no policy can judge: it counts as unreadable. Without an
//! enforcing policy nothing of this is asked, and the bytes pass as they are.

use crate::json::{Kind, Value};

use super::Undecodable;

/// Fails if one of `keys` stands twice in an object, or in other letters than these: some readers ignore the case.
pub(super) fn unique(object: Value<'_>, keys: &[&str]) -> Result<(), Undecodable> {
    let mut seen = 0_u64;
    for member in object.members() {
        let Some(number) = keys.iter().position(|key| key.eq_ignore_ascii_case(&member.key)) else { continue };
        if keys.get(number).is_some_and(|key| *key != member.key) {
            return Err(Undecodable(format!("the key `{}` is not in small letters", member.key)));
        }
        let bit = 1 << (number % 64);
        if seen & bit != 0 {
            return Err(Undecodable(format!("the key `{}` stands twice in one object", member.key)));
        }
        seen |= bit;
    }
    Ok(())
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
        let is_unique = |json: &str| unique(Value::parse(json.as_bytes()).expect("JSON"), &["delta", "type"]).is_ok();
        assert!(is_unique(r#"{"type":"a","delta":"b","Other":1,"Other":2}"#));
        assert!(!is_unique(r#"{"delta":"a","delta":"b"}"#));
        assert!(!is_unique(r#"{"delta":"a","Delta":"b"}"#));
        assert!(!is_unique(r#"{"DELTA":"b"}"#));
    }
}
