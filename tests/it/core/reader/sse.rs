//! Server-sent events and JSON strings, read the plain way and apart from the crate's own reading.

use serde_json::Value;

/// One event that has data.
#[derive(Debug, Clone)]
pub struct Sse {
    pub name: Option<String>,
    pub data: String,
}

/// Reads a body that comes in pieces.
#[derive(Default)]
pub struct Reader {
    pending: Vec<u8>,
    started: bool,
}

/// Half of a surrogate pair cannot stand in a Rust string; it is read as a character of this private plane.
const HALVES: u32 = 0xf_0000;

impl Reader {
    /// Takes bytes and returns the events that they complete.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Sse> {
        self.pending.extend_from_slice(bytes);
        if !self.started && self.pending.starts_with("\u{feff}".as_bytes()) {
            self.pending.drain(..3);
        }
        self.started |= self.pending.len() >= 3;
        let mut out = Vec::new();
        let mut read = 0;
        while let Some((event, used)) = first_event(&self.pending[read..]) {
            read += used;
            out.extend(event);
        }
        self.pending.drain(..read);
        out
    }

    /// What never became an event.
    pub fn rest(&self) -> &[u8] {
        &self.pending
    }
}

/// The events of a whole body.
pub fn events(body: &[u8]) -> Vec<Sse> {
    let mut reader = Reader::default();
    let mut out = reader.push(body);
    // A CR at the very end could have had an LF behind it.
    out.extend(reader.push(b"\n"));
    out
}

/// The bytes of the first event, when its blank line is there and its last line end is whole.
fn first_event(bytes: &[u8]) -> Option<(Option<Sse>, usize)> {
    let (mut name, mut data) = (None, None::<String>);
    let mut at = 0;
    loop {
        let rest = &bytes[at..];
        let len = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r'))?;
        let line = String::from_utf8_lossy(&rest[..len]).into_owned();
        at += len + 1;
        if rest[len] == b'\r' {
            at += usize::from(*bytes.get(at)? == b'\n');
        }
        if line.is_empty() {
            return Some((data.map(|data| Sse { name, data }), at));
        }
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => name = Some(value.to_owned()),
            "data" => match &mut data {
                Some(data) => *data = format!("{data}\n{value}"),
                None => data = Some(value.to_owned()),
            },
            _ => {}
        }
    }
}

/// Parses JSON in which halves of surrogate pairs may stand.
pub fn json(text: &str) -> Option<Value> {
    serde_json::from_str(&with_halves(text)).ok()
}

/// Every surrogate escape as one character of the private plane.
pub fn with_halves(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let escape = rest.get(at..at + 6).and_then(|escape| escape.strip_prefix("\\u"));
        let unit = escape.and_then(|hex| u32::from_str_radix(hex, 16).ok());
        let len = if let Some(unit @ 0xd800..=0xdfff) = unit {
            out.push(char::from_u32(HALVES + unit - 0xd800).unwrap());
            6
        } else {
            // The backslash and the character behind it.
            let len: usize = rest[at..].chars().take(2).map(char::len_utf8).sum();
            out.push_str(&rest[at..at + len]);
            len
        };
        rest = &rest[at + len..];
    }
    out.push_str(rest);
    out
}

/// Joins halves that meet; others read as U+FFFD. A last first half is left out while its second may `follow`.
pub fn joined(text: &str, follow: bool) -> String {
    let unit = |char: char| (HALVES..HALVES + 0x800).contains(&u32::from(char)).then(|| u32::from(char) - HALVES);
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        let Some(high) = unit(char) else {
            out.push(char);
            continue;
        };
        let low = chars.peek().copied().and_then(unit).filter(|low| high < 0x400 && *low >= 0x400);
        if let Some(low) = low {
            chars.next();
            out.push(char::from_u32(0x1_0000 + (high << 10) + (low - 0x400)).unwrap());
        } else if !(follow && high < 0x400 && chars.peek().is_none()) {
            out.push(char::REPLACEMENT_CHARACTER);
        }
    }
    out
}

#[test]
fn reads_every_line_end_and_halves_of_pairs() {
    let body = b"\xef\xbb\xbfdata: a\r\n\r\nevent: x\ndata:b\ndata: c\r\r: no\n\ndata: d\n\n";
    let found: Vec<_> = events(body).into_iter().map(|event| event.data).collect();
    assert_eq!(found, ["a", "b\nc", "d"]);
    let mut one_by_one = Reader::default();
    let count: usize = body.iter().map(|byte| one_by_one.push(&[*byte]).len()).sum();
    assert_eq!(count, 3);
    let halves = json(r#"["\ud83d","\ude00 \\ud83d\né"]"#).unwrap();
    let text = format!("{}{}", halves[0].as_str().unwrap(), halves[1].as_str().unwrap());
    assert_eq!(joined(&text, false), "😀 \\ud83d\né");
    assert_eq!((joined(halves[0].as_str().unwrap(), true), joined("a", true)), (String::new(), "a".to_owned()));
}
