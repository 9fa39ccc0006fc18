//! YAML text to a JSON value, with the place of every key and value.
//!
//! Built on the parser's events and not on its tree, because the tree stops at the first repeated key and forgets where
//! keys stand; here everything that is wrong is reported together.

use std::{collections::HashMap, ops::Range};

use saphyr::Scalar;
use saphyr_parser::{Event, Marker, Parser, Span, StrInput};
use serde_json::{Map, Number, Value};

/// Values nested deeper than this are refused, so that reading cannot exhaust the stack.
const MAX_DEPTH: usize = 64;

/// How many values aliases may copy in one document, so that a few lines cannot expand without end.
const MAX_COPIED: usize = 10_000;

/// Where a key and its value stand, in bytes of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spans {
    /// The key; absent for list elements and for the document itself.
    pub(super) key: Option<Range<usize>>,
    /// The value. Of a list or mapping only its first line.
    pub(super) value: Range<usize>,
}

/// A document as read.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) value: Value,
    /// By JSON pointer.
    pub(super) spans: HashMap<String, Spans>,
}

/// Something wrong with the text.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) pointer: String,
    pub(super) at: Range<usize>,
    pub(super) message: String,
    pub(super) remedy: String,
}

/// Reads `text`. There is no tree when the text is not YAML at all; otherwise faults may stand beside the tree.
pub(super) fn read(text: &str) -> (Option<Tree>, Vec<Fault>) {
    let mut reader = Reader::new(text);
    match reader.document() {
        Ok(value) => {
            let Reader { spans, faults, .. } = reader;
            (Some(Tree { value, spans }), faults)
        }
        Err(fault) => {
            reader.faults.push(fault);
            (None, reader.faults)
        }
    }
}

/// `pointer` and one more step.
pub(super) fn child(pointer: &str, step: &str) -> String {
    format!("{pointer}/{}", step.replace('~', "~0").replace('/', "~1"))
}

struct Reader<'t> {
    text: &'t str,
    parser: Parser<'t, StrInput<'t>>,
    /// Byte offset of each character: the parser counts characters.
    offsets: Vec<usize>,
    spans: HashMap<String, Spans>,
    faults: Vec<Fault>,
    anchors: HashMap<usize, Value>,
    copied: usize,
}

impl<'t> Reader<'t> {
    fn new(text: &'t str) -> Self {
        Self {
            text,
            parser: Parser::new_from_str(text),
            offsets: text.char_indices().map(|(at, _)| at).collect(),
            spans: HashMap::new(),
            faults: Vec::new(),
            anchors: HashMap::new(),
            copied: 0,
        }
    }

    fn document(&mut self) -> Result<Value, Fault> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => break,
                Event::DocumentStart(_) if root.is_some() => {
                    let at = self.range(span);
                    self.fault("", at, "a second document begins here", "keep one document in the file, without `---`");
                    break;
                }
                Event::DocumentStart(_) | Event::StreamStart | Event::DocumentEnd | Event::Nothing => {}
                event @ (Event::Alias(_)
                | Event::Scalar(..)
                | Event::SequenceStart(..)
                | Event::SequenceEnd
                | Event::MappingStart(..)
                | Event::MappingEnd) => root = Some(self.node(event, span, "", None, 0)?),
            }
        }
        // A file that says nothing is a mapping without keys: the schema then tells what is missing.
        Ok(match root {
            None | Some(Value::Null) => Value::Object(Map::new()),
            Some(value) => value,
        })
    }

    fn node(
        &mut self,
        event: Event<'t>,
        span: Span,
        pointer: &str,
        key: Option<Range<usize>>,
        depth: usize,
    ) -> Result<Value, Fault> {
        let at = self.range(span);
        if depth > MAX_DEPTH {
            return Err(fault(
                pointer,
                at,
                format!("values are nested deeper than {MAX_DEPTH}"),
                "flatten the document",
            ));
        }
        self.spans.insert(pointer.to_owned(), Spans { key, value: at.clone() });
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let shown = text.to_string();
                let Some(scalar) = Scalar::parse_from_cow_and_metadata(text, style, tag.as_ref()) else {
                    return Err(fault(pointer, at, "the value does not fit its tag", "remove the tag"));
                };
                (self.scalar(scalar, &shown, pointer, at), anchor)
            }
            Event::SequenceStart(anchor, _) => (self.sequence(pointer, depth)?, anchor),
            Event::MappingStart(anchor, _) => (self.mapping(pointer, depth)?, anchor),
            Event::Alias(anchor) => (self.alias(anchor, pointer, at)?, 0),
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::SequenceEnd
            | Event::MappingEnd => return Err(fault(pointer, at, "a value is missing here", "write a value")),
        };
        if anchor > 0 {
            self.anchors.insert(anchor, value.clone());
        }
        Ok(value)
    }

    fn scalar(&mut self, scalar: Scalar<'_>, text: &str, pointer: &str, at: Range<usize>) -> Value {
        match scalar {
            Scalar::Null => Value::Null,
            Scalar::Boolean(value) => Value::Bool(value),
            Scalar::Integer(value) => Value::from(value),
            Scalar::FloatingPoint(value) => Number::from_f64(value.into_inner()).map_or_else(
                || {
                    self.fault(pointer, at, format!("`{text}` is not a finite number"), "write a number with digits");
                    Value::Null
                },
                Value::Number,
            ),
            Scalar::String(value) => Value::String(value.into_owned()),
        }
    }

    fn sequence(&mut self, pointer: &str, depth: usize) -> Result<Value, Fault> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok(Value::Array(items));
            }
            let here = child(pointer, &items.len().to_string());
            items.push(self.node(event, span, &here, None, depth + 1)?);
        }
    }

    fn mapping(&mut self, pointer: &str, depth: usize) -> Result<Value, Fault> {
        let mut fields = Map::new();
        let mut first_lines: HashMap<String, usize> = HashMap::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                return Ok(Value::Object(fields));
            }
            let at = self.range(span);
            let name = self.key(event, span, pointer)?;
            let here = child(pointer, &name);
            if let Some(line) = first_lines.get(&name) {
                let message = format!("the key `{name}` stands here a second time (first on line {line})");
                self.fault(&here, at, message, "remove one of the two");
                // The first value counts for the other checks; the second is read only to get past it.
                let kept = std::mem::take(&mut self.spans);
                let (event, span) = self.next()?;
                self.node(event, span, &here, None, depth + 1)?;
                self.spans = kept;
                continue;
            }
            first_lines.insert(name.clone(), span.start.line());
            let (event, span) = self.next()?;
            let value = self.node(event, span, &here, Some(at), depth + 1)?;
            fields.insert(name, value);
        }
    }

    /// The text of a key.
    fn key(&mut self, event: Event<'t>, span: Span, pointer: &str) -> Result<String, Fault> {
        let at = self.range(span);
        let Event::Scalar(text, style, _, tag) = event else {
            return Err(fault(pointer, at, "a key is not plain text", "write the key as a word"));
        };
        let name = text.to_string();
        if name == "<<" {
            let remedy = "write the keys out, or use an anchor for a whole value";
            self.fault(pointer, at, "merge keys (`<<`) are not supported", remedy);
        } else if !matches!(Scalar::parse_from_cow_and_metadata(text, style, tag.as_ref()), Some(Scalar::String(_))) {
            let message = format!("the key `{name}` is not text to YAML");
            self.fault(pointer, at, message, format!("write it in quotes: \"{name}\""));
        }
        Ok(name)
    }

    fn alias(&mut self, anchor: usize, pointer: &str, at: Range<usize>) -> Result<Value, Fault> {
        let value = self.anchors.get(&anchor).cloned();
        let value = value.ok_or_else(|| {
            fault(pointer, at.clone(), "an alias stands inside the value that it names", "write the value out")
        })?;
        self.copied += count(&value);
        if self.copied > MAX_COPIED {
            let message = format!("the aliases of this document copy more than {MAX_COPIED} values");
            return Err(fault(pointer, at, message, "write fewer aliases"));
        }
        Ok(value)
    }

    fn next(&mut self) -> Result<(Event<'t>, Span), Fault> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            None => Ok((Event::StreamEnd, Span::default())),
            Some(Err(error)) => {
                let at = self.offset(*error.marker());
                let message = format!("this is not YAML: {}", error.info());
                Err(fault(
                    "",
                    at..at,
                    message,
                    "check the indentation, the quotes and the brackets here and just above",
                ))
            }
        }
    }

    fn fault(&mut self, pointer: &str, at: Range<usize>, message: impl Into<String>, remedy: impl Into<String>) {
        self.faults.push(fault(pointer, at, message, remedy));
    }

    /// The bytes of `span`, cut at the end of its first line and without trailing white space.
    fn range(&self, span: Span) -> Range<usize> {
        let (start, end) = (self.offset(span.start), self.offset(span.end));
        let text = self.text.get(start..end.max(start)).unwrap_or_default();
        let line = text.lines().next().unwrap_or_default().trim_end();
        start..start + line.len()
    }

    fn offset(&self, marker: Marker) -> usize {
        self.offsets.get(marker.index()).copied().unwrap_or(self.text.len())
    }
}

fn fault(pointer: &str, at: Range<usize>, message: impl Into<String>, remedy: impl Into<String>) -> Fault {
    Fault { pointer: pointer.to_owned(), at, message: message.into(), remedy: remedy.into() }
}

fn count(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(count).sum::<usize>(),
        Value::Object(fields) => 1 + fields.values().map(count).sum::<usize>(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 1,
    }
}
