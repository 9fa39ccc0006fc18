//! Code that stands in arguments of programs that are no shells.

use super::{
    pattern::MANY,
    tables::INTERPRETERS,
    words::Field,
    wrappers::{Inner, is_input},
};

/// Code in the options of programs that are no shells.
pub(super) fn option_code(name: &str, arguments: &[Field]) -> Vec<Inner> {
    let mut all = Vec::new();
    for (at, word) in arguments.iter().enumerate() {
        let text = &*word.text;
        let code = match name {
            "git" => text.strip_prefix('!').or_else(|| text.split_once("=!").map(|(_, code)| code)).or_else(|| {
                let (key, code) = text.split_once('=')?;
                let key = key.to_lowercase();
                (["pager", "editor", "command", "askpass", "fsmonitor"].iter().any(|end| key.ends_with(end)))
                    .then_some(code)
            }),
            "tar" | "bsdtar" => ["--checkpoint-action=exec=", "--to-command=", "--use-compress-program="]
                .iter()
                .find_map(|option| text.strip_prefix(option)),
            "make" => text.strip_prefix("SHELL="),
            "vim" | "vi" | "nvim" => text.trim_start_matches([':', '+']).strip_prefix('!'),
            "rsync" if at > 0 && arguments.get(at - 1).is_some_and(|word| matches!(&*word.text, "-e" | "--rsh")) => {
                Some(text)
            }
            "rsync" => text.strip_prefix("--rsh="),
            _ => text.split_once('=').and_then(|(key, code)| {
                let key = key.trim_start_matches("-o").to_lowercase();
                matches!(&*key, "proxycommand" | "localcommand" | "knownhostscommand").then_some(code)
            }),
        };
        all.extend(code.map(|code| Inner::Perhaps(code.to_owned())));
    }
    all
}

/// What an interpreter runs.
pub(super) fn interpreter(name: &str, arguments: &[Field]) -> Inner {
    if matches!(name, "awk" | "gawk" | "mawk" | "nawk") {
        return runs_word(arguments);
    }
    let base = name.trim_end_matches(|char: char| char.is_ascii_digit() || char == '.');
    let Some((_, code)) = INTERPRETERS.iter().find(|(interpreter, _)| *interpreter == base) else {
        return Inner::Nothing;
    };
    for word in arguments {
        let text = &*word.text;
        if is_input(text) {
            return Inner::Data;
        }
        if matches!((base, text), ("deno" | "bun", "run")) {
            continue;
        }
        let Some(flags) = text.strip_prefix('-') else {
            return Inner::File { path: word.clone(), is_here: false, is_shell: false };
        };
        if let Some(long) = flags.strip_prefix('-') {
            if long.starts_with("eval") || long.starts_with("print") || matches!(long, "version" | "help") {
                return runs_word(arguments);
            }
        } else if flags.chars().any(|flag| code.contains(flag)) {
            return runs_word(arguments);
        } else if flags.starts_with(['V', 'h']) {
            return Inner::Nothing;
        }
    }
    if base == "deno" && !arguments.is_empty() { Inner::Nothing } else { Inner::Data }
}

/// Code of an interpreter in a word: where it came from, and what it may give to a shell.
fn runs_word(arguments: &[Field]) -> Inner {
    let mut all = Vec::new();
    for word in arguments {
        if !word.from.is_empty() && !word.text.contains(MANY) {
            all.push(Inner::File { path: word.clone(), is_here: false, is_shell: false });
        }
        if CALLS.iter().any(|call| word.text.contains(call)) {
            let texts = literals(&word.text);
            all.push(Inner::Perhaps(texts.join(" ")));
            all.extend(texts.into_iter().filter(|text| text.contains(' ')).map(|text| Inner::Perhaps(text.to_owned())));
        }
    }
    Inner::All(all)
}

/// What calls of programs look like in other languages.
const CALLS: [&str; 9] = ["system", "popen", "subprocess", "exec", "spawn", "child_process", "`", "shell_", "Command"];

/// The texts between quotes in code of another language.
pub(super) fn literals(code: &str) -> Vec<&str> {
    let mut texts = Vec::new();
    let mut rest = code;
    while let Some(start) = rest.find(['"', '\'', '`']) {
        let (quote, behind) = rest.split_at(start).1.split_at(1);
        let end = behind.find(quote).unwrap_or(behind.len());
        let (text, after) = behind.split_at(end);
        if !text.is_empty() {
            texts.push(text);
        }
        rest = after.get(1..).unwrap_or_default();
    }
    texts
}
