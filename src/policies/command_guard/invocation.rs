//! One command that would run, with what is known of it.

use super::{pattern::UNKNOWN, words::Field};

/// A simple command: a program with its arguments, or redirections alone.
#[derive(Debug, Clone, Default)]
pub(super) struct Invocation {
    /// The program and its arguments.
    pub words: Vec<Field>,
    /// How many of the words are not a command that it runs, which is looked at on its own.
    pub own: Option<usize>,
    /// Files that redirections write.
    pub redirected_out: Vec<String>,
    /// Files that redirections read.
    pub redirected_in: Vec<String>,
    /// The directory in which it runs, where the script says it.
    pub directory: Option<String>,
    /// The programs whose output is its input.
    pub piped_from: Vec<String>,
    /// The programs whose output it runs as code.
    pub runs_from: Vec<String>,
    /// It runs code of which nothing is known.
    pub unknown_code: bool,
    /// The number of the text in which it stands.
    pub text: usize,
}

impl Invocation {
    /// The name of the program, without its folder and in lower case.
    pub(super) fn program(&self) -> String {
        self.words.first().map(|word| program(&word.text)).unwrap_or_default()
    }

    /// The words behind the program, without those of a command that it runs.
    pub(super) fn arguments(&self) -> &[Field] {
        self.words.get(1..self.own.unwrap_or(self.words.len())).unwrap_or_default()
    }
}

/// The name of a program that is called like this.
pub(super) fn program(word: &str) -> String {
    // A variable that is not set leaves nothing: `r$X""m`.
    let word = if word.chars().all(|char| char == UNKNOWN) { word.to_owned() } else { word.replace(UNKNOWN, "") };
    let name = word.rsplit(['/', '\\']).next().unwrap_or_default().to_lowercase();
    name.strip_suffix(".exe").map_or(name.clone(), str::to_owned)
}
