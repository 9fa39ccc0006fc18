//! Commands as syntax trees. `brush-parser` reads them; everything that would let it run away is found before.
//!
//! Its grammar recurses, and tries some brackets twice. So the nesting of a text is counted in its tokens before they are
//! parsed. Its reader of single words is not used: see `words`.

use std::panic::{AssertUnwindSafe, catch_unwind};

use brush_parser::{ParserOptions, Token, TokenizerOptions, ast::Program};

/// Why a command cannot be judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// It is not the syntax of a shell.
    Syntax,
    /// It is too long, too deep or expands to too much.
    Limit,
}

/// The longest command, in bytes.
const LENGTH: usize = 64 << 10;
/// How many expansions a command may hold. The tokenizer recurses into each.
const EXPANSIONS: usize = 1000;
/// How deep commands may nest.
const DEPTH: usize = 48;
/// How deep those brackets may nest that the grammar tries twice.
const DOUBLE: usize = 8;
/// What one judgement may need, with the deepest nesting that is let through.
const STACK: usize = 48 << 20;

/// Runs with a stack that is large enough for everything within the limits.
pub(super) fn with_room<T>(run: impl FnOnce() -> T) -> T {
    stacker::grow(STACK, run)
}

/// Reads a command.
pub(super) fn parse(text: &str) -> Result<Program, Unreadable> {
    if text.len() > LENGTH || expansions(text) > EXPANSIONS {
        return Err(Unreadable::Limit);
    }
    if text.contains('\0') || text.match_indices("<<").any(|(at, _)| text.get(at + 2..).is_some_and(ends_by_expansion))
    {
        return Err(Unreadable::Syntax);
    }
    // Within the limits no panic is known. One that comes all the same is a command that cannot be read.
    let parsed = catch_unwind(AssertUnwindSafe(|| {
        let tokens =
            brush_parser::uncached_tokenize_str(text, &TokenizerOptions::default()).map_err(|_| Unreadable::Syntax)?;
        check(&tokens)?;
        brush_parser::parse_tokens(&tokens, &ParserOptions::default()).map_err(|_| Unreadable::Syntax)
    }));
    parsed.unwrap_or(Err(Unreadable::Syntax))
}

fn expansions(text: &str) -> usize {
    text.as_bytes().windows(2).filter(|pair| matches!(pair, [b'$', b'(' | b'{' | b'['])).count()
}

/// Whether the word behind `<<`, which ends a here-document, has an expansion in it. Shells take it as it stands, so that nobody
/// writes one; the tokenizer looks for its end without an end.
fn ends_by_expansion(behind: &str) -> bool {
    // `<<<` is no here-document.
    let word = if behind.starts_with('<') { "" } else { behind.strip_prefix('-').unwrap_or(behind) };
    let word = word.trim_start_matches([' ', '\t', '\\', '\n']);
    let mut quote = None;
    let mut chars = word.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '$' if matches!(chars.peek(), Some('(' | '{' | '[')) => return true,
            '?' | '*' | '+' | '@' | '!' if chars.peek() == Some(&'(') => return true,
            '\\' => _ = chars.next(),
            '\'' | '"' if quote.is_none() => quote = Some(char),
            _ if quote == Some(char) => quote = None,
            ' ' | '\t' | '\n' | ';' | '|' | '&' | '<' | '>' | '(' | ')' if quote.is_none() => return false,
            _ => {}
        }
    }
    false
}

/// What closes each construct that is open.
fn check(tokens: &[Token]) -> Result<(), Unreadable> {
    let mut open: Vec<&str> = Vec::new();
    let mut run = 0;
    let mut before: Option<&Token> = None;
    for token in tokens {
        let text = token.to_str();
        let is_word = matches!(token, Token::Word(..));
        let starts = before.is_none_or(|before| matches!(before, Token::Operator(..)));
        match text {
            "(" if !is_word => open.push(")"),
            ")" if !is_word && open.last() == Some(&")") => _ = open.pop(),
            "case" if is_word => open.push("esac"),
            "if" if is_word => open.push("fi"),
            "while" | "until" | "for" | "select" if is_word => open.push("done"),
            "{" if is_word => open.push("}"),
            "esac" | "fi" | "done" | "}" if is_word && starts && open.last() == Some(&text) => _ = open.pop(),
            _ => {}
        }
        run = if is_word && matches!(text, "!" | "coproc") { run + 1 } else { 0 };
        let doubled = open.iter().filter(|close| matches!(**close, ")" | "esac")).count();
        if open.len() > DEPTH || doubled > DOUBLE || run > DOUBLE || is_word && deep_index(text) {
            return Err(Unreadable::Limit);
        }
        // The grammar takes the number of a descriptor for one that fits.
        if text.starts_with(['<', '>']) && before.is_some_and(|before| is_long_number(before.to_str())) {
            return Err(Unreadable::Syntax);
        }
        before = Some(token);
    }
    Ok(())
}

fn is_long_number(text: &str) -> bool {
    text.len() > 9 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether a word is an assignment to an element whose index nests: `a[b[c]]=`.
fn deep_index(word: &str) -> bool {
    let name = word.trim_start_matches(|char: char| char.is_ascii_alphanumeric() || char == '_');
    name.len() < word.len()
        && name.starts_with('[')
        && name.split("]=").next().is_some_and(|index| index.matches(['[', '(', '{', '"', '`']).count() > DOUBLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_here_document_is_no_expansion() {
        for text in [
            "cat <<E$(( > a)",
            "cat <<-E$(( > a)",
            "cat << \\\nE$(( > a)",
            "cat <<''$(( > a)",
            "cat <<\"x y$(( > a)\"",
            "<<E@(> a",
        ] {
            assert_eq!(parse(text).err(), Some(Unreadable::Syntax), "{text}");
        }
        for text in [
            "cat <<E\n$(date)\nE",
            "cat <<'E' > $(x)\n$\nE",
            "cat <<<$(date)",
            "echo $((1 << 3)) $((1<<$n))",
            "cat <<E; x=$((1))\nE",
        ] {
            assert!(parse(text).is_ok(), "{text}");
        }
    }
}
