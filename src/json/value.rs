//! A view of a JSON text that knows where each value stands.

use std::{borrow::Cow, fmt};

use bytes::Bytes;
use serde::de::IgnoredAny;

use super::{
    Steps, Text,
    check::{check, string_end},
};

/// The place of a value in its document, as byte offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

/// One value of a checked JSON document.
///
/// Copying it is free; nothing is parsed before it is asked for. A key that stands twice in an object is read as every
/// SDK reads it: the last one counts.
#[derive(Clone, Copy)]
pub struct Value<'a> {
    document: &'a [u8],
    span: Span,
}

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `{…}`
    Object,
    /// `[…]`
    Array,
    /// `"…"`
    String,
    /// A number, whose text is kept.
    Number,
    /// `true` or `false`
    Bool,
    /// `null`
    Null,
}

/// The text is not one JSON value in valid UTF-8.
#[derive(Debug, thiserror::Error)]
#[error("not valid JSON: {0}")]
pub struct Malformed(String);

/// One member of an object.
#[derive(Debug, Clone)]
pub struct Member<'a> {
    /// Its key, decoded.
    pub key: Cow<'a, str>,
    /// Its value.
    pub value: Value<'a>,
    /// From its key to the end of its value.
    pub span: Span,
}

/// The members of an object, in order.
#[derive(Clone)]
pub struct Members<'a> {
    cursor: Cursor<'a>,
}

/// The items of an array, in order.
#[derive(Clone)]
pub struct Items<'a> {
    cursor: Cursor<'a>,
}

impl Span {
    /// Bytes from `start` to `end`.
    pub const fn len(self) -> usize {
        self.end - self.start
    }

    /// Whether it covers nothing.
    pub const fn is_empty(self) -> bool {
        self.end == self.start
    }
}

impl<'a> Value<'a> {
    /// Checks that `document` is one JSON value in UTF-8 and returns a view of it.
    ///
    /// Lone surrogate escapes are accepted, as ECMA-404 and every SDK accept them.
    pub fn parse(document: &'a [u8]) -> Result<Self, Malformed> {
        std::str::from_utf8(document).map_err(|error| Malformed(error.to_string()))?;
        let Some(span) = check(document) else {
            let error = serde_json::from_slice::<IgnoredAny>(document).err();
            return Err(Malformed(error.map_or_else(|| "not one value".to_owned(), |error| error.to_string())));
        };
        Ok(Self { document, span })
    }

    /// Where it stands.
    pub const fn span(self) -> Span {
        self.span
    }

    /// Its bytes, as written.
    pub fn raw(self) -> &'a [u8] {
        self.document.get(self.span.start..self.span.end).unwrap_or_default()
    }

    /// Its bytes, as written, as a string.
    pub fn raw_str(self) -> &'a str {
        std::str::from_utf8(self.raw()).unwrap_or_default()
    }

    /// What it is.
    pub fn kind(self) -> Kind {
        match self.raw().first() {
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            Some(b'"') => Kind::String,
            Some(b't' | b'f') => Kind::Bool,
            Some(b'n') | None => Kind::Null,
            Some(_) => Kind::Number,
        }
    }

    /// Whether it is `null`.
    pub fn is_null(self) -> bool {
        self.kind() == Kind::Null
    }

    /// The members of an object; nothing for any other kind.
    pub fn members(self) -> Members<'a> {
        Members { cursor: self.inside(Kind::Object) }
    }

    /// The items of an array; nothing for any other kind.
    pub fn items(self) -> Items<'a> {
        Items { cursor: self.inside(Kind::Array) }
    }

    /// Every object, array and key within it, in order.
    pub fn steps(self) -> Steps<'a> {
        Steps::of(self.raw())
    }

    /// A member of an object by its key.
    pub fn get(self, key: &str) -> Option<Value<'a>> {
        let [found] = self.pick([key]);
        found
    }

    /// Members of an object by their keys, in one pass over it.
    pub fn pick<const N: usize>(self, keys: [&str; N]) -> [Option<Value<'a>>; N] {
        let mut found = [None; N];
        let mut cursor = self.inside(Kind::Object);
        while let Some((key, value)) = cursor.take_member() {
            let raw = key.string_raw().unwrap_or_default();
            // Hardly any key is written with escapes.
            let decoded = raw.contains(&b'\\').then(|| Text::decode_raw(raw));
            let said = decoded.as_ref().map_or(raw, |key| key.as_bytes());
            if let Some((_, found)) = keys.iter().zip(&mut found).find(|(name, _)| name.as_bytes() == said) {
                *found = Some(value);
            }
        }
        found
    }

    /// A member of an object by its key, unless it is `null`.
    pub fn some(self, key: &str) -> Option<Value<'a>> {
        self.get(key).filter(|value| !value.is_null())
    }

    /// The text of a string, decoded; a lone surrogate escape reads as U+FFFD.
    pub fn as_str(self) -> Option<Cow<'a, str>> {
        self.string_raw().map(Text::decode_raw)
    }

    /// The content of a string as it was written, between its quotes.
    pub fn string_raw(self) -> Option<&'a [u8]> {
        (self.kind() == Kind::String).then(|| {
            let raw = self.raw();
            raw.get(1..raw.len().saturating_sub(1)).unwrap_or_default()
        })
    }

    /// Where the content of a string stands, without its quotes.
    pub fn string_span(self) -> Option<Span> {
        (self.kind() == Kind::String)
            .then(|| Span { start: self.span.start + 1, end: (self.span.end - 1).max(self.span.start + 1) })
    }

    /// The content of a string, sharing the bytes of `document`, which must be the document that this view was made of.
    pub fn text_in(self, document: &Bytes) -> Option<Text> {
        let span = self.string_span()?;
        (span.end <= document.len()).then(|| Text::from_raw(document.slice(span.start..span.end)))
    }

    /// A member that is a string, decoded.
    pub fn str_at(self, key: &str) -> Option<Cow<'a, str>> {
        self.get(key).and_then(Value::as_str)
    }

    /// The value of a non-negative integer.
    pub fn as_u64(self) -> Option<u64> {
        (self.kind() == Kind::Number).then(|| self.raw_str().parse().ok()).flatten()
    }

    /// The value of `true` or `false`.
    pub fn as_bool(self) -> Option<bool> {
        match self.raw() {
            b"true" => Some(true),
            b"false" => Some(false),
            _ => None,
        }
    }

    fn inside(self, kind: Kind) -> Cursor<'a> {
        let at = if self.kind() == kind { self.span.start + 1 } else { self.document.len() };
        Cursor { document: self.document, at }
    }
}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.raw_str())
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = Member<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let (key, value) = self.cursor.take_member()?;
        let span = Span { start: key.span.start, end: value.span.end };
        Some(Member { key: key.as_str().unwrap_or_default(), value, span })
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        self.cursor.skip_separators();
        match self.cursor.peek() {
            None | Some(b']') => None,
            Some(_) => Some(self.cursor.take_value()),
        }
    }
}

/// Walks a text that is known to be JSON.
#[derive(Clone)]
struct Cursor<'a> {
    document: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn peek(&self) -> Option<u8> {
        self.document.get(self.at).copied()
    }

    fn skip_while(&mut self, test: impl Fn(u8) -> bool) {
        while self.peek().is_some_and(&test) {
            self.at += 1;
        }
    }

    fn skip_separators(&mut self) {
        self.skip_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b',' | b':'));
    }

    /// The next member of the object that it walks through: key and value.
    fn take_member(&mut self) -> Option<(Value<'a>, Value<'a>)> {
        self.skip_separators();
        if self.peek() != Some(b'"') {
            return None;
        }
        let key = self.take_value();
        self.skip_separators();
        Some((key, self.take_value()))
    }

    fn take_value(&mut self) -> Value<'a> {
        let start = self.at;
        self.skip_value();
        Value { document: self.document, span: Span { start, end: self.at } }
    }

    fn skip_value(&mut self) {
        match self.peek() {
            Some(b'"') => self.at = string_end(self.document, self.at + 1),
            Some(b'{' | b'[') => self.skip_nested(),
            _ => self.skip_while(|byte| !matches!(byte, b',' | b']' | b'}' | b' ' | b'\t' | b'\n' | b'\r')),
        }
    }

    /// Skips an object or an array. Braces and brackets nest properly in checked JSON, so one depth serves both.
    fn skip_nested(&mut self) {
        let mut depth = 0_usize;
        while let Some(byte) = self.peek() {
            match byte {
                b'"' => {
                    self.at = string_end(self.document, self.at + 1);
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_values_with_their_spans() {
        let text = br#" {"a" : [1, {"b":"x\"}]"}, -1.0e3 ] , "n":null,"a2":true} "#;
        let value = Value::parse(text).unwrap();
        assert_eq!(value.kind(), Kind::Object);
        let items: Vec<_> = value.get("a").unwrap().items().map(Value::raw_str).collect();
        assert_eq!(items, ["1", r#"{"b":"x\"}]"}"#, "-1.0e3"]);
        assert_eq!(value.get("a").unwrap().items().nth(1).unwrap().str_at("b").unwrap(), "x\"}]");
        assert!(value.some("n").is_none());
        assert_eq!(value.get("a2").unwrap().as_bool(), Some(true));
        let span = value.get("a2").unwrap().span();
        assert_eq!(&text[span.start..span.end], b"true");
    }

    #[test]
    fn the_last_of_two_equal_keys_counts() {
        let value = Value::parse(br#"{"a":1,"\u0061":2}"#).unwrap();
        assert_eq!(value.get("a").unwrap().as_u64(), Some(2));
    }

    #[test]
    fn empty_containers_have_nothing_inside() {
        let value = Value::parse(br#"{"a":[ ],"b":{ },"c":""}"#).unwrap();
        assert_eq!(value.get("a").unwrap().items().count(), 0);
        assert_eq!(value.get("b").unwrap().members().count(), 0);
        assert!(value.get("c").unwrap().string_span().unwrap().is_empty());
        assert_eq!(value.get("c").unwrap().items().count(), 0);
    }

    #[test]
    fn refuses_what_is_not_json() {
        for text in [&b"{"[..], b"{}x", b"[1,]", b"\"\xff\"", b"", b"{\"a\":01}", b"nul"] {
            assert!(Value::parse(text).is_err(), "{}", String::from_utf8_lossy(text));
        }
        assert!(Value::parse(br#""\ud83d""#).is_ok());
    }
}
