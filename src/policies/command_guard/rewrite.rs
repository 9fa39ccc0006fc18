//! Edits of commands: the words that change, and nothing else.

use std::{collections::BTreeMap, ops::Range};

use crate::json::Edit;

use super::{
    super::text::apply,
    calls::WORD_END,
    judge::Wanted,
    walk::{Place, Walk},
};

/// The edits of the outermost text, or of its list of words. `None`: they cannot be made without a risk.
pub(super) fn edits(walk: &Walk, wanted: &[Wanted]) -> Option<Vec<Edit>> {
    let mut all: BTreeMap<usize, Vec<Edit>> = BTreeMap::new();
    for wanted in wanted {
        let (text, edit) = edit(walk, wanted)?;
        add(all.entry(text).or_default(), edit);
    }
    // Texts within others were found after them.
    while let Some((number, mut edits)) = all.pop_last() {
        edits.sort_by_key(|edit| edit.range.start);
        if edits.windows(2).any(|pair| matches!(pair, [first, second] if first.range.end > second.range.start)) {
            return None;
        }
        let text = walk.texts.get(number)?;
        match &text.place {
            Place::Top | Place::Words => return all.is_empty().then_some(edits),
            Place::Nowhere => return None,
            Place::Word(outer, span) => {
                let code = apply(&text.text, &edits);
                let is_list = walk.texts.get(*outer)?.place == Place::Words;
                let with = if is_list { code } else { quoted(&code) };
                add(all.entry(*outer).or_default(), Edit { range: span.clone(), with });
            }
        }
    }
    None
}

fn edit(walk: &Walk, wanted: &Wanted) -> Option<(usize, Edit)> {
    let invocation = walk.found.get(wanted.found)?;
    let words = invocation.words.get(wanted.words.clone())?;
    // What a variable says elsewhere may be another program.
    if !words.iter().all(|word| word.literal) {
        return None;
    }
    let spans: Vec<Range<usize>> = words.iter().map(|word| word.span.clone()).collect::<Option<_>>()?;
    let range = spans.first()?.start..spans.last()?.end;
    let text = walk.texts.get(invocation.text)?;
    let is_next = |pair: &[Range<usize>]| {
        let [first, second] = pair else { return false };
        match text.place {
            Place::Words => first.end == second.start,
            Place::Top | Place::Word(..) | Place::Nowhere => {
                let between = text.text.get(first.end..second.start);
                between.is_some_and(|between| between.chars().all(|char| matches!(char, ' ' | '\t')))
            }
        }
    };
    let with: Vec<_> = wanted.with.split_whitespace().collect();
    let between = if text.place == Place::Words { WORD_END } else { ' ' };
    let with = with.join(&between.to_string());
    spans.windows(2).all(is_next).then_some((invocation.text, Edit { range, with }))
}

/// The same edit may be asked for more than once, as by a loop.
fn add(edits: &mut Vec<Edit>, edit: Edit) {
    if !edits.contains(&edit) {
        edits.push(edit);
    }
}

/// A text as one word of a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
