//! A YAML document with the place of everything in it, and with what the environment put over it.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    io::{self, Read},
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{
    mask,
    report::{Place, Problem, Report},
    yaml::{self, Spans, Tree},
};

/// A document as read, before any check against a schema.
#[derive(Debug, Clone)]
pub struct Document {
    /// The file, `-` for standard input.
    pub path: PathBuf,
    /// Its text.
    pub text: Arc<str>,
    /// What it says, including what was put over it.
    pub value: Value,
    /// Where each key and value of the text stands, by JSON pointer.
    spans: HashMap<String, Spans>,
    /// What came from elsewhere, by JSON pointer.
    overlays: BTreeMap<String, Place>,
    /// What is wrong with the text although it could be read, as a repeated key.
    faults: Vec<Problem>,
    /// It came without a text, so that places are the document as a whole.
    is_object: bool,
}

/// Which part of a setting a problem is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The key, as with an unknown one.
    Key,
    /// The value.
    Value,
}

impl Document {
    /// Reads a file, or standard input when the path is `-`.
    pub fn read(path: &Path) -> Result<Self, Report> {
        Self::parse(path, text_of(path)?)
    }

    /// Reads every document of a file that may hold several, between lines of `---`. Empty ones are left out.
    pub fn read_all(path: &Path) -> Result<Vec<Self>, Report> {
        let text = text_of(path)?;
        let mut parts = vec![String::new()];
        for (number, line) in text.lines().enumerate() {
            if line == "---" || line.starts_with("--- ") {
                // As many lines as came before, so that places are those of the file.
                parts.push("\n".repeat(number));
            }
            if let Some(part) = parts.last_mut() {
                part.push_str(line);
                part.push('\n');
            }
        }
        let is_empty =
            |part: &String| part.lines().all(|line| matches!(line.trim(), "" | "---") || line.starts_with('#'));
        let mut report = Report::default();
        let mut documents = Vec::new();
        let is_only = parts.len() == 1;
        for part in parts.into_iter().filter(|part| is_only || !is_empty(part)) {
            match Self::parse(path, part) {
                Ok(document) => documents.push(document),
                Err(wrong) => report.append(wrong),
            }
        }
        report.or(documents)
    }

    /// Reads a text; `path` is only its name in reports.
    pub fn parse(path: impl Into<PathBuf>, text: impl Into<String>) -> Result<Self, Report> {
        let mut text: String = text.into();
        if text.starts_with('\u{feff}') {
            text.remove(0);
        }
        let (tree, faults) = yaml::read(&text);
        let readable = tree.is_some();
        let Tree { value, spans } =
            tree.unwrap_or_else(|| Tree { value: Value::Object(Map::new()), spans: HashMap::new() });
        let mut document = Self {
            path: path.into(),
            text: text.into(),
            value,
            spans,
            overlays: BTreeMap::new(),
            faults: Vec::new(),
            is_object: false,
        };
        let problem = |fault: yaml::Fault| Problem {
            place: document.place_of(fault.at),
            pointer: fault.pointer,
            value: None,
            message: mask::line(&fault.message),
            remedy: mask::line(&fault.remedy),
        };
        document.faults = faults.into_iter().map(problem).collect();
        if readable { Ok(document) } else { Err(document.report(Vec::new())) }
    }

    /// A value that came without a text, as an object of an API. `name` is what reports call it.
    pub fn of_object(name: &str, value: Value) -> Self {
        let text = format!("{:#}\n", mask::tree("", &value));
        Self {
            path: name.into(),
            text: text.into(),
            value,
            spans: HashMap::new(),
            overlays: BTreeMap::new(),
            faults: Vec::new(),
            is_object: true,
        }
    }

    /// What stands at `pointer` as a document of its own, as far as `keep` takes its keys. Places stay those of the whole.
    #[must_use]
    pub fn below(&self, pointer: &str, keep: impl Fn(&str) -> bool) -> Self {
        let mut value = self.get(pointer).cloned().unwrap_or_else(|| Value::Object(Map::new()));
        if let Value::Object(fields) = &mut value {
            fields.retain(|key, _| keep(key));
        }
        let cut = |at: &String| {
            at.strip_prefix(pointer).filter(|rest| rest.is_empty() || rest.starts_with('/')).map(str::to_owned)
        };
        let spans = self.spans.iter().filter_map(|(at, spans)| Some((cut(at)?, spans.clone()))).collect();
        Self { value, spans, faults: Vec::new(), overlays: BTreeMap::new(), ..self.clone() }
    }

    /// Puts a value over the one at `pointer`, making the mappings on the way. Does nothing where the way leads through
    /// something else: that is a problem of its own, which the schema reports.
    pub fn overlay(&mut self, pointer: &str, value: Value, by: Place) {
        let mut here = &mut self.value;
        for step in pointer.split('/').skip(1) {
            let next = match here {
                Value::Object(fields) => Some(fields.entry(step).or_insert_with(|| Value::Object(Map::new()))),
                Value::Array(items) => step.parse::<usize>().ok().and_then(|index| items.get_mut(index)),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
            };
            let Some(next) = next else { return };
            here = next;
        }
        *here = value;
        let below = format!("{pointer}/");
        self.overlays.retain(|at, _| !at.starts_with(&below));
        self.overlays.insert(pointer.to_owned(), by);
    }

    /// The value at `pointer`.
    pub fn get(&self, pointer: &str) -> Option<&Value> {
        self.value.pointer(pointer)
    }

    /// What stands at `pointer`, when it has that type.
    pub fn read_as<T: DeserializeOwned>(&self, pointer: &str) -> Option<T> {
        self.get(pointer).and_then(|value| T::deserialize(value).ok())
    }

    /// As [`read_as`](Self::read_as), with a default for what is absent. What is there with a wrong type gives nothing.
    pub fn read_or<T: DeserializeOwned>(&self, pointer: &str, default: T) -> Option<T> {
        if self.get(pointer).is_some() { self.read_as(pointer) } else { Some(default) }
    }

    /// How many entries the list at `pointer` has.
    pub fn count(&self, pointer: &str) -> usize {
        self.get(pointer).and_then(Value::as_array).map_or(0, Vec::len)
    }

    /// A problem with what stands at `pointer`; the nearest thing around it when nothing stands there.
    pub fn problem(&self, pointer: &str, part: Part, message: impl Into<String>, remedy: impl Into<String>) -> Problem {
        Problem {
            place: self.place(pointer, part),
            pointer: pointer.to_owned(),
            value: self.get(pointer).and_then(|value| mask::value(pointer, value)),
            // What is wrong is often said with the value, and a pattern may be a key that somebody looks for.
            message: mask::line(&message.into()),
            remedy: mask::line(&remedy.into()),
        }
    }

    /// A report of `problems` and of what is wrong with the text itself, with excerpts of the text.
    pub fn report(&self, mut problems: Vec<Problem>) -> Report {
        problems.extend(self.faults.iter().cloned());
        Report::new(problems).with_text(&self.path, self.masked().into())
    }

    /// Its text with everything that looks like a secret masked.
    pub fn masked(&self) -> String {
        mask::text(&self.text, &self.value, &self.spans)
    }

    /// Where what stands at `pointer` comes from.
    pub fn place(&self, pointer: &str, part: Part) -> Place {
        if let Some(by) = ancestors(pointer).find_map(|at| self.overlays.get(at)) {
            return by.clone();
        }
        if self.is_object {
            return Place::File(self.path.clone());
        }
        if let Some(spans) = self.spans.get(pointer) {
            let range = match part {
                Part::Key => spans.key.as_ref().unwrap_or(&spans.value),
                Part::Value => &spans.value,
            };
            return self.place_of(range.clone());
        }
        // A mapping that exists only because a variable set something in it.
        let below = format!("{pointer}/");
        if !pointer.is_empty()
            && let Some((_, by)) = self.overlays.iter().find(|(at, _)| at.starts_with(&below))
        {
            return by.clone();
        }
        let around = ancestors(pointer).find_map(|at| self.spans.get(at));
        // The key of the mapping around it says more than the first of the mapping's own keys.
        self.place_of(around.map_or(0..0, |spans| spans.key.clone().unwrap_or_else(|| spans.value.clone())))
    }

    fn place_of(&self, span: Range<usize>) -> Place {
        let before = self.text.get(..span.start).unwrap_or(&self.text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let column = before.get(line_start..).map_or(0, |line| line.chars().count()) + 1;
        let line = memchr::memchr_iter(b'\n', before.as_bytes()).count() + 1;
        Place::Text { file: self.path.clone(), line, column, span }
    }
}

/// `pointer` and what is around it, inside out.
fn ancestors(pointer: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(pointer), |at| at.rfind('/').and_then(|end| at.get(..end)))
}

/// The text of a file, or of standard input when the path is `-`.
fn text_of(path: &Path) -> Result<String, Report> {
    let bytes = if path == Path::new("-") {
        let mut bytes = Vec::new();
        io::stdin().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        fs::read(path)
    };
    let bytes = bytes.map_err(|error| unreadable(path, &error))?;
    String::from_utf8(bytes).map_err(|error| {
        let before = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
        let line = 1 + memchr::memchr_iter(b'\n', before).count();
        Report::of_file(path, format!("line {line} is not UTF-8"), "save the file as UTF-8")
    })
}

fn unreadable(path: &Path, error: &io::Error) -> Report {
    let remedy = if error.kind() == io::ErrorKind::NotFound {
        "check the path, or create the file"
    } else {
        "check that it is a file and that this user may read it"
    };
    Report::of_file(path, format!("the file cannot be read: {error}"), remedy)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(text: &str) -> Document {
        Document::parse("t.yaml", text).expect("a document")
    }

    fn at(document: &Document, pointer: &str, part: Part) -> String {
        document.place(pointer, part).to_string()
    }

    fn problems(text: &str) -> String {
        match Document::parse("t.yaml", text) {
            Ok(document) => document.report(Vec::new()).to_string(),
            Err(report) => report.to_string(),
        }
    }

    #[test]
    fn an_empty_file_is_an_empty_mapping() {
        for text in ["", "\n", "# only a comment\n", "---\n", "\u{feff}", "~"] {
            assert_eq!(parse(text).value, json!({}), "{text:?}");
        }
    }

    #[test]
    fn keys_and_values_have_places() {
        let document = parse("a: 1\nü: {é: [x, 'y']}\n# comment\nlist:\n  - name: z\r\n    url: w\r\n");
        assert_eq!(document.value, json!({ "a": 1, "ü": { "é": ["x", "y"] }, "list": [{ "name": "z", "url": "w" }] }));
        for (pointer, part, place) in [
            ("/a", Part::Key, "t.yaml:1:1"),
            ("/a", Part::Value, "t.yaml:1:4"),
            ("/ü/é", Part::Key, "t.yaml:2:5"),
            ("/ü/é/1", Part::Value, "t.yaml:2:12"),
            ("/list/0", Part::Value, "t.yaml:5:5"),
            ("/list/0/url", Part::Key, "t.yaml:6:5"),
            ("/list/0/url", Part::Value, "t.yaml:6:10"),
            // What is missing is looked for in the mapping around it.
            ("/list/0/models", Part::Key, "t.yaml:5:5"),
            ("/list/7", Part::Key, "t.yaml:4:1"),
        ] {
            assert_eq!(at(&document, pointer, part), place, "{pointer} {part:?}");
        }
    }

    #[test]
    fn overlays_say_where_they_come_from() {
        let mut document = parse("a: {b: 1}\n");
        document.overlay("/a/b", json!(2), Place::Variable("A_B".to_owned()));
        document.overlay("/c/d", json!({ "e": 3 }), Place::Variable("C_D".to_owned()));
        document.overlay("/a/b/c", json!(4), Place::Variable("LOST".to_owned()));
        assert_eq!(document.value, json!({ "a": { "b": 2 }, "c": { "d": { "e": 3 } } }));
        assert_eq!(at(&document, "/a/b", Part::Value), "environment variable A_B");
        assert_eq!(at(&document, "/c/d/e", Part::Value), "environment variable C_D");
        assert_eq!(at(&document, "/c", Part::Value), "environment variable C_D");
        assert_eq!(at(&document, "/a", Part::Value), "t.yaml:1:4");
    }

    #[test]
    fn anchors_copy_whole_values() {
        assert_eq!(parse("a: &x {b: 1}\nc: *x\n").value, json!({ "a": { "b": 1 }, "c": { "b": 1 } }));
        let bomb = "a: &a [1,1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\n\
                    d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: [*d,*d,*d,*d,*d,*d,*d,*d]\n";
        assert!(problems(bomb).contains("copy more than"), "{}", problems(bomb));
        assert!(problems("a: &x [*x]\n").contains("inside the value"), "{}", problems("a: &x [*x]\n"));
    }

    #[test]
    fn what_is_wrong_with_the_text_is_reported_together() {
        insta::assert_snapshot!(problems("a: 1\nb: 2\na: 3\nb: {c: 1, c: 2}\n404: x\n? [1]\n: y\n"));
        insta::assert_snapshot!(problems("a: 1\n<<: 2\nn: .inf\n---\nb: 1\n"));
        insta::assert_snapshot!(problems("a:\n  - b\n c: [\n"));
        assert!(problems(&format!("{}x", "- ".repeat(100))).contains("deeper"));
    }
}
