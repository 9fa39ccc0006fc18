//! Words of texts, for the search: the same ones in every database.
//!
//! A word is a run of letters and digits, in lower case. A sign of a script that is written without spaces is a word by
//! itself.

use std::collections::HashSet;

/// The longest word, in bytes. What is longer is nobody's word.
const LONGEST: usize = 64;
/// So many bytes of words are kept of one text.
const MOST: usize = 256 * 1024;

/// Words, each once.
#[derive(Debug, Default)]
pub(super) struct Words {
    words: HashSet<String>,
    length: usize,
}

impl Words {
    /// Takes the words of a text.
    pub(super) fn add(&mut self, text: &str) {
        words(text, |word| {
            if self.length < MOST && !self.words.contains(word) {
                self.length += word.len() + 1;
                self.words.insert(word.to_owned());
            }
        });
    }

    /// All of them, with spaces between them.
    pub(super) fn finish(self) -> String {
        let mut words: Vec<String> = self.words.into_iter().collect();
        words.sort_unstable();
        words.join(" ")
    }
}

/// A word that is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    /// It, or how it begins.
    pub(super) word: String,
    /// Only how it begins.
    pub(super) is_prefix: bool,
}

/// What somebody looks for: words, all of which have to be there. A `*` behind one stands for the rest of it.
pub(super) fn wanted(query: &str) -> Vec<Wanted> {
    let mut wanted = Vec::new();
    for term in query.split_whitespace() {
        let is_prefix = term.ends_with('*');
        let before = wanted.len();
        words(term, |word| wanted.push(Wanted { word: word.to_owned(), is_prefix: false }));
        if let Some(last) = wanted.iter_mut().skip(before).last() {
            last.is_prefix = is_prefix;
        }
    }
    wanted
}

fn words(text: &str, mut take: impl FnMut(&str)) {
    let is_alone = |sign: char| ('\u{2e80}'..='\u{a4cf}').contains(&sign) || ('\u{f900}'..='\u{faff}').contains(&sign);
    let mut take = |word: &mut String| {
        if !word.is_empty() && word.len() <= LONGEST {
            take(word);
        }
        word.clear();
    };
    let mut word = String::new();
    for run in text.split(|sign: char| !sign.is_alphanumeric()).filter(|run| !run.is_empty()) {
        if run.is_ascii() {
            word.push_str(run);
            word.make_ascii_lowercase();
        } else {
            for sign in run.chars() {
                if is_alone(sign) {
                    take(&mut word);
                    word.push(sign);
                    take(&mut word);
                } else {
                    word.extend(sign.to_lowercase());
                }
            }
        }
        take(&mut word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_runs_of_letters_and_digits() {
        let mut all = Words::default();
        all.add("The `rm -rf /tmp/x9`; the ÄRGER, 你好 don't");
        all.add(&"x".repeat(65));
        assert_eq!(all.finish(), "don rf rm t the tmp x9 ärger 你 好");
        let word = |word: &str, is_prefix| Wanted { word: word.to_owned(), is_prefix };
        assert_eq!(wanted("Rm foo_ba* \"' -* *"), [word("rm", false), word("foo", false), word("ba", true)]);
    }
}
