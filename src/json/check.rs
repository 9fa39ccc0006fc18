//! Whether a text is JSON, in one pass and without a word about why not.
//!
//! Every event of a stream is asked this. What it does not take is left to `serde_json`, which says what is wrong.

use super::Span;

/// The place of the one value that `document` is, white space around it left out. `None`: it is none. UTF-8 is not checked.
///
/// Strings may hold halves of surrogate pairs, and nothing limits how deep values nest.
pub(super) fn check(document: &[u8]) -> Option<Span> {
    let mut scan = Scan { document, at: 0, open: Open::default() };
    scan.skip_space();
    let start = scan.at;
    scan.value()?;
    let end = scan.at;
    scan.skip_space();
    (scan.at == document.len()).then_some(Span { start, end })
}

struct Scan<'a> {
    document: &'a [u8],
    at: usize,
    open: Open,
}

/// The objects and arrays that are open, a bit for each: 1 is an object.
#[derive(Default)]
struct Open {
    innermost: u64,
    /// Of which so many bits count.
    count: u32,
    outer: Vec<u64>,
}

impl Open {
    fn push(&mut self, is_object: bool) {
        if self.count == u64::BITS {
            self.outer.push(self.innermost);
            self.count = 0;
        }
        self.innermost = self.innermost << 1 | u64::from(is_object);
        self.count += 1;
    }

    fn pop(&mut self) {
        self.innermost >>= 1;
        self.count -= 1;
        if self.count == 0
            && let Some(outer) = self.outer.pop()
        {
            (self.innermost, self.count) = (outer, u64::BITS);
        }
    }

    /// Whether the innermost one is an object. `None`: nothing is open.
    fn is_object(&self) -> Option<bool> {
        (self.count > 0).then_some(self.innermost & 1 == 1)
    }
}

impl Scan<'_> {
    fn peek(&self) -> Option<u8> {
        self.document.get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\t' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    /// One value with everything in it.
    fn value(&mut self) -> Option<()> {
        loop {
            self.skip_space();
            match self.peek()? {
                b'"' => self.string()?,
                b'{' => {
                    self.at += 1;
                    self.skip_space();
                    if self.peek()? != b'}' {
                        self.open.push(true);
                        self.key()?;
                        continue;
                    }
                    self.at += 1;
                }
                b'[' => {
                    self.at += 1;
                    self.skip_space();
                    if self.peek()? != b']' {
                        self.open.push(false);
                        continue;
                    }
                    self.at += 1;
                }
                b't' => self.literal(b"true")?,
                b'f' => self.literal(b"false")?,
                b'n' => self.literal(b"null")?,
                _ => self.number()?,
            }
            if self.close()? {
                return Some(());
            }
        }
    }

    /// What may stand behind a value, up to the next one. Whether there is none.
    fn close(&mut self) -> Option<bool> {
        loop {
            let Some(is_object) = self.open.is_object() else { return Some(true) };
            self.skip_space();
            let byte = self.peek()?;
            self.at += 1;
            match byte {
                b',' => {
                    if is_object {
                        self.skip_space();
                        self.key()?;
                    }
                    return Some(false);
                }
                b'}' if is_object => self.open.pop(),
                b']' if !is_object => self.open.pop(),
                _ => return None,
            }
        }
    }

    fn key(&mut self) -> Option<()> {
        self.string()?;
        self.skip_space();
        self.take(b':')
    }

    fn literal(&mut self, literal: &[u8]) -> Option<()> {
        self.document.get(self.at..)?.starts_with(literal).then(|| self.at += literal.len())
    }

    fn string(&mut self) -> Option<()> {
        self.take(b'"')?;
        loop {
            self.at = plain(self.document, self.at);
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return Some(());
                }
                b'\\' => {
                    let escaped = *self.document.get(self.at + 1)?;
                    self.at += 2;
                    match escaped {
                        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
                        b'u' => {
                            let digits = self.document.get(self.at..self.at + 4)?;
                            digits.iter().all(u8::is_ascii_hexdigit).then(|| self.at += 4)?;
                        }
                        _ => return None,
                    }
                }
                0..0x20 => return None,
                _ => self.at += 1,
            }
        }
    }

    fn number(&mut self) -> Option<()> {
        if self.peek()? == b'-' {
            self.at += 1;
        }
        match self.peek()? {
            b'0' => self.at += 1,
            _ => self.digits()?,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Some(())
    }

    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }
}

/// One past the quote that ends the string of checked JSON whose content begins at `at`.
pub(super) fn string_end(document: &[u8], mut at: usize) -> usize {
    loop {
        at = plain(document, at);
        match document.get(at) {
            Some(b'"') => return at + 1,
            Some(b'\\') => at += 2,
            Some(_) => at += 1,
            None => return document.len(),
        }
    }
}

/// The place of the first byte from `at` on that does not stand for itself in a string; or one before it, less than eight from
/// the end.
///
/// Sixteen at a time, which the compiler does at once, and then eight to find it.
fn plain(document: &[u8], mut at: usize) -> usize {
    const ONES: u64 = u64::MAX / 0xff;
    const HIGH: u64 = ONES << 7;
    #[expect(clippy::needless_bitwise_bool, reason = "with `||` the compiler would not look at sixteen at once")]
    let is_special = |byte: u8| (byte < 0x20) | (byte == b'"') | (byte == b'\\');
    while let Some(block) = document.get(at..at + 16) {
        if block.iter().fold(false, |found, byte| found | is_special(*byte)) {
            break;
        }
        at += 16;
    }
    // Each has the highest bit of a byte set that is of the kind. It may be set for bytes behind the first one of them, too.
    let below_space = |word: u64| word.wrapping_sub(ONES * 0x20) & !word & HIGH;
    let equal = |word: u64, byte: u8| {
        let difference = word ^ (ONES * u64::from(byte));
        difference.wrapping_sub(ONES) & !difference & HIGH
    };
    while let Some(Ok(bytes)) = document.get(at..at + 8).map(<[u8; 8]>::try_from) {
        let word = u64::from_le_bytes(bytes);
        let special = below_space(word) | equal(word, b'"') | equal(word, b'\\');
        if special != 0 {
            return at + special.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    at
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::de::IgnoredAny;

    use super::*;

    fn agrees(document: &[u8]) {
        let theirs = serde_json::from_slice::<IgnoredAny>(document).is_ok();
        assert_eq!(check(document).is_some(), theirs, "{:?}", String::from_utf8_lossy(document));
    }

    #[test]
    fn it_takes_what_serde_json_takes() {
        for text in [
            "",
            " ",
            "{}",
            "[]",
            " [ ] ",
            "{ }",
            "[1,]",
            "[,1]",
            "[1 2]",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{a:1}",
            "{1:1}",
            "{\"a\":1}",
            "{\"a\" : 1 , \"b\":[ {} , [ ] , null ]}",
            "[}",
            "{]",
            "[[]",
            "[]]",
            "{}{}",
            "1 2",
            "\"a\"b",
            "\"",
            "\"\\",
            "\"\\u12\"",
            "\"\\u12g4\"",
            "\"\\ud83d\"",
            "\"\\x\"",
            "\"\\/\\b\\f\\n\\r\\t\\\\\\\"\"",
            "\"\t\"",
            "\"a\u{7f}é😀\"",
            "\"1234567\u{1}\"",
            "\"12345678\u{1f}\"",
            "\"1234567\\\"\"",
            "\"€€€€€€€€\"",
            "0",
            "-0",
            "-",
            "01",
            "1.",
            ".5",
            "1.5",
            "1e",
            "1e5",
            "1E+5",
            "1e-",
            "-1.0e-3",
            "1e999999",
            "+1",
            "--1",
            "0x1",
            "NaN",
            "true",
            "tru",
            "truee",
            "false",
            "null",
            "nul",
            "nulll",
            "\u{feff}{}",
            "{}\0",
            "[\"a\",\"b\"",
            "// c\n{}",
            "{\"a\":1/**/}",
        ] {
            agrees(text.as_bytes());
        }
    }

    #[test]
    fn values_may_nest_as_deep_as_they_like() {
        for depth in [1, 63, 64, 65, 127, 128, 129, 200_000] {
            let nested = |inner: &str| format!("{}{inner}{}", "[{\"a\":".repeat(depth), "}]".repeat(depth));
            assert!(check(nested("1").as_bytes()).is_some(), "{depth}");
            assert!(check(nested("1]").as_bytes()).is_none(), "{depth}");
            assert!(check(nested("").as_bytes()).is_none(), "{depth}");
        }
    }

    #[test]
    fn it_says_where_the_value_stands() {
        assert_eq!(check(b" \n{\"a\":[1]} "), Some(Span { start: 2, end: 11 }));
        assert_eq!(check(b"12"), Some(Span { start: 0, end: 2 }));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn it_agrees_with_serde_json_on_anything(text in r#"([\[\]{},:" \\aeu0-9.+tn-]|true|null|"[a-z]{0,12}":?|\\u00|😀|\x01){0,24}"#) {
            agrees(text.as_bytes());
        }

        #[test]
        fn it_agrees_on_json_with_a_byte_changed(
            text in r#"\{("[a-z]{1,9}": ?(-?[1-9]{1,3}(\.[0-9])?|"([a-z]|\\n|\\u00e9){0,12}"|\[(1,){0,3}null\]),){0,4}"z":true\}"#,
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
        ) {
            agrees(text.as_bytes());
            let mut changed = text.into_bytes();
            let at = at.index(changed.len());
            changed[at] = byte;
            agrees(&changed);
        }
    }
}
