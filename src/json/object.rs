//! The members of one object, for whoever asks for many.

use std::borrow::Cow;

use super::{Member, Value};

/// The members of an object, gone through once: it may be as long as a whole request.
#[derive(Debug)]
pub struct Object<'a>(Vec<Member<'a>>);

impl<'a> Object<'a> {
    /// Those of `value`; none if it is no object.
    pub fn of(value: Value<'a>) -> Self {
        Self(value.members().collect())
    }

    /// A member by its key, the last one of several.
    pub fn get(&self, key: &str) -> Option<Value<'a>> {
        self.0.iter().rfind(|member| member.key == key).map(|member| member.value)
    }

    /// A member by its key, unless it is `null`.
    pub fn some(&self, key: &str) -> Option<Value<'a>> {
        self.get(key).filter(|value| !value.is_null())
    }

    /// A member that is a string, decoded.
    pub fn str_at(&self, key: &str) -> Option<Cow<'a, str>> {
        self.get(key)?.as_str()
    }

    /// A member that is `true` or `false`.
    pub fn bool_at(&self, key: &str) -> Option<bool> {
        self.get(key)?.as_bool()
    }

    /// All of them, in order.
    pub fn members(&self) -> impl Iterator<Item = &Member<'a>> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_found_by_their_keys() {
        let text = br#"{"a":"x","\u0062":null,"c":true,"a":"y"}"#;
        let object = Object::of(Value::parse(text).unwrap());
        assert_eq!(object.str_at("a").as_deref(), Some("y"));
        assert!(object.get("b").is_some_and(Value::is_null) && object.some("b").is_none());
        assert_eq!((object.bool_at("c"), object.bool_at("a")), (Some(true), None));
        assert_eq!(object.members().count(), 4);
        assert_eq!(Object::of(Value::parse(b"[1]").unwrap()).members().count(), 0);
    }
}
