//! What a script has said so far: variables, functions, the directory, files that it wrote.

use std::{collections::HashMap, sync::Arc};

use brush_parser::ast::FunctionBody;

use super::{
    parse::Unreadable,
    pattern::{HOME, UNKNOWN},
};

/// A text with where it came from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Value {
    /// The text, with characters for what is not known.
    pub text: String,
    /// The programs whose output is part of it.
    pub from: Vec<String>,
}

/// What commands read: the text if it is known, and the programs that it came through.
#[derive(Debug, Clone, Default)]
pub(super) struct Stream {
    pub text: Option<String>,
    pub from: Vec<String>,
}

/// What has been said where a command stands. A subshell gets a copy.
#[derive(Clone, Default)]
pub(super) struct Scope {
    variables: HashMap<String, Vec<Value>>,
    pub functions: HashMap<String, Function>,
    /// `$1` and what follows, in a function that is called and in `bash -c`.
    pub positional: Option<Vec<Value>>,
    /// The directory. `None`: where the tool runs.
    pub directory: Option<String>,
    /// How long the values are, together.
    pub size: usize,
    /// Files that the script wrote.
    pub files: HashMap<String, Stream>,
}

/// A function, and the text in which it was defined.
#[derive(Clone)]
pub(super) struct Function {
    pub body: Arc<FunctionBody>,
    pub text: usize,
}

/// How many values of one variable are followed. A command with more of them is not judged.
const VALUES: usize = 64;

impl Value {
    pub(super) fn unknown() -> Self {
        Self::of(UNKNOWN.to_string())
    }

    pub(super) fn of(text: impl Into<String>) -> Self {
        Self { text: text.into(), from: Vec::new() }
    }

    /// Adds another text behind it.
    pub(super) fn push(&mut self, other: &Self) {
        self.text.push_str(&other.text);
        merge(&mut self.from, &other.from);
    }
}

impl Scope {
    /// The values that a variable may have. Empty: the script does not say.
    pub(super) fn values(&self, name: &str) -> Vec<Value> {
        if let Some(values) = self.variables.get(name) {
            return values.clone();
        }
        match name {
            "HOME" => vec![Value::of(HOME)],
            "IFS" => vec![Value::of(" \t\n")],
            "PWD" => vec![Value::of(self.directory.as_deref().unwrap_or("."))],
            _ => Vec::new(),
        }
    }

    /// A value is assigned. Where it may not come to that, those before stay possible.
    pub(super) fn assign(&mut self, name: &str, value: Value, is_certain: bool) -> Result<(), Unreadable> {
        let values = self.variables.entry(name.to_owned()).or_default();
        if is_certain {
            values.clear();
        }
        if values.contains(&value) {
            return Ok(());
        }
        if values.len() >= VALUES {
            return Err(Unreadable::Limit);
        }
        self.size += value.text.len() + 16;
        values.push(value);
        Ok(())
    }

    /// Puts the values of a variable back, or takes it away.
    pub(super) fn restore(&mut self, name: &str, values: Vec<Value>) {
        if values.is_empty() {
            self.variables.remove(name);
        } else {
            self.variables.insert(name.to_owned(), values);
        }
    }
}

/// Which value of each variable is tried, where it may have several.
#[derive(Default)]
pub(super) struct Choices {
    made: Vec<Choice>,
}

struct Choice {
    name: String,
    of: usize,
    at: usize,
}

impl Choices {
    /// The number of the value that is tried.
    pub(super) fn choose(&mut self, name: &str, of: usize) -> usize {
        if of < 2 {
            return 0;
        }
        if let Some(choice) = self.made.iter().find(|choice| choice.name == name) {
            return choice.at;
        }
        self.made.push(Choice { name: name.to_owned(), of, at: 0 });
        0
    }

    /// Goes on to the next combination. `false`: all were tried.
    pub(super) fn advance(&mut self) -> bool {
        for choice in &mut self.made {
            choice.at += 1;
            if choice.at < choice.of {
                return true;
            }
            choice.at = 0;
        }
        false
    }
}

/// Adds names that are not there yet.
pub(super) fn merge(names: &mut Vec<String>, more: &[String]) {
    for name in more {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
}
