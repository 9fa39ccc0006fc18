//! Which names a `PromQL`, `LogQL` or `TraceQL` expression uses. No parsers: Prometheus itself says whether `PromQL` is right.

use std::collections::BTreeSet;

/// The metrics and the labels that a `PromQL` expression names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Names {
    pub(super) metrics: BTreeSet<String>,
    pub(super) labels: BTreeSet<String>,
}

/// Names with the values that are asked for.
type Conditions = Vec<(String, String)>;

/// Words that are followed by labels in parentheses.
const GROUPING: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
/// Words between expressions.
const WORDS: [&str; 6] = ["and", "or", "unless", "offset", "bool", "atan2"];

/// A word, a string, or one other character.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    Word(String),
    Text(String),
    Sign(char),
}

/// The words, strings and signs of an expression. Dots belong to words, as `TraceQL` has it.
pub(super) fn tokens(expression: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = expression.chars().peekable();
    while let Some(next) = rest.next() {
        if next == '"' {
            let mut text = String::new();
            while let Some(inner) = rest.next().filter(|inner| *inner != '"') {
                text.push(inner);
                if inner == '\\' {
                    text.extend(rest.next());
                }
            }
            tokens.push(Token::Text(text));
        } else if next.is_alphanumeric() || next == '_' {
            let mut word = String::from(next);
            while let Some(inner) = rest.next_if(|inner| inner.is_alphanumeric() || "_:.".contains(*inner)) {
                word.push(inner);
            }
            tokens.push(Token::Word(word));
        } else if !next.is_whitespace() {
            tokens.push(Token::Sign(next));
        }
    }
    tokens
}

/// The names in a `PromQL` expression.
pub(super) fn promql(expression: &str) -> Names {
    let (tokens, mut names) = (tokens(expression), Names::default());
    let mut inside = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let before = at.checked_sub(1).map(|before| &tokens[before]);
        match token {
            Token::Sign(open @ ('{' | '[')) => inside.push(*open),
            Token::Sign('(') => {
                let groups = matches!(before, Some(Token::Word(word)) if GROUPING.contains(&word.as_str()));
                inside.push(if groups { 'g' } else { '(' });
            }
            Token::Sign('}' | ']' | ')') => drop(inside.pop()),
            Token::Word(word) if word.starts_with(|first: char| first.is_ascii_digit()) => {}
            Token::Word(word) => match inside.last() {
                Some('{' | 'g') => drop(names.labels.insert(word.clone())),
                Some('[') => {}
                _ if GROUPING.contains(&word.as_str()) || WORDS.contains(&word.as_str()) => {}
                _ if tokens.get(at + 1) == Some(&Token::Sign('(')) => {}
                // `sum by (le) (…)`
                _ if matches!(tokens.get(at + 1), Some(Token::Word(next)) if GROUPING.contains(&next.as_str())) => {
                    let is_aggregation = ["sum", "min", "max", "avg", "count", "topk"].contains(&word.as_str());
                    if !is_aggregation {
                        names.metrics.insert(word.clone());
                    }
                }
                _ => drop(names.metrics.insert(word.clone())),
            },
            Token::Text(_) | Token::Sign(_) => {}
        }
    }
    assert!(inside.is_empty(), "unbalanced: {expression}");
    names
}

/// The labels of the streams that a `LogQL` expression selects, and what it then filters by, each with the values.
pub(super) fn logql(expression: &str) -> (Conditions, Conditions) {
    let (selector, pipeline) = expression.split_once('}').unwrap_or_else(|| panic!("no selector: {expression}"));
    let selector = selector.strip_prefix('{').unwrap_or_else(|| panic!("no selector: {expression}"));
    let conditions = |text: &str| {
        let tokens = tokens(text);
        let condition = |at: usize| match &tokens[at..] {
            [Token::Word(name), Token::Sign('='), Token::Text(value), ..]
            | [Token::Word(name), Token::Sign('=' | '!'), Token::Sign('~' | '='), Token::Text(value), ..] => {
                Some((name.clone(), value.clone()))
            }
            _ => None,
        };
        (0..tokens.len()).filter_map(condition).collect::<Vec<_>>()
    };
    for stage in pipeline.split(" | ").map(str::trim).filter(|stage| !stage.is_empty()) {
        let is_known = ["|", "| json", "json"].contains(&stage) || conditions(stage).len() == 1;
        assert!(is_known, "`{stage}` is no stage that is known here: {expression}");
    }
    (conditions(selector), conditions(pipeline))
}

/// The names of spans and the attributes of spans that a `TraceQL` expression uses.
pub(super) fn traceql(expression: &str) -> (Vec<String>, Vec<String>) {
    const KNOWN: [&str; 4] = ["resource.service.name", "name", "duration", "select"];
    let tokens = tokens(expression);
    let count = |sign| tokens.iter().filter(|token| **token == Token::Sign(sign)).count();
    assert_eq!((count('{'), count('(')), (count('}'), count(')')), "unbalanced: {expression}");
    let (mut spans, mut attributes) = (Vec::new(), Vec::new());
    for (at, token) in tokens.iter().enumerate() {
        let Token::Word(word) = token else { continue };
        if let Some(attribute) = word.strip_prefix("span.") {
            attributes.push(attribute.to_owned());
        } else if !word.starts_with(|first: char| first.is_ascii_digit()) {
            assert!(KNOWN.contains(&word.as_str()), "`{word}` is not known here: {expression}");
            match tokens.get(at + 2) {
                Some(Token::Text(name)) if word == "name" => spans.push(name.clone()),
                Some(Token::Text(service)) if word.starts_with("resource") => assert_eq!(service, "luthien"),
                _ => {}
            }
        }
    }
    (spans, attributes)
}

#[test]
fn names_are_found() {
    let names = |metrics: &[&str], labels: &[&str]| Names {
        metrics: metrics.iter().map(ToString::to_string).collect(),
        labels: labels.iter().map(ToString::to_string).collect(),
    };
    let sum = r#"sum by (a, b) (rate(x_total{c=~"d{e}", f!="g"}[5m])) / on (h) y > 2^30 or vector(0) and z offset 1h"#;
    assert_eq!(promql(sum), names(&["x_total", "y", "z"], &["a", "b", "c", "f", "h"]));
    assert_eq!(promql("(time() - z) unless sum(w)"), names(&["z", "w"], &[]));
    let (streams, fields) = logql(r#"{service="luthien", level=~"warn|error"} | json | message="call" | x!="y""#);
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(streams, [pair("service", "luthien"), pair("level", "warn|error")]);
    assert_eq!(fields, [pair("message", "call"), pair("x", "y")]);
    let found = traceql(r#"{ resource.service.name = "luthien" && name = "n" && span.a.b > 3 } | select(span.c)"#);
    assert_eq!(found, (vec!["n".to_owned()], vec!["a.b".to_owned(), "c".to_owned()]));
}

#[test]
#[should_panic(expected = "is no stage that is known here")]
fn a_stage_of_logql_that_is_not_known_is_seen() {
    logql(r#"{service="luthien"} | jsn"#);
}

#[test]
#[should_panic(expected = "is not known here")]
fn a_word_of_traceql_that_is_not_known_is_seen() {
    traceql("{ nam = \"x\" }");
}
