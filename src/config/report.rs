//! What is wrong with a configuration: every problem at once, each with its place and its remedy.

use std::{
    collections::BTreeMap,
    fmt,
    io::{self, IsTerminal, Write},
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode};

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where it stands.
    pub place: Place,
    /// JSON pointer into the document, as `/upstreams/0/url`.
    pub pointer: String,
    /// The value as written, when it is a scalar and no secret.
    pub value: Option<String>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

/// Where a problem stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In a file's text.
    Text {
        /// The file, `-` for standard input.
        file: PathBuf,
        /// Counted from 1.
        line: usize,
        /// In characters, counted from 1.
        column: usize,
        /// In bytes of the text, for the excerpt.
        span: Range<usize>,
    },
    /// A file as a whole, as one that is missing.
    File(PathBuf),
    /// An environment variable.
    Variable(String),
    /// An argument of the program, as `--listen`.
    Argument(String),
}

/// Problems, in the order of their places, with the texts that they are about.
///
/// ```
/// use luthien::config::{document::Document, report::Report};
///
/// let report = Document::parse("luthien.yaml", "a: [").unwrap_err();
/// assert!(report.to_string().starts_with("luthien.yaml:1:"));
/// ```
#[derive(Debug, Clone, Default)]
pub struct Report {
    problems: Vec<Problem>,
    /// By file, with secrets masked.
    texts: BTreeMap<PathBuf, Arc<str>>,
}

/// How a report looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// For a terminal: excerpts of the file in colours.
    Graphical,
    /// For logs and programs: `FILE:LINE:COLUMN: KEY: MESSAGE`, then value and remedy.
    Plain,
}

impl Problem {
    /// The pointer as people write keys: `upstreams[0].url`. Empty for the document itself.
    pub fn key(&self) -> String {
        key(&self.pointer)
    }
}

/// A JSON pointer as people write keys: `upstreams[0].url`.
pub(super) fn key(pointer: &str) -> String {
    let mut key = String::new();
    for step in pointer.split('/').skip(1) {
        let step = step.replace("~1", "/").replace("~0", "~");
        if step.bytes().all(|byte| byte.is_ascii_digit()) {
            key.extend(["[", &step, "]"]);
        } else {
            if !key.is_empty() {
                key.push('.');
            }
            key.push_str(&step);
        }
    }
    key
}

impl Place {
    /// Arguments and variables first, then the text from top to bottom.
    fn order(&self) -> (u8, usize, usize) {
        match self {
            Self::Argument(_) => (0, 0, 0),
            Self::Variable(_) => (1, 0, 0),
            Self::File(_) => (2, 0, 0),
            Self::Text { line, column, .. } => (3, *line, *column),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text { file, line, column, .. } => write!(f, "{}:{line}:{column}", file.display()),
            Self::File(file) => write!(f, "{}", file.display()),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::Argument(name) => write!(f, "argument {name}"),
        }
    }
}

impl Style {
    /// Graphical on a terminal, unless `NO_COLOR` is set.
    pub fn of(output: &impl IsTerminal, environment: &super::environment::Environment) -> Self {
        if output.is_terminal() && environment.get("NO_COLOR").is_none() { Self::Graphical } else { Self::Plain }
    }
}

impl Report {
    /// A report of these problems, without excerpts.
    pub fn new(problems: Vec<Problem>) -> Self {
        let mut report = Self { problems, texts: BTreeMap::new() };
        report.problems.sort_by_key(|problem| problem.place.order());
        report
    }

    /// Adds a text that problems are about. It must hold no secrets.
    pub(super) fn with_text(mut self, file: &Path, masked: Arc<str>) -> Self {
        self.texts.insert(file.to_owned(), masked);
        self
    }

    /// A problem with a file as a whole.
    pub fn of_file(file: &Path, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(vec![Problem {
            place: Place::File(file.to_owned()),
            pointer: String::new(),
            value: None,
            message: message.into(),
            remedy: remedy.into(),
        }])
    }

    /// The same problems as problems of an environment variable whose text they are about.
    pub(super) fn of_variable(mut self, name: &str, pointer: &str) -> Self {
        for problem in &mut self.problems {
            problem.place = Place::Variable(name.to_owned());
            problem.pointer = format!("{pointer}{}", problem.pointer);
        }
        self.texts.clear();
        self
    }

    /// Every problem.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    /// Adds the problems of another document.
    pub fn append(&mut self, other: Self) {
        self.problems.extend(other.problems);
        self.texts.extend(other.texts);
    }

    /// `value` when nothing is wrong, otherwise the report.
    pub fn or<T>(self, value: T) -> Result<T, Self> {
        if self.is_empty() { Ok(value) } else { Err(self) }
    }

    /// Writes every problem and their number.
    pub fn render(&self, style: Style, out: &mut dyn Write) -> io::Result<()> {
        for problem in &self.problems {
            match style {
                Style::Graphical => self.graphical(problem, out)?,
                Style::Plain => write!(out, "{}", Plain(problem))?,
            }
        }
        writeln!(out, "{}", self.count())
    }

    fn count(&self) -> String {
        match self.problems.len() {
            1 => "1 problem".to_owned(),
            many => format!("{many} problems"),
        }
    }

    fn graphical(&self, problem: &Problem, out: &mut dyn Write) -> io::Result<()> {
        let excerpt = Excerpt::new(problem, &self.texts);
        let mut text = String::new();
        // Colours are the terminal's sixteen, so that its own theme decides how they look.
        GraphicalReportHandler::new_themed(GraphicalTheme::unicode())
            .with_width(100)
            .render_report(&mut text, &excerpt)
            .map_err(io::Error::other)?;
        writeln!(out, "{}", text.trim_end())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.problems {
            Plain(problem).fmt(f)?;
        }
        f.write_str(&self.count())
    }
}

impl std::error::Error for Report {}

/// A problem in the plain style.
struct Plain<'p>(&'p Problem);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Problem { place, value, message, remedy, .. } = self.0;
        let key = self.0.key();
        if key.is_empty() || message.contains(&format!("`{key}`")) {
            writeln!(f, "{place}: {message}")?;
        } else {
            writeln!(f, "{place}: {key}: {message}")?;
        }
        if let Some(value) = value {
            writeln!(f, "    value:  {value}")?;
        }
        writeln!(f, "    remedy: {remedy}")
    }
}

/// A problem in the graphical style.
#[derive(Debug)]
struct Excerpt<'p> {
    problem: &'p Problem,
    source: Option<(NamedSource<String>, Range<usize>)>,
}

impl<'p> Excerpt<'p> {
    fn new(problem: &'p Problem, texts: &BTreeMap<PathBuf, Arc<str>>) -> Self {
        let source = match &problem.place {
            Place::Text { file, span, .. } => texts.get(file).map(|text| {
                let name = file.display().to_string();
                (NamedSource::new(name, text.to_string()), span.start..span.end.min(text.len()))
            }),
            Place::File(_) | Place::Variable(_) | Place::Argument(_) => None,
        };
        Self { problem, source }
    }
}

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.source.is_none() {
            write!(f, "{}: ", self.problem.place)?;
        }
        f.write_str(&self.problem.message)
    }
}

impl std::error::Error for Excerpt<'_> {}

impl Diagnostic for Excerpt<'_> {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(&self.problem.remedy))
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_ref().map(|(source, _)| source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let (_, span) = self.source.as_ref()?;
        let key = self.problem.key();
        let label = match &self.problem.value {
            _ if key.is_empty() => None,
            Some(value) => Some(format!("{key} = {value}")),
            None => Some(key),
        };
        Some(Box::new(std::iter::once(LabeledSpan::new(label, span.start, span.len()))))
    }
}
