//! What templates say of values: `{{ crate::admin::pages::text::visible(value) }}`.

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
}
