//! Carries the case of one word over to another.

/// `to` in the case of `from`: all upper, all lower, Title, or letter by letter; what is longer stays as written.
pub(super) fn carry_over(from: &str, to: &str) -> String {
    let cased: Vec<char> = from.chars().filter(|char| is_cased(*char)).collect();
    let Some((first, rest)) = cased.split_first() else { return to.to_owned() };
    if cased.iter().all(|char| char.is_uppercase()) {
        return to.to_uppercase();
    }
    if cased.iter().all(|char| char.is_lowercase()) {
        return to.to_lowercase();
    }
    if first.is_uppercase() && rest.iter().all(|char| char.is_lowercase()) {
        let mut letters = to.chars();
        return letters.next().map_or(String::new(), |first| first.to_uppercase().chain(lower(letters)).collect());
    }
    let mut like = from.chars();
    to.chars().flat_map(|char| in_case_of(like.next(), char)).collect()
}

fn is_cased(char: char) -> bool {
    char.is_uppercase() || char.is_lowercase()
}

fn lower(chars: impl Iterator<Item = char>) -> impl Iterator<Item = char> {
    chars.flat_map(char::to_lowercase)
}

fn in_case_of(like: Option<char>, char: char) -> Vec<char> {
    match like {
        Some(like) if like.is_uppercase() => char.to_uppercase().collect(),
        Some(like) if like.is_lowercase() => char.to_lowercase().collect(),
        Some(_) | None => vec![char],
    }
}

#[cfg(test)]
mod tests {
    use super::carry_over;

    #[test]
    fn carries_the_case_over() {
        assert_eq!(carry_over("HELLO", "goodbye"), "GOODBYE");
        assert_eq!(carry_over("hello", "GoodBye"), "goodbye");
        assert_eq!(carry_over("Hello", "goodBYE"), "Goodbye");
        assert_eq!(carry_over("hELlo", "goodbye"), "gOOdbye");
        assert_eq!(carry_over("hELlo", "ABCDEFg"), "aBCdeFg");
        assert_eq!(carry_over("123", "Abc"), "Abc");
        assert_eq!(carry_over("", "Abc"), "Abc");
    }
}
