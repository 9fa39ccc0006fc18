//! Brace expansion: `{a,b}` and `{1..3}`, on the text of a word before anything else is expanded.

use super::{
    parse::Unreadable,
    pattern::UNKNOWN,
    scan::{Scan, close_of},
};

/// To how many words one word may expand.
const WORDS: usize = 256;
/// Longer sequences are one unknown word.
const SEQUENCE: i64 = 64;
/// How many braces one word may hold.
const BRACES: usize = 128;

/// The words that a word expands to.
pub(super) fn expand(word: &str) -> Result<Vec<String>, Unreadable> {
    if !word.contains('{') {
        return Ok(vec![word.to_owned()]);
    }
    let chars: Vec<char> = word.chars().collect();
    let mut scan = Scan::new(&chars, 0);
    let mut braces = 0;
    while let Some(char) = scan.peek() {
        braces += usize::from(char == '{');
        scan.skip_unit()?;
    }
    if braces > BRACES {
        return Err(Unreadable::Limit);
    }
    let mut done = Vec::new();
    let mut open = vec![(word.to_owned(), 0)];
    while let Some((word, from)) = open.pop() {
        let chars: Vec<char> = word.chars().collect();
        let Some((start, end, items)) = first(&chars, from)? else {
            done.push(word);
            continue;
        };
        if done.len() + open.len() + items.len() > WORDS {
            return Err(Unreadable::Limit);
        }
        let before: String = chars.iter().take(start).collect();
        let behind: String = chars.iter().skip(end + 1).collect();
        // What an item expands to in turn stands where the item begins.
        open.extend(items.into_iter().rev().map(|item| (format!("{before}{item}{behind}"), start)));
    }
    Ok(done)
}

/// The first braces that expand: their place and what they stand for.
fn first(chars: &[char], from: usize) -> Result<Option<(usize, usize, Vec<String>)>, Unreadable> {
    let mut scan = Scan::new(chars, from);
    while let Some(char) = scan.peek() {
        if char == '{'
            && let Ok(end) = close_of(chars, scan.at + 1, '{', '}')
        {
            let inner = chars.get(scan.at + 1..end).unwrap_or_default();
            let items = items(inner)?;
            if items.len() > 1 {
                return Ok(Some((scan.at, end, items)));
            }
            if let Some(sequence) = items.first().and_then(|item| sequence(item)) {
                return Ok(Some((scan.at, end, sequence)));
            }
        }
        scan.skip_unit()?;
    }
    Ok(None)
}

/// The parts between commas that stand in no inner braces.
fn items(inner: &[char]) -> Result<Vec<String>, Unreadable> {
    let mut items = Vec::new();
    let mut start = 0;
    let mut scan = Scan::new(inner, 0);
    while let Some(char) = scan.peek() {
        if char == ',' {
            items.push(inner.get(start..scan.at).unwrap_or_default().iter().collect());
            start = scan.at + 1;
        }
        match (char, close_of(inner, scan.at + 1, '{', '}')) {
            ('{', Ok(end)) => scan.at = end + 1,
            _ => scan.skip_unit()?,
        }
    }
    items.push(inner.get(start..).unwrap_or_default().iter().collect());
    Ok(items)
}

fn sequence(item: &str) -> Option<Vec<String>> {
    let mut ends = item.split("..");
    let (first, last) = (ends.next()?, ends.next()?);
    let step = ends.next().map_or(Some(1), |step| step.parse::<i64>().ok())?.checked_abs()?.max(1);
    let letter = |text: &str| text.chars().next().filter(|char| char.is_ascii_alphabetic() && text.len() == 1);
    let (from, to, letters) = match (first.parse::<i64>(), last.parse::<i64>()) {
        (Ok(from), Ok(to)) => (from, to, false),
        _ => (i64::from(u32::from(letter(first)?)), i64::from(u32::from(letter(last)?)), true),
    };
    let count = to.checked_sub(from)?.checked_abs()? / step;
    if count > SEQUENCE {
        return Some(vec![UNKNOWN.to_string()]);
    }
    let step = if to < from { -step } else { step };
    let values = (0..=count).map(|at| from + at * step);
    Some(
        values
            .map(|value| match u32::try_from(value).ok().and_then(char::from_u32) {
                Some(letter) if letters => letter.to_string(),
                _ => value.to_string(),
            })
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_expand_as_in_bash() {
        let cases = [
            ("{rm,-rf,/}", "rm -rf /"),
            ("a{b,c}d{e,f}", "abde abdf acde acdf"),
            ("{a,{b,c}}", "a b c"),
            ("{1..3}", "1 2 3"),
            ("{c..a}", "c b a"),
            ("${x,y}", "${x,y}"),
            ("'{a,b}'", "'{a,b}'"),
            ("{}", "{}"),
            ("{a}", "{a}"),
            ("{a,b", "{a,b"),
            ("\\{a,b}", "\\{a,b}"),
            ("{a,\"b,c\"}", "a \"b,c\""),
            ("{{a,b}", "{a {b"),
        ];
        for (word, expected) in cases {
            assert_eq!(expand(word).unwrap().join(" "), expected, "{word}");
        }
        assert_eq!(expand(&"{a,b}".repeat(20)), Err(Unreadable::Limit));
        assert_eq!(expand("{1..9223372036854775807}").unwrap(), [UNKNOWN.to_string()]);
    }
}
