//! Policies that edit, chosen by an input, and what must be true of what they let through.

use std::sync::Arc;

use luthien::policy::{Factory, OnFault, Release, Rules, Watch};
use serde_json::json;

use super::oracle::{OWN_WORDS, Said};
use crate::core::{
    random::{Lots, Script, lot},
    support::{WatchAll, built_in, rules_with},
};

/// What an input has chosen.
#[derive(Debug, Clone)]
pub struct Chosen {
    edits: Vec<Edit>,
    release: Release,
    seed: u8,
}

/// One policy.
#[derive(Debug, Clone)]
enum Edit {
    /// Watches, and keeps everything.
    Keep(Watch),
    /// Takes a string out of the text.
    Replace {
        needle: String,
        tools_too: bool,
    },
    /// Takes tools away.
    Deny {
        tool: String,
        message: bool,
    },
    Upper,
    Nth,
    Guard,
    /// Drops, edits and inserts blocks by lot.
    Lots,
}

/// A character that no answer has.
const MARK: &str = "\u{e123}";

impl Chosen {
    /// The policies that two bytes choose, for an answer that says this.
    pub fn new(kind: u8, seed: u8, said: &Said) -> Self {
        let needle = || Edit::Replace { needle: needle(said, seed), tools_too: kind.is_multiple_of(2) };
        let deny = || Edit::Deny { tool: tool(said, seed), message: seed.is_multiple_of(2) };
        let edits = match kind % 12 {
            0 => vec![Edit::Keep(Watch::Whole)],
            1 => vec![Edit::Keep(Watch::Deltas), Edit::Keep(Watch::Parts)],
            2 | 3 => vec![needle()],
            4 | 5 => vec![deny()],
            6 => vec![Edit::Upper],
            7 => vec![Edit::Nth],
            8 => vec![Edit::Lots],
            9 => vec![Edit::Lots, deny(), Edit::Upper],
            10 => vec![Edit::Guard],
            _ => vec![Edit::Upper, needle(), deny()],
        };
        let release = if kind & 0x80 == 0 { Release::Block } else { Release::Turn };
        Self { edits, release, seed }
    }

    pub fn rules(&self) -> Arc<Rules> {
        rules_with(self.edits.iter().map(|edit| edit.factory(self.seed)).collect(), self.release, OnFault::Closed)
    }

    /// Whether everything that is read leaves as it came.
    pub fn keeps(&self) -> bool {
        self.edits.iter().all(|edit| matches!(edit, Edit::Keep(_)))
    }

    /// Whether some of its decisions come later.
    pub fn decides_later(&self) -> bool {
        self.edits.iter().any(|edit| matches!(edit, Edit::Lots))
    }

    /// Nothing is left that was to be taken out.
    pub fn assert_gone(&self, out: &Said) {
        let makes_text = self.edits.iter().any(|edit| matches!(edit, Edit::Lots | Edit::Deny { .. } | Edit::Guard));
        for (at, edit) in self.edits.iter().enumerate() {
            let is_last = at + 1 == self.edits.len();
            match edit {
                Edit::Replace { needle, .. } if is_last => {
                    for text in out.texts() {
                        let text = text.replace(OWN_WORDS, "");
                        assert!(!text.contains(needle.as_str()), "{needle:?} is left in {text:?}");
                    }
                }
                Edit::Upper if is_last || !makes_text => {
                    for text in out.texts() {
                        let text = text.replace(OWN_WORDS, "");
                        assert!(
                            !text.contains(|char: char| char.is_ascii_lowercase()),
                            "lower case is left in {text:?}"
                        );
                    }
                }
                Edit::Deny { tool, .. } => {
                    for name in out.tools.values() {
                        assert!(name.trim() != tool, "the tool {tool:?} is left");
                    }
                }
                Edit::Keep(_) | Edit::Replace { .. } | Edit::Upper | Edit::Nth | Edit::Guard | Edit::Lots => {}
            }
        }
    }
}

impl Edit {
    fn factory(&self, seed: u8) -> Arc<dyn Factory> {
        match self {
            Self::Keep(watch) => Arc::new(WatchAll(*watch)),
            Self::Replace { needle, tools_too } => {
                let config = json!({ "replacements": { needle: MARK }, "include_tool_calls": tools_too });
                built_in("string_replacement", &config)
            }
            Self::Deny { tool, message } => {
                let glob = globset_escaped(tool);
                let config =
                    if *message { json!({ "deny": [glob], "message": "NO" }) } else { json!({ "deny": [glob] }) };
                built_in("tool_filter", &config)
            }
            Self::Upper => built_in("uppercase", &json!({})),
            Self::Nth => built_in("uppercase_nth_word", &json!({ "n": 2 })),
            Self::Guard => built_in("command_guard", &json!({})),
            Self::Lots => {
                let script = Script { seed: u64::from(seed), appends: &[] };
                Arc::new(Lots { script, patience: u64::from(seed) })
            }
        }
    }
}

/// A piece of one of the texts.
fn needle(said: &Said, seed: u8) -> String {
    let texts: Vec<String> = said.texts().filter(|text| !text.is_empty()).collect();
    let found = crate::core::corpus::needle(&texts, u64::from(seed));
    found.filter(|needle| !needle.contains(MARK)).unwrap_or_else(|| "secret".to_owned())
}

/// The name of one of the tools.
fn tool(said: &Said, seed: u8) -> String {
    let names: Vec<&String> = said.tools.values().filter(|name| !name.trim().is_empty()).collect();
    let at = usize::try_from(lot(seed)).unwrap_or_default() % names.len().max(1);
    names.get(at).map_or_else(|| "rm".to_owned(), |name| name.trim().to_owned())
}

fn globset_escaped(name: &str) -> String {
    name.chars().map(|char| if "*?[]{}\\!,".contains(char) { format!("[{char}]") } else { char.to_string() }).collect()
}
