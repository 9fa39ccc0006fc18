//! What templates say of values: `{{ crate::admin::pages::text::visible(value) }}`.

use std::fmt::Write as _;

/// The tone of an outcome's badge.
pub(in crate::admin) fn tone(outcome: &str) -> &'static str {
    match outcome {
        "completed" => "ok",
        "refused" | "rejected" | "client_gone" | "interrupted" => "warn",
        _ => "bad",
    }
}

/// A text in which the characters that turn or hide others can be seen: what is shown as code must not read as other code
/// than it is.
pub(in crate::admin) fn visible(text: &str) -> String {
    let is_hidden = |char: &char| {
        let marks =
            matches!(*char, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
        marks || char.is_control() && !matches!(*char, '\n' | '\t')
    };
    text.chars().fold(String::with_capacity(text.len()), |mut shown, char| {
        if is_hidden(&char) {
            shown.extend(char.escape_unicode());
        } else {
            shown.push(char);
        }
        shown
    })
}

/// A span of time, in milliseconds.
pub(in crate::admin) fn span(milliseconds: f64) -> String {
    match milliseconds {
        short if short < 9.95 => format!("{short:.1} ms"),
        short if short < 999.5 => format!("{short:.0} ms"),
        seconds if seconds < 59_950.0 => format!("{:.2} s", seconds / 1000.0),
        long => format!("{:.0} m {:02.0} s", (long / 60_000.0).floor(), (long % 60_000.0 / 1000.0).floor()),
    }
}

/// A number, with its thousands apart.
pub(in crate::admin) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut apart = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            apart.push(',');
        }
        apart.push(digit);
    }
    apart
}

/// US dollars, with as many digits as it takes to see something.
pub(in crate::admin) fn dollars(amount: f64) -> String {
    let digits = if amount >= 1.0 || amount == 0.0 {
        2
    } else if amount >= 0.001 {
        4
    } else {
        6
    };
    format!("${amount:.digits$}")
}

/// A time as in RFC 3339 for people. A script says it in the reader's own time.
pub(in crate::admin) fn moment(time: &str) -> String {
    time.get(..19).unwrap_or(time).replace('T', " ")
}

/// A text as a part of a path or of a query.
pub(in crate::admin) fn part(text: &str) -> String {
    // What encodes forms writes a space as a plus, which a path does not know.
    form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

/// The page of a call.
pub(in crate::admin) fn call(id: &str) -> String {
    format!("/debug/calls/{}", part(id))
}

/// A call as JSON, also for a browser.
pub(in crate::admin) fn call_json(id: &str) -> String {
    format!("{}?format=json", call(id))
}

/// The page of a conversation.
pub(in crate::admin) fn session(id: &str) -> String {
    format!("/debug/sessions/{}", part(id))
}

/// What makes a browser go to these words on a page, and mark them.
pub(in crate::admin) fn fragment(words: &str) -> String {
    let mut fragment = String::new();
    for word in words.split_whitespace().map(|word| word.trim_matches(|sign: char| !sign.is_alphanumeric())) {
        if !word.is_empty() {
            let sign = if fragment.is_empty() { "#:~:" } else { "&" };
            // Writing to a string cannot fail.
            let _ = write!(fragment, "{sign}text={}", part(word).replace('-', "%2D"));
        }
    }
    fragment
}

/// The beginning of a text, for where a line has to do.
pub(in crate::admin) fn short(text: &str, most: usize) -> String {
    let mut signs = text.chars();
    let start: String = signs.by_ref().take(most).collect();
    if signs.next().is_some() { start + "…" } else { start }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_turns_or_hides_text_is_shown() {
        for (text, shown) in [
            ("a: \"b\"\n\t# c ä \u{5e9}", "a: \"b\"\n\t# c ä \u{5e9}"),
            ("a\u{202e}b\u{2066}c", "a\\u{202e}b\\u{2066}c"),
            ("\u{feff}x\u{200b}\r\u{1b}[0m", "\\u{feff}x\\u{200b}\\u{d}\\u{1b}[0m"),
        ] {
            assert_eq!(visible(text), shown);
        }
    }

    #[test]
    fn values_are_said_as_people_say_them() {
        for (milliseconds, said) in
            [(0.04, "0.0 ms"), (9.9, "9.9 ms"), (842.3, "842 ms"), (3210.0, "3.21 s"), (125_400.0, "2 m 05 s")]
        {
            assert_eq!(span(milliseconds), said);
        }
        for (number, said) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(count(number), said);
        }
        for (amount, said) in [(0.0, "$0.00"), (0.000_45, "$0.000450"), (0.0123, "$0.0123"), (12.5, "$12.50")] {
            assert_eq!(dollars(amount), said);
        }
        assert_eq!(moment("2026-01-31T12:00:00.123456Z"), "2026-01-31 12:00:00");
        assert_eq!((short("abc", 3).as_str(), short("äbcd", 3).as_str()), ("abc", "äbc…"));
    }

    #[test]
    fn addresses_hold_whatever_an_id_holds() {
        assert_eq!(session("a b/c?d#e&+ä"), "/debug/sessions/a%20b%2Fc%3Fd%23e%26%2B%C3%A4");
        assert_eq!(call_json("x"), "/debug/calls/x?format=json");
        assert_eq!(fragment("one \"two-three\" fou* &"), "#:~:text=one&text=two%2Dthree&text=fou");
        assert_eq!(fragment(" "), "");
    }
}
