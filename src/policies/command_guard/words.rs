//! Words as the shell expands them, as far as that is known before it runs.
//!
//! The parser's own reader of words keeps what it has read in a cache of the process and is exponential in nested quotes.
//! This one reads each character once for each level of nesting.

use std::ops::Range;

use super::{
    braces,
    escapes::ansi,
    parse::Unreadable,
    pattern::{HOME, MANY, ONE, UNKNOWN},
    scan::{Scan, close_of, close_of_parameter},
    scope::{Value, merge},
    walk::Walk,
};

/// A word of a command after every expansion.
#[derive(Debug, Clone, Default)]
pub(super) struct Field {
    /// Its text, with characters for what is not known.
    pub text: String,
    /// The programs whose output is part of it.
    pub from: Vec<String>,
    /// Whether nothing in it was expanded: it says what is written.
    pub literal: bool,
    /// Whether what is not known of it was put into the text of a command, as in `sh -c "$CODE"`.
    pub injected: bool,
    /// Where it stands in its text, in bytes.
    pub span: Option<Range<usize>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Quoted,
    /// The result of an expansion outside quotes: it is split into words.
    Expanded,
}

/// A word before it is split.
#[derive(Debug, Default)]
pub(super) struct Atoms {
    chars: Vec<(char, Kind)>,
    from: Vec<String>,
    is_expanded: bool,
    /// It has quotes, so that it is a word even when it is empty.
    is_quoted: bool,
}

/// How a text is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Word,
    /// Between double quotes, and in a here-document.
    Double,
}

impl Field {
    pub(super) fn of(value: Value) -> Self {
        Self { text: value.text, from: value.from, ..Self::default() }
    }

    /// Nothing of it is known.
    pub(super) fn is_unknown(&self) -> bool {
        !self.text.is_empty() && self.text.chars().all(|char| char == UNKNOWN)
    }

    pub(super) fn value(&self) -> Value {
        Value { text: self.text.clone(), from: self.from.clone() }
    }
}

impl Walk {
    /// The words that a word becomes.
    pub(super) fn fields(&mut self, raw: &str, span: Option<Range<usize>>) -> Result<Vec<Field>, Unreadable> {
        let words = braces::expand(raw)?;
        let mut fields = Vec::new();
        for word in &words {
            let atoms = self.atoms(word, Mode::Word)?;
            let separators = self.pick("IFS").map_or_else(String::new, |value| value.text);
            fields.extend(split(atoms, &separators));
        }
        if raw.contains(UNKNOWN) {
            for field in &mut fields {
                field.injected = true;
            }
        }
        if let [field] = &mut fields[..]
            && words.len() == 1
        {
            field.span = span;
        }
        Ok(fields)
    }

    /// The text that a word becomes where it is not split: in an assignment, between quotes, in a here-document.
    pub(super) fn text(&mut self, raw: &str, mode: Mode) -> Result<Value, Unreadable> {
        let atoms = self.atoms(raw, mode)?;
        let text = atoms.chars.into_iter().map(|(char, _)| char).collect();
        Ok(Value { text, from: atoms.from })
    }

    fn atoms(&mut self, raw: &str, mode: Mode) -> Result<Atoms, Unreadable> {
        self.nested(|walk| {
            walk.spend(raw.len() + 8)?;
            let chars: Vec<char> = raw.chars().collect();
            let mut scan = Scan::new(&chars, 0);
            let mut atoms = Atoms::default();
            match mode {
                Mode::Word => walk.word(&chars, &mut scan, &mut atoms)?,
                Mode::Double => walk.double(&chars, &mut scan, &mut atoms, None)?,
            }
            Ok(atoms)
        })
    }

    fn word(&mut self, chars: &[char], scan: &mut Scan<'_>, atoms: &mut Atoms) -> Result<(), Unreadable> {
        let mut may_be_home = true;
        while let Some(char) = scan.take() {
            match char {
                '\\' => match scan.take() {
                    Some('\n') | None => {}
                    Some(escaped) => atoms.push(escaped, Kind::Quoted),
                },
                '\'' => {
                    atoms.is_quoted = true;
                    let quoted = scan.take_while(|char| char != '\'');
                    scan.take().ok_or(Unreadable::Syntax)?;
                    atoms.extend(&quoted, Kind::Quoted);
                }
                '"' => {
                    atoms.is_quoted = true;
                    self.double(chars, scan, atoms, Some('"'))?;
                }
                '$' | '`' => self.expansion(char, chars, scan, atoms, Kind::Expanded)?,
                '~' if may_be_home => tilde(scan, atoms),
                char => atoms.push(char, Kind::Plain),
            }
            may_be_home = matches!(char, '=' | ':');
        }
        Ok(())
    }

    /// Up to the closing quote, or to the end of the text where there is none to be.
    fn double(
        &mut self,
        chars: &[char],
        scan: &mut Scan<'_>,
        atoms: &mut Atoms,
        close: Option<char>,
    ) -> Result<(), Unreadable> {
        while let Some(char) = scan.take() {
            match char {
                char if close == Some(char) => return Ok(()),
                '\\' => match scan.peek() {
                    Some('\n') => _ = scan.take(),
                    Some(next @ ('$' | '`' | '\\')) => {
                        scan.take();
                        atoms.push(next, Kind::Quoted);
                    }
                    Some('"') if close.is_some() => {
                        scan.take();
                        atoms.push('"', Kind::Quoted);
                    }
                    _ => atoms.push('\\', Kind::Quoted),
                },
                '$' | '`' => self.expansion(char, chars, scan, atoms, Kind::Quoted)?,
                char => atoms.push(char, Kind::Quoted),
            }
        }
        close.map_or(Ok(()), |_| Err(Unreadable::Syntax))
    }

    /// What begins with `$` or a backquote, which has been taken.
    fn expansion(
        &mut self,
        char: char,
        chars: &[char],
        scan: &mut Scan<'_>,
        atoms: &mut Atoms,
        kind: Kind,
    ) -> Result<(), Unreadable> {
        let mut kind = kind;
        let value = match scan.peek() {
            _ if char == '`' => {
                let start = scan.at;
                scan.skip_backquoted()?;
                let code = chars.get(start..scan.at.saturating_sub(1)).unwrap_or_default();
                self.output_of(&without_escapes(code))?
            }
            Some('\'') if kind == Kind::Expanded => {
                scan.take();
                atoms.is_quoted = true;
                let text = ansi(scan)?;
                atoms.extend(&text, Kind::Quoted);
                return Ok(());
            }
            // `$"…"` is looked up in a table of translations.
            Some('"') if kind == Kind::Expanded => return Ok(()),
            Some('(') => {
                let end = close_of(chars, scan.at + 1, '(', ')')?;
                scan.take();
                let code = scan.take_until(end);
                self.substitution(&code)?
            }
            Some('{') => {
                let end = close_of_parameter(chars, scan.at + 1, kind == Kind::Quoted)?;
                scan.take();
                let inner = scan.take_until(end);
                // These are several words even between quotes.
                if inner.starts_with('@') || inner.contains("[@]") {
                    kind = Kind::Expanded;
                }
                self.parameter(&inner)?
            }
            Some('[') => {
                let end = close_of(chars, scan.at + 1, '[', ']')?;
                scan.take();
                let inner = scan.take_until(end);
                self.text(&inner, Mode::Double)?;
                Value::unknown()
            }
            Some(name) if name.is_ascii_alphabetic() || name == '_' => {
                let name = scan.take_while(|char| char.is_ascii_alphanumeric() || char == '_');
                self.variable(&name)
            }
            Some(name) if name.is_ascii_digit() || "@*#?-$!".contains(name) => {
                scan.take();
                if name == '@' {
                    kind = Kind::Expanded;
                }
                self.special(&name.to_string())
            }
            _ => {
                atoms.push('$', Kind::Plain);
                return Ok(());
            }
        };
        atoms.is_expanded = true;
        self.spend(value.text.len() + 8)?;
        merge(&mut atoms.from, &value.from);
        atoms.extend(&value.text, kind);
        Ok(())
    }

    /// `$(…)`, which may be arithmetic.
    fn substitution(&mut self, code: &str) -> Result<Value, Unreadable> {
        if !(code.starts_with('(') && code.ends_with(')')) {
            return self.output_of(code);
        }
        self.text(code, Mode::Double)?;
        // What only looks like arithmetic is run as commands. Real arithmetic need not be a command.
        self.perhaps(code)?;
        Ok(Value::unknown())
    }

    /// Runs what may be commands or arithmetic.
    pub(super) fn perhaps(&mut self, code: &str) -> Result<(), Unreadable> {
        let (current, is_piped) = (self.current, self.is_piped);
        let choices = std::mem::take(&mut self.choices);
        let ran = self.output_of(code);
        (self.current, self.is_piped, self.choices) = (current, is_piped, choices);
        match ran {
            Ok(_) | Err(Unreadable::Syntax) => Ok(()),
            Err(limit) => Err(limit),
        }
    }
}

impl Atoms {
    fn push(&mut self, char: char, kind: Kind) {
        self.chars.push((char, kind));
    }

    fn extend(&mut self, text: &str, kind: Kind) {
        self.chars.extend(text.chars().map(|char| (char, kind)));
    }
}

fn tilde(scan: &mut Scan<'_>, atoms: &mut Atoms) {
    let start = scan.at;
    let user = scan.take_while(|char| char.is_ascii_alphanumeric() || "._-+".contains(char));
    match (scan.peek(), &*user) {
        (None | Some('/' | ':'), "+") => atoms.push('.', Kind::Quoted),
        (None | Some('/' | ':'), "-") => atoms.push(UNKNOWN, Kind::Quoted),
        (None | Some('/' | ':'), _) => atoms.push(HOME, Kind::Quoted),
        _ => {
            scan.at = start;
            atoms.push('~', Kind::Plain);
        }
    }
}

/// The code between backquotes, where a backslash escapes only itself, `$` and a backquote.
fn without_escapes(code: &[char]) -> String {
    let mut text = String::new();
    let mut scan = Scan::new(code, 0);
    while let Some(char) = scan.take() {
        match (char, scan.peek()) {
            ('\\', Some(next @ ('$' | '`' | '\\'))) => {
                scan.take();
                text.push(next);
            }
            _ => text.push(char),
        }
    }
    text
}

/// Splits what was expanded outside quotes, and marks what the shell takes for a pattern.
fn split(atoms: Atoms, separators: &str) -> Vec<Field> {
    let Atoms { chars, from, is_expanded, is_quoted } = atoms;
    let mut fields = Vec::new();
    let mut text = String::new();
    let mut has_quoted = is_quoted;
    let mut at = 0;
    while let Some((char, kind)) = chars.get(at).copied() {
        at += 1;
        match (char, kind) {
            (_, Kind::Quoted) => {
                has_quoted = true;
                text.push(char);
            }
            (_, Kind::Expanded) if separators.contains(char) => {
                if !text.is_empty() {
                    fields.push(std::mem::take(&mut text));
                }
            }
            ('*', _) => text.push(MANY),
            ('?', _) => text.push(ONE),
            ('[', _) => match class_end(&chars, at) {
                Some(end) => {
                    at = end + 1;
                    text.push(ONE);
                }
                None => text.push('['),
            },
            // A word holds a bracket that is not quoted only as part of such a pattern.
            ('(', Kind::Plain) if text.ends_with(['@', '+', '!', MANY, ONE]) => {
                text.pop();
                text.push(MANY);
                let close = chars.iter().skip(at).position(|(char, _)| *char == ')');
                at = close.map_or(chars.len(), |close| at + close + 1);
            }
            _ => text.push(char),
        }
    }
    if !text.is_empty() || has_quoted && fields.is_empty() {
        fields.push(text);
    }
    let literal = !is_expanded && fields.iter().all(|text| !text.contains([MANY, ONE, HOME, UNKNOWN]));
    fields
        .into_iter()
        .map(|text| Field {
            text: text.trim_end_matches('\r').to_owned(),
            from: from.clone(),
            literal,
            ..Field::default()
        })
        .collect()
}

fn class_end(chars: &[(char, Kind)], from: usize) -> Option<usize> {
    let inner = chars.iter().enumerate().skip(from + 1).take(64);
    inner.into_iter().find(|(_, (char, kind))| *char == ']' && *kind != Kind::Quoted).map(|(at, _)| at)
}
