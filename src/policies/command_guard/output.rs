//! What a command says, where that follows from its words.

use super::{
    escapes::escape,
    invocation::program,
    pattern::{MANY, ONE, UNKNOWN},
    scan::Scan,
    scope::Stream,
    walk::Walk,
    words::Field,
};

/// The longest text that is followed.
const LENGTH: usize = 64 << 10;

/// The output of a command, if it is known.
pub(super) fn said(walk: &Walk, words: &[Field], input: &Stream) -> Option<String> {
    let (first, arguments) = words.split_first()?;
    let text = match &*program(&first.text) {
        "echo" => Some(echo(arguments)),
        "printf" => printf(arguments),
        "cat" | "tee" if operands(arguments).next().is_none() => input.text.clone(),
        "tee" => input.text.clone(),
        "cat" => {
            let texts: Option<Vec<_>> = operands(arguments).map(|word| walk.file(&word.text)?.text).collect();
            texts.map(|texts| texts.concat())
        }
        // Paths, and everything below them.
        "find" => {
            let paths = arguments.iter().take_while(|word| !word.text.starts_with(['-', '(', '!']));
            let paths: Vec<_> = paths.map(|word| word.text.as_str()).collect();
            (!paths.is_empty()).then(|| {
                paths.join(
                    "
",
                )
            })
        }
        "which" | "command" | "type" => operands(arguments).last().map(|word| word.text.clone()),
        "pwd" => Some(walk.scope.directory.clone().unwrap_or_else(|| ".".to_owned())),
        "true" | ":" | "cd" | "set" | "export" => Some(String::new()),
        _ => None,
    };
    // The names of files that a pattern stands for are not known here.
    text.filter(|text| text.len() <= LENGTH && !text.contains([MANY, ONE]))
}

fn operands(arguments: &[Field]) -> impl Iterator<Item = &Field> {
    arguments.iter().filter(|word| !word.text.starts_with('-'))
}

fn echo(arguments: &[Field]) -> String {
    let is_flag = |word: &&Field| {
        word.text.len() > 1 && word.text.starts_with('-') && word.text.chars().skip(1).all(|char| "neE".contains(char))
    };
    let flags = arguments.iter().take_while(is_flag).count();
    let has = |flag: char| arguments.iter().take(flags).any(|word| word.text.contains(flag));
    let words: Vec<_> = arguments.iter().skip(flags).map(|word| word.text.as_str()).collect();
    let text = words.join(" ");
    // Some shells read escapes without being asked.
    let mut text = if text.contains('\\') && !has('E') { unescaped(&text) } else { text };
    if !has('n') {
        text.push('\n');
    }
    text
}

/// `printf` with its format and its arguments; only `%s`, `%b`, `%d` and `%%`.
pub(super) fn printf(arguments: &[Field]) -> Option<String> {
    let arguments = match arguments.first() {
        Some(word) if word.text == "--" => arguments.get(1..)?,
        Some(word) if word.text == "-v" => return Some(String::new()),
        _ => arguments,
    };
    let (format, values) = arguments.split_first()?;
    let format = unescaped(&format.text);
    let mut values = values.iter();
    let mut text = String::new();
    loop {
        let before = values.len();
        let mut chars = format.chars();
        while let Some(char) = chars.next() {
            if char != '%' {
                text.push(char);
                continue;
            }
            match chars.next() {
                Some('%') => text.push('%'),
                Some('b') => text.push_str(&unescaped(values.next().map_or("", |word| &word.text))),
                Some('s' | 'd' | 'q') => text.push_str(values.next().map_or("", |word| &word.text)),
                _ => text.push(UNKNOWN),
            }
        }
        // The format is used again as long as there are arguments.
        if values.len() == 0 || values.len() == before || text.len() > LENGTH {
            return Some(text);
        }
    }
}

fn unescaped(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut scan = Scan::new(&chars, 0);
    let mut out = String::new();
    while let Some(char) = scan.take() {
        match (char, scan.peek()) {
            ('\\', Some(next)) if next.is_ascii_alphanumeric() || next == '\\' => out.extend(escape(&mut scan)),
            _ => out.push(char),
        }
    }
    out
}
