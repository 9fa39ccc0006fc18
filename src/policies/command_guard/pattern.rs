//! Words of which the shell knows more than we do, and whether they may fit a glob.
//!
//! A word is a text in which some characters stand for what is not written there. They are of a private use area.

/// Any text, known only when the command runs.
pub(super) const UNKNOWN: char = '\u{F8F0}';
/// An unquoted `*`, which the shell expands to names of files.
pub(super) const MANY: char = '\u{F8F1}';
/// An unquoted `?` or `[…]`.
pub(super) const ONE: char = '\u{F8F2}';
/// The home directory.
pub(super) const HOME: char = '\u{F8F3}';

/// A glob of a rule. Upper and lower case are the same, because they are to some file systems.
#[derive(Debug, Clone)]
pub(super) struct Glob {
    alternatives: Vec<Vec<Part>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// This character, in lower case.
    Char(char),
    /// `?`
    One,
    /// `*`
    Star,
    /// `**`, or `*` where slashes mean nothing.
    Deep,
}

/// At how many alternatives a glob is refused.
const ALTERNATIVES: usize = 256;

impl Glob {
    /// A glob over names of files: `*` stops at a slash, `**` does not.
    pub(super) fn path(glob: &str) -> Option<Self> {
        Self::new(glob, Part::Star)
    }

    /// A glob over any text.
    pub(super) fn text(glob: &str) -> Option<Self> {
        Self::new(glob, Part::Deep)
    }

    fn new(glob: &str, star: Part) -> Option<Self> {
        let alternatives = alternatives(glob)?;
        let alternatives = alternatives.iter().map(|glob| parts(glob, star)).collect();
        Some(Self { alternatives })
    }

    /// Whether a word fits, or may once the shell has expanded it. What is unknown fits only a wildcard.
    pub(super) fn fits(&self, word: &str) -> bool {
        self.alternatives.iter().any(|parts| fits(parts, word))
    }
}

/// The globs that `{a,b}` stands for.
pub(super) fn alternatives(glob: &str) -> Option<Vec<String>> {
    let mut done = Vec::new();
    let mut open = vec![glob.to_owned()];
    while let Some(glob) = open.pop() {
        let Some((before, rest)) = glob.split_once('{') else {
            done.push(glob);
            continue;
        };
        // An inner list would be cut at the wrong place.
        let (list, behind) = rest.split_once('}')?;
        if list.contains('{') || done.len() + open.len() > ALTERNATIVES {
            return None;
        }
        open.extend(list.split(',').rev().map(|item| format!("{before}{item}{behind}")));
    }
    Some(done)
}

fn parts(glob: &str, star: Part) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut chars = glob.chars().peekable();
    while let Some(char) = chars.next() {
        parts.push(match char {
            '*' if chars.next_if_eq(&'*').is_some() => Part::Deep,
            '*' => star,
            '?' => Part::One,
            char => Part::Char(char.to_ascii_lowercase()),
        });
    }
    parts
}

/// Whether a word and a glob have a text in common: all places in the glob at once, character by character.
fn fits(parts: &[Part], word: &str) -> bool {
    let mut places = vec![false; parts.len() + 1];
    if let Some(first) = places.first_mut() {
        *first = true;
    }
    pass_stars(parts, &mut places);
    // The shell's own wildcards leave out names that begin with a dot.
    let mut is_start = true;
    for char in word.chars() {
        let hidden = is_start && matches!(char, MANY | ONE);
        is_start = char == '/';
        if char == MANY {
            // It may be any text without a slash: every part that fits such a text may be passed.
            let mut inside = vec![false; places.len()];
            for (at, part) in parts.iter().enumerate() {
                let is_dot = hidden && *part == Part::Char('.') && !place(&inside, at);
                if place(&places, at) && !is_dot && !matches!(part, Part::Char('/' | HOME)) {
                    set(&mut places, at + 1);
                    set(&mut inside, at + 1);
                }
            }
            continue;
        }
        let mut next = vec![false; places.len()];
        for (at, part) in parts.iter().enumerate() {
            if !place(&places, at) {
                continue;
            }
            match part {
                Part::Deep => set(&mut next, at),
                Part::Star if char != '/' => set(&mut next, at),
                Part::One if !matches!(char, '/' | UNKNOWN) => set(&mut next, at + 1),
                Part::Char('.') if hidden => {}
                Part::Char(wanted) if same(*wanted, char) => set(&mut next, at + 1),
                Part::Star | Part::One | Part::Char(_) => {}
            }
        }
        places = next;
        pass_stars(parts, &mut places);
        if !places.contains(&true) {
            return false;
        }
    }
    place(&places, parts.len())
}

fn pass_stars(parts: &[Part], places: &mut [bool]) {
    for (at, part) in parts.iter().enumerate() {
        if place(places, at) && matches!(part, Part::Star | Part::Deep) {
            set(places, at + 1);
        }
    }
}

fn same(wanted: char, char: char) -> bool {
    match char {
        ONE => !matches!(wanted, '/' | HOME),
        HOME => matches!(wanted, '~' | HOME),
        char => wanted == char.to_ascii_lowercase(),
    }
}

fn place(places: &[bool], at: usize) -> bool {
    places.get(at).copied().unwrap_or_default()
}

fn set(places: &mut [bool], at: usize) {
    if let Some(place) = places.get_mut(at) {
        *place = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_fits_when_it_may() {
        let cases = [
            ("/etc/**", "/etc/passwd", true),
            ("/etc/**", "/etcetera", false),
            ("/etc/*", "/etc/a/b", false),
            ("/etc", "/et\u{F8F2}", true),
            ("/etc", "/\u{F8F1}", true),
            ("/etc/passwd", "/\u{F8F1}", false),
            ("/etc", "\u{F8F0}", false),
            ("**/.ssh/*", "\u{F8F0}/.ssh/id", true),
            ("/{usr,bin}/x", "/BIN/x", true),
            ("~/.ssh", "\u{F8F3}/.ssh", true),
            ("**/.ssh", "a/\u{F8F1}", false),
            ("**/.ssh", "a/.s\u{F8F1}", true),
            ("\u{F8F3}", "\u{F8F1}", false),
            ("", "", true),
            ("", "a", false),
        ];
        for (glob, word, fits) in cases {
            assert_eq!(Glob::path(glob).unwrap().fits(word), fits, "{glob} {word}");
        }
        assert!(Glob::text("*a*").unwrap().fits("x/a/y"));
        assert!(Glob::text("{a").is_none() && Glob::text("{a,{b}}").is_none());
    }
}
