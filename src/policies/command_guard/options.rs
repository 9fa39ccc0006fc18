//! Options in front of operands.

use super::words::Field;

/// The options that take a value in the next word: letters, and long names without their dashes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Options(pub &'static str, pub &'static [&'static str]);

/// The number of the first operand. Assignments before it count as options, as for `env` and `sudo`.
pub(super) fn operands_at(arguments: &[Field], options: Options) -> usize {
    let Options(short, long) = options;
    let mut at = 0;
    while let Some(word) = arguments.get(at) {
        let text = &*word.text;
        if text == "--" {
            return at + 1;
        }
        let takes_next = if let Some(name) = text.strip_prefix("--") {
            // Long names may be cut.
            long.iter().any(|known| known.starts_with(name)) && !name.is_empty()
        } else if let Some(letters) = text.strip_prefix('-') {
            letters.find(|letter| short.contains(letter)).is_some_and(|found| found + 1 == letters.len())
        } else if is_assignment(text) {
            false
        } else {
            return at;
        };
        at += if takes_next { 2 } else { 1 };
    }
    arguments.len()
}

fn is_assignment(text: &str) -> bool {
    text.split_once('=').is_some_and(|(name, _)| {
        name.starts_with(|char: char| char.is_ascii_alphabetic() || char == '_')
            && name.chars().all(|char| char.is_ascii_alphanumeric() || char == '_')
    })
}
