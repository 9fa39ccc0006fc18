//! Two texts word by word: in one, or line beside line.

use askama::{Template, filters::HtmlSafe};

use crate::admin::{
    debug::{Op, Words},
    pages::text,
};

/// So much that did not change is shown around what did, in characters and in lines.
const AROUND: usize = 240;
const LINES: usize = 3;

/// Words in a row.
#[derive(Debug, Clone, PartialEq, Eq, Template)]
#[template(
    ext = "html",
    source = "{% match op %}{% when Op::Equal %}{{ text }}{% when Op::Delete %}<del>{{ text }}</del>{% when Op::Insert %}<ins>{{ text }}</ins>{% endmatch %}"
)]
pub(super) struct Run {
    op: Op,
    text: String,
}

// The template escapes what it shows.
impl HtmlSafe for Run {}

/// A line on both sides.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) before: Vec<Run>,
    pub(super) after: Vec<Run>,
    /// So many lines that are the same are not shown.
    pub(super) skipped: usize,
}

/// As much as there is room for.
pub(super) fn cut(words: Vec<Words>, most: usize, is_cut: &mut bool) -> Vec<Run> {
    let mut left = most;
    let mut runs = Vec::new();
    for Words { op, mut text } in words {
        if left == 0 {
            *is_cut = true;
            break;
        }
        // What did not change is cut short where it is shown.
        let room = if op == Op::Equal { usize::MAX } else { left };
        if text.len() > room {
            *is_cut = true;
            text.truncate(text.floor_char_boundary(room));
        }
        left = left.saturating_sub(if op == Op::Equal { text.len().min(AROUND) } else { text.len() });
        runs.push(Run { op, text });
    }
    runs
}

/// With a note in place of most of what did not change.
pub(super) fn shortened(runs: Vec<Run>) -> Vec<Run> {
    let last = runs.len().saturating_sub(1);
    let short = |(at, run): (usize, Run)| {
        let signs = run.text.chars().count();
        // Both ends are beside a change, but for those of the whole.
        let (head, tail) = (if at == 0 { 0 } else { AROUND }, if at == last { 0 } else { AROUND });
        if run.op != Op::Equal || signs <= head + tail + AROUND {
            return run;
        }
        let start: String = run.text.chars().take(head).collect();
        let end: String = run.text.chars().skip(signs - tail).collect();
        let skipped = text::count(u64::try_from(signs - head - tail).unwrap_or_default());
        Run { text: format!("{start} ⟨{skipped} characters are the same⟩ {end}"), ..run }
    };
    runs.into_iter().enumerate().map(short).collect()
}

/// Both texts line by line. A line ends where both have one.
pub(super) fn lines(runs: &[Run]) -> Vec<Line> {
    let mut lines = vec![Line::default()];
    for Run { op, text } in runs {
        let pieces = text.split_inclusive('\n');
        for piece in pieces {
            let run = Run { op: *op, text: piece.to_owned() };
            let Some(line) = lines.last_mut() else { continue };
            if *op != Op::Insert {
                line.before.push(run.clone());
            }
            if *op != Op::Delete {
                line.after.push(run);
            }
            if *op == Op::Equal && piece.ends_with('\n') {
                lines.push(Line::default());
            }
        }
    }
    let changed: Vec<usize> = lines.iter().enumerate().filter(|(_, line)| !line.is_same()).map(|(at, _)| at).collect();
    let is_near = |at: usize| {
        let next = changed.partition_point(|changed| changed + LINES < at);
        changed.get(next).is_some_and(|changed| *changed <= at + LINES)
    };
    let mut shown: Vec<Line> = Vec::new();
    for (at, line) in lines.into_iter().enumerate() {
        match shown.last_mut() {
            _ if is_near(at) => shown.push(line.short()),
            Some(last) if last.skipped > 0 => last.skipped += 1,
            _ => shown.push(Line { skipped: 1, ..Line::default() }),
        }
    }
    shown
}

impl Line {
    pub(super) fn is_same(&self) -> bool {
        self.before.iter().chain(&self.after).all(|run| run.op == Op::Equal)
    }

    /// One line can be a whole book.
    fn short(self) -> Self {
        Self { before: shortened(self.before), after: shortened(self.after), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(op: Op, text: &str) -> Run {
        Run { op, text: text.to_owned() }
    }

    #[test]
    fn lines_stand_beside_each_other_and_what_is_the_same_is_left_out() {
        let same: String = (0..20).map(|line| format!("line {line}")).collect::<Vec<_>>().join("\n") + "\n";
        let runs = [run(Op::Equal, &same), run(Op::Delete, "dog\n"), run(Op::Insert, "cat\n"), run(Op::Equal, &same)];
        let lines = lines(&runs);
        let skipped: Vec<usize> = lines.iter().map(|line| line.skipped).collect();
        assert_eq!(skipped, [17, 0, 0, 0, 0, 0, 0, 0, 17]);
        // The next line follows at once: no line ends where only one side has an end.
        assert_eq!(lines[4].before, [run(Op::Delete, "dog\n"), run(Op::Equal, "line 0\n")]);
        assert_eq!(lines[4].after, [run(Op::Insert, "cat\n"), run(Op::Equal, "line 0\n")]);
    }

    #[test]
    fn long_texts_are_cut() {
        let long = "word ".repeat(10_000);
        let words = |op, text: &str| Words { op, text: text.to_owned() };
        let mut is_cut = false;
        let runs =
            cut(vec![words(Op::Equal, &long), words(Op::Delete, &long), words(Op::Insert, "x")], 20_000, &mut is_cut);
        assert!(is_cut);
        assert_eq!(runs.len(), 2);
        let shown = shortened(runs);
        assert!(shown[0].text.contains("49,760 characters are the same"), "{}", shown[0].text);
        assert!(shown.iter().map(|run| run.text.len()).sum::<usize>() < 21_000);
    }
}
