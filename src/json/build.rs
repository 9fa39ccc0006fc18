//! Builds JSON from pieces that are JSON already.
//!
//! Nothing is parsed and nothing is normalised: number texts, key order and lone surrogate escapes of a piece stay.

use super::{Text, escape};

/// An object, member by member.
#[derive(Debug, Clone, Default)]
pub struct Object {
    members: Vec<u8>,
}

impl Object {
    /// An empty object.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a member whose value is JSON already.
    #[must_use]
    pub fn raw(mut self, key: &str, json: impl AsRef<[u8]>) -> Self {
        if !self.members.is_empty() {
            self.members.push(b',');
        }
        self.members.push(b'"');
        escape(key, &mut self.members);
        self.members.extend_from_slice(b"\":");
        self.members.extend_from_slice(json.as_ref());
        self
    }

    /// Adds a member whose value is JSON already, if there is one.
    #[must_use]
    pub fn maybe(self, key: &str, json: Option<impl AsRef<[u8]>>) -> Self {
        match json {
            Some(json) => self.raw(key, json),
            None => self,
        }
    }

    /// Adds a string.
    #[must_use]
    pub fn str(self, key: &str, text: &str) -> Self {
        self.raw(key, super::quote(text))
    }

    /// Adds a string as it was written.
    #[must_use]
    pub fn text(self, key: &str, text: &Text) -> Self {
        self.raw(key, string(text))
    }

    /// Adds `true` or `false`.
    #[must_use]
    pub fn bool(self, key: &str, value: bool) -> Self {
        self.raw(key, if value { "true" } else { "false" })
    }

    /// Adds a whole number.
    #[must_use]
    pub fn number(self, key: &str, value: u64) -> Self {
        self.raw(key, value.to_string())
    }

    /// The JSON text.
    pub fn build(self) -> String {
        into_string([b"{".as_slice(), &self.members, b"}"].concat())
    }
}

/// An array of items that are JSON already.
pub fn array(items: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let mut out = String::from("[");
    for item in items {
        if out.len() > 1 {
            out.push(',');
        }
        out.push_str(item.as_ref());
    }
    out.push(']');
    out
}

/// A text as a JSON string, with its quotes.
pub fn string(text: &Text) -> String {
    into_string([b"\"".as_slice(), text.raw(), b"\""].concat())
}

/// A JSON text without the white space between its tokens.
pub fn compact(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let mut inside = false;
    let mut escaped = false;
    for char in json.chars() {
        if !inside && matches!(char, ' ' | '\t' | '\n' | '\r') {
            continue;
        }
        if char == '"' && !escaped {
            inside = !inside;
        }
        escaped = inside && char == '\\' && !escaped;
        out.push(char);
    }
    out
}

/// The content of a string that is itself a JSON text, as tool arguments are.
///
/// Half of a surrogate pair, which no Rust string can hold, becomes an escape of the inner text.
pub fn embedded(text: &Text) -> String {
    let raw = text.raw();
    let mut kept = Vec::with_capacity(raw.len());
    let mut rest: &[u8] = raw;
    while let Some((&byte, behind)) = rest.split_first() {
        let len = match (byte, behind.first()) {
            (b'\\', Some(b'u')) => match (unit(rest), rest.get(6..).and_then(unit)) {
                (Some(0xd800..0xdc00), Some(0xdc00..0xe000)) => 12,
                (Some(0xd800..0xe000), _) => {
                    kept.push(b'\\');
                    6
                }
                _ => 6,
            },
            (b'\\', Some(_)) => 2,
            _ => 1,
        };
        let (taken, left) = rest.split_at_checked(len).unwrap_or((rest, &[]));
        // A lone half got one more backslash in front, so that its own reads as one.
        kept.extend_from_slice(taken);
        rest = left;
    }
    Text::decode_raw(&kept).into_owned()
}

/// The code of a `\uXXXX` escape at the start of `raw`.
fn unit(raw: &[u8]) -> Option<u16> {
    let digits = raw.strip_prefix(b"\\u")?.get(..4)?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

fn into_string(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &'static str) -> Text {
        Text::from_raw(text.as_bytes().into())
    }

    #[test]
    fn pieces_stay_as_they_are() {
        let object = Object::new()
            .raw("n", "1e3")
            .str("a\"b", "x\ny")
            .text("t", &raw(r"\u0041\ud83d"))
            .maybe("gone", None::<&str>)
            .number("i", 7)
            .bool("yes", true)
            .raw("list", array(["1.0", "{}"]));
        assert_eq!(object.build(), r#"{"n":1e3,"a\"b":"x\ny","t":"\u0041\ud83d","i":7,"yes":true,"list":[1.0,{}]}"#);
        assert_eq!((Object::new().build(), array([""; 0])), ("{}".to_owned(), "[]".to_owned()));
    }

    #[test]
    fn white_space_goes_outside_of_strings_only() {
        let text = "{ \"a b\" : [ 1e3 ,\n\t\"x \\\" y \\\\\" , \" \" ] }";
        assert_eq!(compact(text), r#"{"a b":[1e3,"x \" y \\"," "]}"#);
    }

    #[test]
    fn half_a_pair_within_arguments_becomes_their_own_escape() {
        assert_eq!(embedded(&raw(r#"{\"a\":\"\ud83d\"}"#)), r#"{"a":"\ud83d"}"#);
        assert_eq!(embedded(&raw(r#"{\"a\":\"\\ud83d\"}"#)), r#"{"a":"\ud83d"}"#);
        assert_eq!(embedded(&raw(r#"{\"a\":\"\ud83d\ude00\u0041\n\"}"#)), "{\"a\":\"😀A\n\"}");
    }
}
