//! What is done with a command: the rules, asked about everything that it would run.

use std::ops::Range;

use crate::json::Edit;

use super::{
    parse::{Unreadable, with_room},
    rewrite,
    rules::{Asked, Compiled, shown},
    settings::{Action, Choice},
    walk::{Walk, walk, walk_words},
};

/// Compiled rules with what is done where they do not reach.
#[derive(Debug)]
pub(super) struct Judge {
    pub rules: Vec<Compiled>,
    pub unparsable: Choice,
    pub unknown_program: Choice,
    pub unknown_code: Choice,
}

/// What becomes of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Keep,
    Deny(Note),
    /// Edits of the text, or of the list of words, with the rules that asked for them.
    Edit(Vec<Edit>, Vec<Note>),
}

/// Which rule, about which program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Note {
    pub rule: String,
    pub reason: String,
    pub program: String,
}

/// Words that a rule wants to see replaced: those of this number of a command that was found.
pub(super) struct Wanted {
    pub found: usize,
    pub words: Range<usize>,
    pub with: String,
}

impl Judge {
    /// Judges the text of a command that runs in this directory, if that is known.
    pub(super) fn text(&self, text: &str, directory: Option<&str>) -> Verdict {
        with_room(|| self.walked(walk(text, directory)))
    }

    /// Judges a list of words that is run without a shell.
    pub(super) fn words(&self, words: &[String], directory: Option<&str>) -> Verdict {
        with_room(|| self.walked(walk_words(words, directory)))
    }

    /// Judges what holds no command that could be read.
    pub(super) fn unreadable(&self, unreadable: Unreadable) -> Verdict {
        let reason = match unreadable {
            Unreadable::Syntax => "it cannot be read as a shell command",
            Unreadable::Limit => "it is too long or too deeply nested to be judged",
        };
        match self.unparsable {
            Choice::Allow => Verdict::Keep,
            Choice::Deny => Verdict::Deny(Note::new("unparsable", reason, "")),
        }
    }

    fn walked(&self, walk: Result<Walk, Unreadable>) -> Verdict {
        match walk {
            Ok(walk) => self.decide(&walk),
            Err(unreadable) => self.unreadable(unreadable),
        }
    }

    fn decide(&self, walk: &Walk) -> Verdict {
        let mut wanted = Vec::new();
        let mut notes = Vec::new();
        for (found, invocation) in walk.found.iter().enumerate() {
            let asked = Asked::new(invocation);
            let fitting = self.rules.iter().find_map(|rule| rule.fits(&asked).map(|words| (rule, words)));
            if let Some((rule, words)) = fitting {
                let note = Note::new(&rule.name, &rule.reason, asked.program());
                match rule.action {
                    Action::Allow => {}
                    Action::Deny => return Verdict::Deny(note),
                    Action::Rewrite => {
                        wanted.push(Wanted { found, words: 0..words, with: rule.rewrite.clone() });
                        notes.push(note);
                    }
                }
                continue;
            }
            if invocation.unknown_code && self.unknown_code == Choice::Deny {
                let reason = "it runs code of which nothing is known";
                return Verdict::Deny(Note::new("unknown-code", reason, asked.program()));
            }
            let is_unknown = invocation.words.first().is_some_and(super::words::Field::is_unknown);
            if is_unknown && self.unknown_program == Choice::Deny {
                let reason = "it runs a program of which only the shell knows the name";
                return Verdict::Deny(Note::new("unknown-program", reason, ""));
            }
        }
        if wanted.is_empty() {
            return Verdict::Keep;
        }
        match (rewrite::edits(walk, &wanted), notes.first()) {
            (Some(edits), _) => Verdict::Edit(edits, notes),
            (None, Some(note)) => {
                let reason =
                    format!("{}; write it as `{}`", note.reason, wanted.first().map_or("", |wanted| &wanted.with));
                Verdict::Deny(Note { reason, ..note.clone() })
            }
            (None, None) => Verdict::Keep,
        }
    }
}

impl Note {
    fn new(rule: &str, reason: &str, program: &str) -> Self {
        Self { rule: rule.to_owned(), reason: reason.to_owned(), program: shown(program) }
    }
}
