//! Goes through a checked JSON text once, from its first byte to its last, however deep it nests.

use std::borrow::Cow;

use super::{Text, check::string_end};

/// What an object or an array of a document begins, names or ends with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step<'a> {
    /// An object begins.
    Object,
    /// An array begins.
    Array,
    /// A member of the innermost object begins; its key, decoded.
    Key(Cow<'a, str>),
    /// The innermost object or array ends.
    End,
}

/// The steps of one value, in order. Scalars are none.
#[derive(Debug, Clone)]
pub struct Steps<'a> {
    rest: &'a [u8],
}

impl<'a> Steps<'a> {
    /// Those of a text that is known to be JSON.
    pub(super) fn of(checked: &'a [u8]) -> Self {
        Self { rest: checked }
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }

    /// Skips a string whose quote is behind us. Returns what stands between its quotes.
    fn string(&mut self) -> &'a [u8] {
        let end = string_end(self.rest, 0);
        let raw = self.rest.get(..end.saturating_sub(1)).unwrap_or_default();
        self.skip(end);
        raw
    }
}

impl<'a> Iterator for Steps<'a> {
    type Item = Step<'a>;

    fn next(&mut self) -> Option<Step<'a>> {
        loop {
            let at = self.rest.iter().position(|byte| matches!(byte, b'{' | b'[' | b'}' | b']' | b'"'))?;
            let byte = self.rest.get(at).copied();
            self.skip(at + 1);
            match byte {
                Some(b'{') => return Some(Step::Object),
                Some(b'[') => return Some(Step::Array),
                Some(b'"') => {
                    let raw = self.string();
                    // Nothing but a key has a colon behind it.
                    if self.rest.trim_ascii_start().first() == Some(&b':') {
                        return Some(Step::Key(Text::decode_raw(raw)));
                    }
                }
                _ => return Some(Step::End),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Value, *};

    #[test]
    fn keys_are_told_from_strings() {
        let text = br#"{"a" : ["b:", ":", {"\u0063":1, "d\"":"}"}], "e":{}}"#;
        let key = |key: &'static str| Step::Key(key.into());
        let steps: Vec<_> = Value::parse(text).unwrap().steps().collect();
        let inner = [Step::Object, key("c"), key("d\""), Step::End, Step::End];
        let expected: Vec<_> = [Step::Object, key("a"), Step::Array]
            .into_iter()
            .chain(inner)
            .chain([key("e"), Step::Object, Step::End, Step::End])
            .collect();
        assert_eq!(steps, expected);
        assert_eq!(Value::parse(b"\"x\"").unwrap().steps().count(), 0);
    }
}
