//! Backslashes in `$'…'`, `echo -e` and `printf`.

use super::{parse::Unreadable, scan::Scan};

/// `$'…'` up to its closing quote.
pub(super) fn ansi(scan: &mut Scan<'_>) -> Result<String, Unreadable> {
    let mut text = String::new();
    loop {
        match scan.take().ok_or(Unreadable::Syntax)? {
            '\'' => return Ok(text),
            '\\' => text.push(escape(scan).ok_or(Unreadable::Syntax)?),
            char => text.push(char),
        }
    }
}

/// What stands behind a backslash in `$'…'`, `echo -e` and `printf`.
pub(super) fn escape(scan: &mut Scan<'_>) -> Option<char> {
    let char = scan.take()?;
    Some(match char {
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        'a' => '\u{7}',
        'b' => '\u{8}',
        'e' | 'E' => '\u{1b}',
        'f' => '\u{c}',
        'v' => '\u{b}',
        'c' => {
            let letter = scan.take()?;
            char::from_u32(u32::from(letter.to_ascii_uppercase()) & 0x1f)?
        }
        'x' => number(scan, 16, 2).unwrap_or('x'),
        'u' => number(scan, 16, 4).unwrap_or('u'),
        'U' => number(scan, 16, 8).unwrap_or('U'),
        '0'..='7' => {
            // `echo -e` has a zero before three digits, the others have three at most.
            scan.at -= 1;
            let digits = if char == '0' { 4 } else { 3 };
            number(scan, 8, digits)?
        }
        other => other,
    })
}

fn number(scan: &mut Scan<'_>, radix: u32, most: usize) -> Option<char> {
    let mut value = None;
    for _ in 0..most {
        let Some(digit) = scan.peek().and_then(|char| char.to_digit(radix)) else { break };
        scan.take();
        value = Some(value.unwrap_or(0_u32).checked_mul(radix)?.checked_add(digit)?);
    }
    let value = value?;
    char::from_u32(if radix == 8 { value & 0xff } else { value })
}
