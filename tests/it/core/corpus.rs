//! Streams that a client reads to their end, and what tests do with them.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use bytes::Bytes;
use luthien::{model::Dialect, policy::Rules};

use super::{
    random::lot,
    reader::{self, Answer, Item, Kind, sse},
    support::{Run, Stream, streams},
    validator,
};

/// Streams that a client reads to their end.
pub static WHOLE: LazyLock<Vec<Stream>> = LazyLock::new(|| {
    let mut streams = streams();
    streams.retain(|stream| {
        stream.is_good() && says_one_thing(stream) && reader::stream(stream.dialect, &stream.body).is_whole()
    });
    assert!(streams.len() > 30);
    streams
});

/// Whether all places of a Responses answer that repeat a thing agree. If not, a policy cannot judge it.
fn says_one_thing(stream: &Stream) -> bool {
    stream.dialect != Dialect::OpenaiResponses
        || validator::problems(stream.dialect, &stream.body).iter().all(|problem| problem.contains("sequence_number"))
}

/// Runs a stream in chunks of lengths by lot.
pub fn run_cut(dialect: Dialect, rules: &Arc<Rules>, body: &Bytes, cut: u64) -> Run {
    let mut run = Run::stream(dialect, rules);
    let most = [3, 40, 400, 4000][usize::try_from(cut % 4).unwrap()].max(body.len() / 200);
    let mut rest = body.clone();
    while !rest.is_empty() {
        let len = 1 + usize::try_from(lot((cut, rest.len()))).unwrap_or(usize::MAX) % most;
        run.push(&rest.split_to(len.min(rest.len())));
    }
    run.finish();
    run
}

/// Compares two texts line by line, and shows where they part.
#[track_caller]
pub fn assert_same(found: &str, expected: &str, what: &str) {
    let same = found.lines().zip(expected.lines()).take_while(|(found, expected)| found == expected).count();
    let from = |text: &str| text.lines().skip(same.saturating_sub(4)).take(12).collect::<Vec<_>>().join("\n");
    assert!(found == expected, "{what}: line {same}\nfound:\n{}\nexpected:\n{}", from(found), from(expected));
}

/// Names a text of an answer: its choice, its kind, and which one of these it is. A chat message has one of each.
pub type Name = (u32, String, usize);

/// Names the blocks of an answer.
pub fn names(dialect: Dialect, answer: &Answer) -> Vec<Name> {
    let mut counts: BTreeMap<(u32, &str), usize> = BTreeMap::new();
    answer
        .heads
        .iter()
        .map(|head| {
            let count = counts.entry((head.choice, head.kind.name())).or_default();
            *count += 1;
            let one = dialect == Dialect::OpenaiChat && !matches!(head.kind, Kind::Tool { .. });
            (head.choice, head.kind.name().to_owned(), if one { 1 } else { *count })
        })
        .collect()
}

/// The texts of an answer, each after `change`.
pub fn texts(
    dialect: Dialect,
    answer: &Answer,
    mut change: impl FnMut(&Kind, String) -> String,
) -> BTreeMap<Name, String> {
    let mut out: BTreeMap<Name, String> = BTreeMap::new();
    for (block, name) in names(dialect, answer).into_iter().enumerate() {
        let text = change(&answer.heads[block].kind, answer.text(block));
        out.entry(name).or_default().push_str(&text);
    }
    out
}

/// Checks after everything that left that each text is the beginning of what it may become.
#[track_caller]
pub fn assert_only_prefixes(dialect: Dialect, out: &[Bytes], expected: &BTreeMap<Name, String>, what: &str) {
    let mut reader = reader::Reader::new(dialect);
    let mut said: BTreeMap<Name, String> = BTreeMap::new();
    let mut seen = 0;
    for bytes in out {
        reader.push(bytes);
        let names = names(dialect, &reader.answer);
        for item in &reader.answer.items[seen..] {
            let Item::Text(block, text) = item else { continue };
            let name = &names[*block];
            let Some(expected) = expected.get(name) else { continue };
            let so_far = said.entry(name.clone()).or_default();
            so_far.push_str(text);
            let decoded = sse::joined(so_far, true);
            assert!(expected.starts_with(&decoded), "{what}: {name:?} said {decoded:?}, of {expected:?}");
        }
        seen = reader.answer.items.len();
    }
}

/// A piece of one of the texts, by lot.
pub fn needle(texts: &[String], seed: u64) -> Option<String> {
    let texts: Vec<_> = texts.iter().filter(|text| !text.is_empty()).collect();
    let pick = |salt: &str, of: usize| usize::try_from(lot((seed, salt))).unwrap_or(usize::MAX) % of.max(1);
    let text = texts.get(pick("text", texts.len()))?;
    let chars: Vec<char> = text.chars().collect();
    let start = pick("start", chars.len());
    let len = 1 + pick("len", 12);
    Some(chars[start..(start + len).min(chars.len())].iter().collect())
}
