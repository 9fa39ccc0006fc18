//! Finds strings in a text that is still growing.

use std::ops::Range;

use crate::json::Edit;

use super::capitals::carry_over;

/// Finds strings and says what stands in their place.
pub(super) struct Matcher {
    pairs: Vec<Pair>,
    /// The pairs that can begin with a given byte, in order.
    by_first: Vec<Vec<usize>>,
    fold: bool,
}

struct Pair {
    from: Vec<char>,
    to: String,
}

/// How one string fits at one place.
enum Fit {
    /// It does, up to here.
    Whole(usize),
    /// As far as there is text.
    SoFar,
    No,
}

impl Matcher {
    /// `fold`: whatever the case, with the case carried over.
    pub(super) fn new(pairs: Vec<(String, String)>, fold: bool) -> Self {
        let mut by_first = vec![Vec::new(); 256];
        let pairs: Vec<Pair> = pairs
            .into_iter()
            .map(|(from, to)| Pair {
                from: from.chars().map(|char| if fold { folded(char) } else { char }).collect(),
                to,
            })
            .collect();
        for (number, pair) in pairs.iter().enumerate() {
            let Some(first) = pair.from.first() else { continue };
            for byte in first_bytes(*first, fold) {
                if let Some(list) = by_first.get_mut(usize::from(byte)) {
                    list.push(number);
                }
            }
        }
        Self { pairs, by_first, fold }
    }

    /// The replacements in a whole text.
    pub(super) fn edits(&self, text: &str) -> Vec<Edit> {
        let mut edits = Vec::new();
        self.scan(text, 0, true, |range, with| edits.push(Edit { range, with }));
        edits
    }

    /// Looks for matches from `from` on, and gives each with what stands in its place to `found`, in order. Returns up to
    /// where nothing can become part of a match any more. `complete`: no more text will follow.
    ///
    /// At each place the strings are tried in order, and the first that fits is taken. One that fits as far as there is
    /// text might still fit, and stands before all behind it in the list: the text is held from there.
    pub(super) fn scan(
        &self,
        text: &str,
        from: usize,
        complete: bool,
        mut found: impl FnMut(Range<usize>, String),
    ) -> usize {
        let mut at = from;
        'places: while let Some(rest) = text.get(at..) {
            let skip =
                rest.bytes().position(|byte| self.by_first.get(usize::from(byte)).is_some_and(|list| !list.is_empty()));
            let Some(skip) = skip else { break };
            at += skip;
            let first = text.as_bytes().get(at).copied().unwrap_or_default();
            for pair in self.by_first.get(usize::from(first)).into_iter().flatten().filter_map(|n| self.pairs.get(*n)) {
                match self.fit(pair, text, at) {
                    Fit::Whole(end) => {
                        let matched = text.get(at..end).unwrap_or_default();
                        let with = if self.fold { carry_over(matched, &pair.to) } else { pair.to.clone() };
                        if with != matched {
                            found(at..end, with);
                        }
                        at = end;
                        continue 'places;
                    }
                    Fit::SoFar if !complete => return at,
                    Fit::SoFar | Fit::No => {}
                }
            }
            at += text.get(at..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8);
        }
        text.len()
    }

    fn fit(&self, pair: &Pair, text: &str, at: usize) -> Fit {
        let mut chars = text.get(at..).unwrap_or_default().char_indices();
        let mut end = at;
        for wanted in &pair.from {
            let Some((offset, char)) = chars.next() else { return Fit::SoFar };
            if *wanted != (if self.fold { folded(char) } else { char }) {
                return Fit::No;
            }
            end = at + offset + char.len_utf8();
        }
        Fit::Whole(end)
    }
}

/// A character without its case, where that is one character.
fn folded(char: char) -> char {
    let mut lower = char.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(lower), None) => lower,
        _ => char,
    }
}

/// The bytes that a match can begin with.
fn first_bytes(first: char, fold: bool) -> Vec<u8> {
    let byte = |char: char| char.encode_utf8(&mut [0; 4]).bytes().next().unwrap_or_default();
    if !fold {
        return vec![byte(first)];
    }
    // Whatever folds to this character: itself and every character beyond ASCII, of which there may be several.
    let mut bytes: Vec<u8> =
        (0..=u8::MAX).filter(|byte| *byte >= 0x80 || folded(char::from(*byte)) == first).chain([byte(first)]).collect();
    bytes.sort_unstable();
    bytes.dedup();
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::policies::text::apply;

    fn matcher(pairs: &[(&str, &str)], fold: bool) -> Matcher {
        Matcher::new(pairs.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect(), fold)
    }

    fn replaced(pairs: &[(&str, &str)], text: &str) -> String {
        apply(text, &matcher(pairs, false).edits(text))
    }

    #[test]
    fn the_first_of_the_list_that_fits_is_taken_and_not_searched_again() {
        assert_eq!(replaced(&[("ab", "b"), ("b", "x")], "aab b"), "ab x");
        assert_eq!(replaced(&[("a", "1"), ("ab", "2")], "ab"), "1b");
        assert_eq!(replaced(&[("ab", "2"), ("a", "1")], "ab a"), "2 1");
        assert_eq!(replaced(&[("aa", "b")], "aaa"), "ba");
    }

    #[test]
    fn holds_what_could_become_a_match() {
        let matcher = matcher(&[("sk-live", "[x]")], false);
        let decided = |text, from, complete| matcher.scan(text, from, complete, |_, _| {});
        assert_eq!(decided("key: sk", 0, false), 5);
        assert_eq!(decided("key: sk", 0, true), 7);
        assert_eq!(decided("key: sko", 5, false), 8);
        assert_eq!(decided("sk-sk-li", 0, false), 3);
    }

    #[test]
    fn matches_whatever_the_case_when_told_to() {
        let matcher = matcher(&[("straße", "weg"), ("k", "c")], true);
        assert_eq!(apply("STRAßE k K \u{212a}", &matcher.edits("STRAßE k K \u{212a}")), "WEG c C C");
    }

    proptest! {
        #[test]
        fn any_cut_gives_what_the_whole_text_gives(
            text in "[ab]{0,24}", pairs in proptest::collection::vec(("[ab]{1,4}", "[abc]{0,2}"), 1..4), cuts: Vec<bool>,
        ) {
            let matcher = Matcher::new(pairs, false);
            let whole = matcher.edits(&text);
            let (mut edits, mut decided) = (Vec::new(), 0);
            for end in 0..=text.len() {
                if end == text.len() || cuts.get(end).copied().unwrap_or(false) {
                    let before = decided;
                    decided = matcher.scan(&text[..end], decided, end == text.len(), |range, with| {
                        edits.push(Edit { range, with });
                    });
                    prop_assert!(decided >= before);
                }
            }
            prop_assert_eq!(edits, whole);
        }
    }
}
