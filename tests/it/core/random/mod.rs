//! A policy that decides by lot, and the same decisions applied to the answer as it was read.

mod model;
mod policy;
#[cfg(test)]
mod props;

pub use model::Model;
pub use policy::Lots;

use std::hash::{DefaultHasher, Hash, Hasher};

use luthien::policy::Watch;

use super::reader::Kind;

/// The decisions of one policy: each is a function of the seed and of what is decided on.
#[derive(Debug, Clone, Copy)]
pub struct Script {
    pub seed: u64,
    /// The kinds of blocks behind the last of whose text more may be added.
    pub appends: &'static [&'static str],
}

/// A block of a policy's own, or the block itself.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    Itself(Option<String>),
    Text(String),
    Tool(String),
}

/// What identifies a block to a script: its kind, its choice, and how many of these came before.
pub type Key<'a> = (&'a str, u32, u32);

pub fn lot(of: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

const WITH: [&str; 6] = ["", "X", "«é😀»", "\"\\\n", "a longer \u{2028} text", "\u{7}"];

impl Script {
    pub fn watch(&self, key: Key<'_>) -> Watch {
        match lot((self.seed, "watch", key)) % 5 {
            0 => Watch::Ignore,
            1 | 2 => Watch::Deltas,
            _ => Watch::Whole,
        }
    }

    /// The edits of a text from `from` on, and up to where it is decided.
    pub fn edits(
        &self,
        of: (&str, u32),
        text: &str,
        from: usize,
        complete: bool,
    ) -> (Vec<(usize, usize, String)>, usize) {
        let mut edits = Vec::new();
        let mut at = from;
        // Arguments that are cut about would be no JSON any more.
        let edits_at_all = matches!(of.0, "text" | "refusal" | "thinking");
        while let Some(char) = text[at..].chars().next() {
            let chance = lot((self.seed, "edit", of, at));
            if !complete && lot((self.seed, "stop", of, at, text.len())).is_multiple_of(8) {
                return (edits, at);
            }
            let chars = usize::try_from(chance % 3).unwrap() + 1;
            let with = WITH[usize::try_from(chance / 7).unwrap() % WITH.len()];
            let mut end = at + char.len_utf8();
            match (chance / 3) % 12 {
                0 if edits_at_all => {
                    let rest = text[at..].char_indices().nth(chars).map(|(len, _)| at + len);
                    if rest.is_none() && !complete {
                        return (edits, at);
                    }
                    end = rest.unwrap_or(text.len());
                    edits.push((at, end, with.to_owned()));
                }
                1 if edits_at_all && !with.is_empty() => edits.push((at, at, with.to_owned())),
                _ => {}
            }
            at = end;
        }
        let can_append =
            complete && self.appends.contains(&of.0) && edits_at_all && (of.0 == "text" || !text.is_empty());
        if can_append && lot((self.seed, "append", of)).is_multiple_of(4) {
            edits.push((at, at, "+end".to_owned()));
        }
        (edits, at)
    }

    /// What stands in the place of a whole block. `None`: it is dropped.
    pub fn fate(&self, key: Key<'_>, text: &str) -> Option<Vec<Part>> {
        let chance = lot((self.seed, "fate", key, text));
        let itself = || Part::Itself(None);
        // Results of a server's tool stay with their call.
        if key.0 == "server_result" {
            return Some(vec![itself()]);
        }
        let number = chance % 1000;
        let edited = match key.0 {
            "tool_call" | "server_tool" => Part::Itself(Some(format!("{{\"edited\": {number}}}"))),
            "text" | "refusal" => Part::Itself(Some(format!("edited {number} \"😀\""))),
            "thinking" if !text.is_empty() => Part::Itself(Some(format!("thought {number}"))),
            _ => itself(),
        };
        let other = || Part::Text(format!("[{number}]"));
        // No two calls of an answer have one id.
        let tool = || Part::Tool(format!("made_{chance:x}_{}", key.2));
        let parts = match (chance / 1000) % 12 {
            0..=3 => vec![itself()],
            4 | 5 => return None,
            // Nothing may stand between a server's tool and its result.
            _ if key.0 == "server_tool" => vec![edited],
            6 => vec![other()],
            7 => vec![tool()],
            8 => vec![edited],
            9 => vec![other(), itself()],
            10 => vec![edited, other(), tool()],
            _ => vec![other(), tool(), edited, other()],
        };
        Some(parts)
    }

    /// What is added at the end of the answer.
    pub fn ending(&self) -> Vec<Part> {
        match lot((self.seed, "ending")) % 5 {
            0 => vec![Part::Text("the end".to_owned())],
            1 => vec![Part::Tool(format!("made_at_the_end_{}", self.seed)), Part::Text("the end".to_owned())],
            _ => Vec::new(),
        }
    }
}

/// The head of a made tool call.
pub fn tool_kind(id: &str) -> Kind {
    Kind::Tool { id: id.to_owned(), name: "made".to_owned() }
}

pub const TOOL_ARGUMENTS: &str = "{\"made\": true}";
