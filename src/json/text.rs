//! The content of a JSON string as it was written, and edits of it that leave the rest as it was.

use std::{borrow::Cow, fmt, ops::Range};

use bytes::Bytes;
use memchr::memchr;

/// The content of a JSON string, escapes and all, without its quotes.
///
/// Text stays in this form from the provider to the client, so that what nobody edits leaves exactly as it came: `\u0041`
/// stays `\u0041`, and half of a surrogate pair stays half.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Text {
    raw: Bytes,
}

/// Replaces a range of a decoded text. An empty range inserts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// The bytes of the decoded text that go; both ends are character boundaries.
    pub range: Range<usize>,
    /// What stands there instead.
    pub with: String,
}

/// Decodes texts that follow each other, joining a surrogate pair that was cut between two of them.
///
/// While [`Decoder::is_open`] a character has begun whose second half may follow; nothing of it is written yet.
#[derive(Debug, Default, Clone)]
pub struct Decoder {
    high: Option<u16>,
}

impl Text {
    /// A text from its escaped form, which must be the content of a JSON string.
    pub fn from_raw(raw: Bytes) -> Self {
        Self { raw }
    }

    /// Escapes a text.
    pub fn new(text: &str) -> Self {
        let mut raw = Vec::with_capacity(text.len());
        escape(text, &mut raw);
        Self { raw: raw.into() }
    }

    /// The escaped form.
    pub fn raw(&self) -> &Bytes {
        &self.raw
    }

    /// This text and another behind it.
    #[must_use]
    pub fn with(&self, behind: &Self) -> Self {
        Self { raw: [&self.raw[..], &behind.raw[..]].concat().into() }
    }

    /// The text up to the first half of a character that its last escape begins, and that half, if there is one.
    pub fn without_open_half(&self) -> (Self, Option<Self>) {
        match Units::new(&self.raw).last() {
            Some((Unit::High(_), place)) => {
                (Self { raw: self.raw.slice(..place.start) }, Some(Self { raw: self.raw.slice(place) }))
            }
            Some((Unit::Plain(_) | Unit::Char(_) | Unit::Low(_), _)) | None => (self.clone(), None),
        }
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }

    /// What it says; a lone surrogate escape reads as U+FFFD.
    pub fn decode(&self) -> Cow<'_, str> {
        Self::decode_raw(&self.raw)
    }

    /// What an escaped text says; a lone surrogate escape reads as U+FFFD.
    pub fn decode_raw(raw: &[u8]) -> Cow<'_, str> {
        if memchr(b'\\', raw).is_none() {
            // Most texts are short and right, for which this is the quicker way.
            return std::str::from_utf8(raw).map_or_else(|_| String::from_utf8_lossy(raw), Cow::Borrowed);
        }
        let mut decoder = Decoder::default();
        let mut out = String::with_capacity(raw.len());
        decoder.push_raw(raw, &mut out);
        decoder.finish(&mut out);
        Cow::Owned(out)
    }

    /// Applies edits, in order and without overlap, and keeps every other byte.
    ///
    /// The edits speak of a longer decoded text in which this one starts at `start`. `joined` says that its first escape
    /// is the second half of a character that the text before began: both halves then stand for the same place. What
    /// an edit covers outside this text is ignored.
    #[must_use]
    pub fn splice(&self, start: usize, joined: bool, edits: &[Edit]) -> Self {
        let places: Vec<usize> = edits.iter().flat_map(|edit| [edit.range.start, edit.range.end]).collect();
        let offsets = self.offsets(start, joined, &places);
        let mut raw = Vec::with_capacity(self.raw.len());
        let mut kept = 0;
        for (edit, ends) in edits.iter().zip(offsets.chunks_exact(2)) {
            let (from, to) = (ends.first().copied().unwrap_or(kept), ends.last().copied().unwrap_or(kept));
            raw.extend_from_slice(self.raw.get(kept..from).unwrap_or_default());
            escape(&edit.with, &mut raw);
            kept = to.max(kept);
        }
        raw.extend_from_slice(self.raw.get(kept..).unwrap_or_default());
        Self { raw: raw.into() }
    }

    /// Where decoded places (ascending) stand in the escaped form.
    fn offsets(&self, start: usize, joined: bool, places: &[usize]) -> Vec<usize> {
        let mut out = Vec::with_capacity(places.len());
        let mut places = places.iter().copied().peekable();
        let mut at = start;
        let mut first = joined;
        for (unit, raw) in Units::new(&self.raw) {
            while places.next_if(|place| *place <= at).is_some() {
                out.push(raw.start);
            }
            if let Unit::Plain(text) = unit {
                while let Some(place) = places.next_if(|place| *place < at + text.len()) {
                    out.push(raw.start + place - at);
                }
            }
            at += match unit {
                Unit::Low(_) if first => PAIR_LEN,
                Unit::Plain(_) | Unit::Char(_) | Unit::High(_) | Unit::Low(_) => unit.decoded_len(),
            };
            first = false;
        }
        out.extend(places.map(|_| self.raw.len()));
        out
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.raw))
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl Decoder {
    /// Decodes one more text to the end of `out`. Returns whether its first escape joined the text before.
    pub fn push(&mut self, text: &Text, out: &mut String) -> bool {
        self.push_raw(text.raw(), out)
    }

    /// Ends the text: a half that is still open reads as U+FFFD.
    pub fn finish(&mut self, out: &mut String) {
        if self.high.take().is_some() {
            out.push(char::REPLACEMENT_CHARACTER);
        }
    }

    /// Whether a character has begun whose second half may follow.
    pub fn is_open(&self) -> bool {
        self.high.is_some()
    }

    /// Does the same with a text in its escaped form.
    pub fn push_raw(&mut self, raw: &[u8], out: &mut String) -> bool {
        let mut joined = false;
        let mut units = Units::new(raw).peekable();
        while let Some((unit, _)) = units.next() {
            if let (Some(high), Unit::Low(low)) = (self.high, unit) {
                self.high = None;
                joined = true;
                out.push(join(high, low));
                continue;
            }
            self.finish(out);
            match unit {
                Unit::Plain(text) => out.push_str(text),
                Unit::Char(char) => out.push(char),
                Unit::High(high) if units.peek().is_none() => self.high = Some(high),
                Unit::High(_) | Unit::Low(_) => out.push(char::REPLACEMENT_CHARACTER),
            }
        }
        joined
    }
}

/// Escapes `text` as the content of a JSON string.
pub fn escape(text: &str, out: &mut Vec<u8>) {
    for char in text.chars() {
        match char {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            control if control < ' ' => out.extend_from_slice(format!("\\u{:04x}", u32::from(control)).as_bytes()),
            // Python's `str.splitlines` ends lines here, and some clients split SSE lines with it.
            '\u{85}' | '\u{2028}' | '\u{2029}' => {
                out.extend_from_slice(format!("\\u{:04x}", u32::from(char)).as_bytes());
            }
            char => out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

/// `text` as a JSON string, with its quotes.
pub fn quote(text: &str) -> Vec<u8> {
    let mut out = vec![b'"'];
    escape(text, &mut out);
    out.push(b'"');
    out
}

/// The places of the contents of the string literals in a JSON text, keys and values, in order.
///
/// The text may be cut off anywhere, as the arguments of a tool call are by a token limit: a literal that is cut reaches
/// to the end.
pub fn literals(text: &str) -> impl Iterator<Item = Range<usize>> + '_ {
    let bytes = text.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + memchr(b'"', bytes.get(at..)?)? + 1;
        let mut end = start;
        loop {
            match bytes.get(end) {
                Some(b'\\') => end += 2,
                Some(b'"') | None => break,
                Some(_) => end += 1,
            }
        }
        let end = end.min(bytes.len());
        at = end + 1;
        Some(start..end)
    })
}

/// UTF-8 length of every character that UTF-16 writes as a pair.
const PAIR_LEN: usize = 4;

/// One unit of an escaped text: a plain run, or one escape; a surrogate pair is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit<'a> {
    Plain(&'a str),
    Char(char),
    High(u16),
    Low(u16),
}

struct Units<'a> {
    raw: &'a [u8],
    at: usize,
}

impl Unit<'_> {
    fn decoded_len(self) -> usize {
        match self {
            Unit::Plain(text) => text.len(),
            Unit::Char(char) => char.len_utf8(),
            Unit::High(_) | Unit::Low(_) => char::REPLACEMENT_CHARACTER.len_utf8(),
        }
    }
}

impl<'a> Units<'a> {
    fn new(raw: &'a [u8]) -> Self {
        Self { raw, at: 0 }
    }

    fn hex(&self, at: usize) -> Option<u16> {
        let digits = self.raw.get(at..at + 4)?;
        digits
            .iter()
            .try_fold(0_u16, |code, digit| Some(code << 4 | u16::try_from(char::from(*digit).to_digit(16)?).ok()?))
    }

    /// The unit of the escape at `at`, and its length. `None`: it is cut off or not an escape.
    fn escape_at(&self, at: usize) -> Option<(Unit<'a>, usize)> {
        let unit = match self.raw.get(at + 1)? {
            b'n' => Unit::Char('\n'),
            b'r' => Unit::Char('\r'),
            b't' => Unit::Char('\t'),
            b'b' => Unit::Char('\u{8}'),
            b'f' => Unit::Char('\u{c}'),
            other @ (b'"' | b'\\' | b'/') => Unit::Char(char::from(*other)),
            b'u' => return self.unicode_at(at),
            _ => return None,
        };
        Some((unit, 2))
    }

    fn unicode_at(&self, at: usize) -> Option<(Unit<'a>, usize)> {
        let code = self.hex(at + 2)?;
        Some(match code {
            0xd800..0xdc00 => match self.raw.get(at + 6..at + 8).filter(|next| *next == b"\\u").and(self.hex(at + 8)) {
                Some(low @ 0xdc00..0xe000) => (Unit::Char(join(code, low)), 12),
                _ => (Unit::High(code), 6),
            },
            0xdc00..0xe000 => (Unit::Low(code), 6),
            code => (Unit::Char(char::from_u32(u32::from(code)).unwrap_or(char::REPLACEMENT_CHARACTER)), 6),
        })
    }
}

impl<'a> Iterator for Units<'a> {
    type Item = (Unit<'a>, Range<usize>);

    fn next(&mut self) -> Option<Self::Item> {
        let start = self.at;
        let rest = self.raw.get(start..).filter(|rest| !rest.is_empty())?;
        if rest.first() == Some(&b'\\')
            && let Some((unit, len)) = self.escape_at(start)
        {
            self.at += len;
            return Some((unit, start..self.at));
        }
        // A backslash that starts no escape stands in a text that was cut off; it reads as itself.
        let len = memchr(b'\\', rest.get(1..).unwrap_or_default()).map_or(rest.len(), |found| found + 1);
        self.at += len;
        let plain = rest.get(..len).unwrap_or_default();
        Some((Unit::Plain(std::str::from_utf8(plain).unwrap_or_default()), start..self.at))
    }
}

fn join(high: u16, low: u16) -> char {
    char::decode_utf16([high, low]).next().and_then(Result::ok).unwrap_or(char::REPLACEMENT_CHARACTER)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Text {
        Text::from_raw(Bytes::copy_from_slice(text.as_bytes()))
    }

    fn edit(range: Range<usize>, with: &str) -> Edit {
        Edit { range, with: with.to_owned() }
    }

    fn spliced(text: &str, start: usize, joined: bool, edits: &[Edit]) -> String {
        String::from_utf8(raw(text).splice(start, joined, edits).raw().to_vec()).unwrap()
    }

    #[test]
    fn decodes_escapes_pairs_and_lone_halves() {
        assert_eq!(raw(r#"a\u0041\n\"\/ \ud83d\ude00"#).decode(), "aA\n\"/ 😀");
        assert_eq!(raw(r"\ud83d x \ude00").decode(), "\u{fffd} x \u{fffd}");
        assert_eq!(raw(r"cut \u00").decode(), r"cut \u00");
        assert_eq!(raw(r"cut \").decode(), r"cut \");
    }

    #[test]
    fn joins_a_pair_that_was_cut_between_two_texts() {
        let mut decoder = Decoder::default();
        let mut out = String::new();
        assert!(!decoder.push(&raw(r"ok \ud83d"), &mut out));
        assert!(decoder.is_open());
        assert_eq!(out, "ok ");
        assert!(decoder.push(&raw(r"\ude00!"), &mut out));
        assert!(!decoder.is_open());
        assert_eq!(out, "ok 😀!");
        decoder.push(&raw(r"\ud83d"), &mut out);
        decoder.finish(&mut out);
        assert_eq!(out, "ok 😀!\u{fffd}");
    }

    #[test]
    fn an_edit_keeps_every_other_escape() {
        let text = r"\u0041 b \ud83d\ude00 c\n \ud83d d";
        assert_eq!(spliced(text, 0, false, &[edit(2..3, "X\"")]), r#"\u0041 X\" \ud83d\ude00 c\n \ud83d d"#);
        assert_eq!(spliced(text, 0, false, &[edit(4..8, "")]), r"\u0041 b  c\n \ud83d d");
        assert_eq!(spliced(text, 0, false, &[edit(0..1, "Z"), edit(9..11, "-")]), r"Z b \ud83d\ude00 - \ud83d d");
        assert_eq!(spliced("abc", 10, false, &[edit(13..13, "!")]), "abc!");
        assert_eq!(spliced("abc", 10, false, &[edit(5..11, "!"), edit(12..99, "")]), "!b");
        assert_eq!(spliced("abc", 0, false, &[]), "abc");
    }

    #[test]
    fn both_halves_of_a_cut_pair_stand_for_the_same_place() {
        // "ok " + 😀 at 3..7 + "!" at 7..8
        assert_eq!(spliced(r"ok \ud83d", 0, false, &[edit(3..7, ":)")]), "ok :)");
        assert_eq!(spliced(r"\ude00!", 3, true, &[edit(3..7, "")]), "!");
        assert_eq!(spliced(r"\ude00!", 3, true, &[edit(7..8, "?")]), r"\ude00?");
    }

    #[test]
    fn literals_of_a_cut_text() {
        let text = r#"{"a":"x\"y","b":["z"],"c":"cut \"#;
        let found: Vec<_> = literals(text).map(|range| &text[range]).collect();
        assert_eq!(found, ["a", r#"x\"y"#, "b", "z", "c", r"cut \"]);
    }

    proptest::proptest! {
        #[test]
        fn what_is_escaped_decodes_to_itself(text: String) {
            proptest::prop_assert_eq!(Text::new(&text).decode().into_owned(), text.clone());
            proptest::prop_assert_eq!(serde_json::from_slice::<String>(&quote(&text)).unwrap(), text);
        }

        #[test]
        fn splicing_is_replacing_in_the_decoded_text(
            parts in proptest::collection::vec("[a-z]{0,3}|\\\\n|\\\\u00e9|\\\\ud83d\\\\ude00|\\\\ud83d|é", 0..8),
            a in 0_usize..40, b in 0_usize..40, with: String,
        ) {
            let text = raw(&parts.concat());
            let decoded = text.decode().into_owned();
            let clip = |at: usize| (0..=at.min(decoded.len())).rev().find(|at| decoded.is_char_boundary(*at)).unwrap();
            let (from, to) = (clip(a.min(b)), clip(a.max(b)));
            let out = text.splice(0, false, &[edit(from..to, &with)]);
            let mut expected = decoded.clone();
            expected.replace_range(from..to, &with);
            // Halves that an edit brings together become one character, as they would for any reader.
            if !decoded.contains('\u{fffd}') {
                proptest::prop_assert_eq!(out.decode(), expected);
            }
        }
    }
}
