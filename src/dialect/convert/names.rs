//! Names and ids that the other provider takes, and the way back to the client's.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use sha2::{Digest, Sha256};

use crate::model::conversation::namespace_of;

/// The tools of a converted request, to read the answer with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConvertedTools {
    renamed: BTreeMap<String, String>,
    wrapped: BTreeSet<String>,
}

impl ConvertedTools {
    /// The client's name of a tool that the upstream calls `sent`, and its namespace if it has one.
    pub fn client_name<'a>(&'a self, sent: &'a str) -> (Option<&'a str>, &'a str) {
        namespace_of(self.renamed.get(sent).map_or(sent, String::as_str))
    }

    /// Whether `sent` is a custom tool that was sent as a function: its free text is the member `input` of the
    /// arguments.
    pub fn is_wrapped(&self, sent: &str) -> bool {
        self.wrapped.contains(sent)
    }

    /// Whether the answer's calls are already what the client expects.
    pub fn is_empty(&self) -> bool {
        self.renamed.is_empty() && self.wrapped.is_empty()
    }
}

/// Gives names that fit.
#[derive(Debug)]
pub(in crate::dialect) struct Names {
    longest: usize,
    /// The client's tools by the names that were sent.
    taken: BTreeMap<String, String>,
    tools: ConvertedTools,
}

impl Names {
    /// For a provider whose names have at most `longest` characters. `tools` are the client's: names of theirs that fit as
    /// they are go to nobody else.
    pub(in crate::dialect) fn new<'a>(longest: usize, tools: impl Iterator<Item = &'a str>) -> Self {
        let fitting = tools.filter(|name| fit(name, longest) == **name);
        let taken = fitting.map(|name| (name.to_owned(), name.to_owned())).collect();
        Self { longest, taken, tools: ConvertedTools::default() }
    }

    pub(in crate::dialect) fn into_tools(self) -> ConvertedTools {
        self.tools
    }

    /// The name to send: the same one always for the same tool.
    pub(in crate::dialect) fn sent(&mut self, name: &str) -> String {
        let flat = match namespace_of(name) {
            (Some(namespace), name) => format!("{namespace}__{name}"),
            (None, name) => name.to_owned(),
        };
        let mut sent = fit(&flat, self.longest);
        if self.taken.get(&sent).is_some_and(|tool| tool != name) {
            // Another tool has it. What no name has in it makes a name that is told apart.
            sent = fit(name, self.longest);
        }
        self.taken.insert(sent.clone(), name.to_owned());
        if sent != name {
            self.tools.renamed.insert(sent.clone(), name.to_owned());
        }
        sent
    }

    /// The name to send of a custom tool that becomes a function.
    pub(in crate::dialect) fn wrapped(&mut self, name: &str) -> String {
        let sent = self.sent(name);
        self.tools.wrapped.insert(sent.clone());
        sent
    }
}

/// The longest id of a call.
const LONGEST_ID: usize = 64;

/// The id to send of a call.
pub(in crate::dialect) fn id(id: &str) -> String {
    fit(id, LONGEST_ID)
}

/// A hash that tells nothing of what it was made of.
pub(in crate::dialect) fn hash(text: &str) -> String {
    Sha256::digest(text).iter().take(16).fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// How much of the hash stands in a name.
const HASH: usize = 10;

/// `text`, if every provider takes it, else its beginning with a hash behind it.
fn fit(text: &str, longest: usize) -> String {
    let allowed = |char: char| char.is_ascii_alphanumeric() || char == '_' || char == '-';
    if !text.is_empty() && text.len() <= longest && text.chars().all(allowed) {
        return text.to_owned();
    }
    let beginning = text.chars().map(|char| if allowed(char) { char } else { '_' }).take(longest - HASH - 1);
    let mut out: String = beginning.collect();
    out.push('_');
    out.extend(hash(text).chars().take(HASH));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::conversation::within;

    #[test]
    fn a_name_that_does_not_fit_is_shortened_and_found_again() {
        let mut names = Names::new(64, std::iter::empty());
        assert_eq!(names.sent("get_weather"), "get_weather");
        let long = format!("mcp__{}__a", "server".repeat(20));
        let sent = names.sent(&long);
        assert_eq!((sent.len(), names.sent(&long)), (64, sent.clone()));
        assert_ne!(sent, names.sent(&format!("{long}b")));
        let dotted = names.wrapped("apply.patch");
        assert!(dotted.starts_with("apply_patch_"), "{dotted}");
        let tools = names.into_tools();
        assert_eq!((tools.client_name(&sent), tools.client_name("other")), ((None, long.as_str()), (None, "other")));
        assert!(tools.is_wrapped(&dotted) && !tools.is_wrapped(&sent));
        let mut names = Names::new(64, ["files__write"].into_iter());
        let other = names.sent(&within("files", "write"));
        assert!(other.starts_with("files_write_"), "{other}");
        assert_eq!(names.sent("files__write"), "files__write");
        assert_eq!(names.sent(&within("files", "read")), "files__read");
        assert_eq!(names.into_tools().client_name("files__read"), (Some("files"), "read"));
    }
}
