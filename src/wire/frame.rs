//! One event of a stream with the bytes that it came in.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use memchr::{memchr, memchr2, memmem};

const BOM: &[u8] = "\u{feff}".as_bytes();

/// One event of a stream, or a comment, or an empty line: everything up to and including a blank line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    raw: Bytes,
    ended: bool,
}

/// What a frame says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said<'a> {
    /// The value of its last `event:` line.
    pub event: Option<&'a [u8]>,
    /// The values of its `data:` lines, joined by LF. `None`: it has none, and no reader dispatches it. With one `data:` line
    /// this is a slice of the frame's bytes.
    pub data: Option<Bytes>,
}

impl Frame {
    /// A frame of these bytes. `ended`: its blank line is there.
    pub fn new(raw: Bytes, ended: bool) -> Self {
        Self { raw, ended }
    }

    /// Its bytes, blank line included.
    pub fn raw(&self) -> &Bytes {
        &self.raw
    }

    /// Whether its blank line is there. The last frame of a body may lack it.
    pub fn is_ended(&self) -> bool {
        self.ended
    }

    /// What has to follow its bytes before another frame may.
    pub fn missing_end(&self) -> &'static [u8] {
        match (self.ended, self.raw.last()) {
            (true, _) => b"",
            (false, Some(b'\n' | b'\r')) => b"\n",
            (false, _) => b"\n\n",
        }
    }

    /// What it says, read once.
    pub fn said(&self) -> Said<'_> {
        let (mut event, mut data, mut more) = (None, None, false);
        for (name, value) in self.fields() {
            match name {
                b"event" => event = self.raw.get(value),
                b"data" if data.is_none() => data = Some(value),
                b"data" => more = true,
                _ => {}
            }
        }
        let data = if more { Some(self.joined()) } else { data.map(|line| self.raw.slice(line)) };
        Said { event, data }
    }

    /// The value of its last `event:` line.
    pub fn event(&self) -> Option<&[u8]> {
        self.said().event
    }

    /// Its data.
    pub fn data(&self) -> Option<Bytes> {
        self.said().data
    }

    /// Whether a line begins with a byte order mark, which some readers remove and others take for a part of the name of the
    /// field. One may stand before the first line of a stream.
    pub fn has_stray_mark(&self, is_first: bool) -> bool {
        let at_start = |at: usize| at == 0 || matches!(self.raw.get(at - 1), Some(b'\n' | b'\r'));
        memmem::find_iter(&self.raw, BOM).any(|at| at_start(at) && !(is_first && at == 0))
    }

    /// Whether it begins as JSON does, and no line of a stream. Readers that go by what they asked for, and not by the type
    /// of the answer, would read it as such.
    pub fn begins_as_json(&self) -> bool {
        let marked = self.raw.strip_prefix(BOM).unwrap_or(&self.raw);
        matches!(marked.trim_ascii_start().first(), Some(b'{' | b'[' | b'"'))
    }

    /// The same frame with other data: every other line stays, the data stands where the first `data:` line stood.
    #[must_use]
    pub fn with_data(&self, data: &[u8]) -> Self {
        let mut out = BytesMut::with_capacity(self.raw.len() + data.len());
        let mut written = false;
        for line in self.lines() {
            let field = self.field(&line.content);
            if field.as_ref().is_none_or(|(name, _)| *name != b"data") {
                out.extend_from_slice(self.raw.get(line.content.start..line.end).unwrap_or_default());
                continue;
            }
            if std::mem::replace(&mut written, true) {
                continue;
            }
            let value = field.map_or(line.content.end, |(_, value)| value.start);
            let prefix = self.raw.get(line.content.start..value).unwrap_or_default();
            let prefix = if prefix == b"data" { b"data: " } else { prefix };
            let end = self.raw.get(line.content.end..line.end).unwrap_or_default();
            for part in data.split(|byte| *byte == b'\n') {
                out.extend_from_slice(prefix);
                out.extend_from_slice(part);
                out.extend_from_slice(end);
            }
        }
        Self { raw: out.freeze(), ended: self.ended }
    }

    fn joined(&self) -> Bytes {
        let lines = self.fields().filter(|(name, _)| *name == b"data").map(|(_, value)| value);
        let mut joined = BytesMut::new();
        for (number, line) in lines.enumerate() {
            if number > 0 {
                joined.extend_from_slice(b"\n");
            }
            joined.extend_from_slice(self.raw.get(line).unwrap_or_default());
        }
        joined.freeze()
    }

    fn fields(&self) -> impl Iterator<Item = (&[u8], Range<usize>)> + '_ {
        self.lines().filter_map(|line| self.field(&line.content))
    }

    /// Name and place of the value of the field that a line holds. `None`: a comment or an empty line.
    fn field(&self, line: &Range<usize>) -> Option<(&[u8], Range<usize>)> {
        let content = self.raw.get(line.clone()).filter(|content| !content.is_empty())?;
        let Some(colon) = memchr(b':', content) else { return Some((content, line.end..line.end)) };
        if colon == 0 {
            return None;
        }
        let value = line.start + colon + 1;
        let space = usize::from(self.raw.get(value) == Some(&b' ') && value < line.end);
        Some((content.get(..colon).unwrap_or_default(), value + space..line.end))
    }

    fn lines(&self) -> Lines<'_> {
        // A byte order mark may stand before the first line of a stream, and nowhere else would a field begin with it.
        Lines { raw: &self.raw, at: if self.raw.starts_with(BOM) { BOM.len() } else { 0 } }
    }
}

/// Writes an event as providers do: LF line ends, `event:` first, one `data:` line per line of `data`.
pub fn write_event(event: Option<&str>, data: &[u8], out: &mut Vec<u8>) {
    if let Some(event) = event {
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(event.as_bytes());
        out.push(b'\n');
    }
    for line in data.split(|byte| matches!(byte, b'\n' | b'\r')) {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(line);
        out.push(b'\n');
    }
    out.push(b'\n');
}

struct Lines<'a> {
    raw: &'a [u8],
    at: usize,
}

struct Line {
    content: Range<usize>,
    /// One past its line end.
    end: usize,
}

impl Iterator for Lines<'_> {
    type Item = Line;

    fn next(&mut self) -> Option<Line> {
        let start = self.at;
        let rest = self.raw.get(start..).filter(|rest| !rest.is_empty())?;
        let len = memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
        let ending = match rest.get(len..) {
            Some([b'\r', b'\n', ..]) => 2,
            Some([_, ..]) => 1,
            _ => 0,
        };
        self.at = start + len + ending;
        Some(Line { content: start..start + len, end: self.at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(raw: &str) -> Frame {
        Frame::new(Bytes::copy_from_slice(raw.as_bytes()), raw.ends_with("\n\n"))
    }

    fn data(raw: &str) -> Option<String> {
        frame(raw).data().map(|data| String::from_utf8(data.to_vec()).unwrap())
    }

    #[test]
    fn reads_fields_as_the_standard_says() {
        assert_eq!(data("data: a\n\n").unwrap(), "a");
        assert_eq!(data("data:a\r\ndata:  b\r\n\r\n").unwrap(), "a\n b");
        assert_eq!(data("data\n\n").unwrap(), "");
        assert_eq!(data(": data: a\n\n"), None);
        assert_eq!(data("\n"), None);
        assert_eq!(data("\u{feff}data: a\rid: 1\r\r").unwrap(), "a");
        assert_eq!(frame("event: x\ndata: 1\nevent:y\n\n").event().unwrap(), b"y");
        assert_eq!(data("data: u\u{2028}\u{85}v\n\n").unwrap(), "u\u{2028}\u{85}v");
    }

    #[test]
    fn other_data_keeps_every_other_line() {
        let changed = |raw: &str| String::from_utf8(frame(raw).with_data(b"{1\n2}").raw().to_vec()).unwrap();
        assert_eq!(changed(": c\nid: 7\ndata:a\ndata: b\nx: y\n\n"), ": c\nid: 7\ndata:{1\ndata:2}\nx: y\n\n");
        // A field without a colon is one without a value, and has no place for one.
        assert_eq!(changed("data\ndata: a\n\n"), "data: {1\ndata: 2}\n\n");
        assert_eq!(changed("event: e\r\ndata: a\r\n\r\n"), "event: e\r\ndata: {1\r\ndata: 2}\r\n\r\n");
    }

    #[test]
    fn json_is_told_from_a_stream() {
        for json in ["{\"a\":1}", " \t[\n", "\u{feff}{}", "\"x\""] {
            assert!(frame(json).begins_as_json(), "{json}");
        }
        for line in ["data: {}\n\n", ": {\n\n", "\n", "", "event: x\ndata: {}\n\n"] {
            assert!(!frame(line).begins_as_json(), "{line}");
        }
    }

    #[test]
    fn knows_what_its_end_lacks() {
        assert_eq!(frame("data: a\n\n").missing_end(), b"");
        assert_eq!(frame("data: a\n").missing_end(), b"\n");
        assert_eq!(frame("data: a").missing_end(), b"\n\n");
    }
}
