//! What must not be shown: secrets that stand in a configuration by mistake.
//!
//! The formats have no key that holds a secret itself, but people paste one all the same, and the report about that
//! mistake must not copy it to a terminal or a log.

use std::{collections::HashMap, ops::Range, sync::LazyLock};

use regex::Regex;
use serde_json::Value;

use super::yaml::{Spans, child};

/// What stands in place of a secret.
pub(super) const MASK: &str = "[secret]";

/// The longest value that a report shows.
const MAX_SHOWN: usize = 60;

/// Shapes of well-known keys, the user part and the query of a URL, and values of keys whose names say that a secret follows.
static SHAPES: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    [
        r"(?:\b(?:sk|pk|rk|gsk|xai|hf|glpat|github_pat|gh[pousr])[-_][A-Za-z0-9_-]{8,})",
        r"(?:\bAKIA[A-Z0-9]{12,})",
        r"(?:\beyJ[A-Za-z0-9_-]{10,}[A-Za-z0-9_.-]*)",
        r"(?i)\bbearer +([A-Za-z0-9._~+/=-]{8,})",
        r"://([^/@\s]+)@",
        r#"://[^\s"'?#]*[?#]([^\s"']+)"#,
        r#"(?i)\b(?:value|password|secret|api[_-]?key)["']?\s*[:=]\s*["']?([^\s"'{}\[\],#]+)"#,
    ]
    .iter()
    .filter_map(|pattern| Regex::new(pattern).ok())
    .collect()
});

/// Names of keys whose value is taken for a secret wherever they stand.
static SECRET_KEY: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?i)(?:password|passwd|secret|token|api_?key|authorization)$").ok());

/// `text` with everything that looks like a secret replaced by as many asterisks, so that positions stay.
pub(super) fn text(text: &str, value: &Value, spans: &HashMap<String, Spans>) -> String {
    let mut hidden = shapes(text);
    let secrets = spans.iter().filter(|(at, _)| value.pointer(at).is_some_and(|value| is_secret(at, value)));
    hidden.extend(secrets.map(|(_, spans)| spans.value.clone()));
    let keys = spans.iter().filter(|(at, _)| is_secret_key(at) && value.pointer(at).is_some());
    hidden.extend(keys.filter_map(|(_, spans)| spans.key.clone()));
    let mut bytes = text.as_bytes().to_vec();
    for range in hidden {
        bytes.get_mut(range).into_iter().flatten().for_each(|byte| *byte = b'*');
    }
    // Every range is whole characters, so this is UTF-8 as before.
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A value as a report shows it: scalars only, cut short, no secrets.
pub(super) fn value(pointer: &str, value: &Value) -> Option<String> {
    let shown = match value {
        Value::Array(_) | Value::Object(_) => return None,
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) => return Some(value.to_string()),
    };
    if is_secret(pointer, value) {
        return Some(MASK.to_owned());
    }
    let mut shown = line(&shown);
    if shown.chars().count() > MAX_SHOWN {
        shown = shown.chars().take(MAX_SHOWN).chain(['…']).collect();
    }
    Some(shown)
}

/// The value at `pointer` with every text that looks like a secret replaced by [`MASK`].
pub(super) fn tree(pointer: &str, value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let masked = |(name, field): (&String, &Value)| (name.clone(), tree(&child(pointer, name), field));
            Value::Object(fields.iter().map(masked).collect())
        }
        Value::Array(items) => {
            Value::Array(items.iter().enumerate().map(|(at, item)| tree(&format!("{pointer}/{at}"), item)).collect())
        }
        Value::String(_) if is_secret(pointer, value) => Value::String(MASK.to_owned()),
        Value::String(text) => Value::String(line(text)),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

/// `text` with everything that looks like a secret replaced by [`MASK`].
pub(super) fn line(text: &str) -> String {
    let mut shown = text.to_owned();
    let mut ranges = shapes(text);
    ranges.sort_by_key(|range| range.start);
    for range in ranges.into_iter().rev() {
        if shown.get(range.clone()).is_some() {
            shown.replace_range(range, MASK);
        }
    }
    shown
}

/// Whether `name` looks like the name of an environment variable, and not like a secret in its place.
pub(super) fn is_variable_name(name: &str) -> bool {
    let legal = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit());
    legal && (name.len() <= 20 || !name.bytes().any(|byte| byte.is_ascii_lowercase()))
}

/// Whether an unknown key, at `pointer`, may be a secret: `credentials: { sk-… }` is a mapping to YAML.
pub(super) fn is_secret_key(pointer: &str) -> bool {
    let (around, name) = pointer.rsplit_once('/').unwrap_or_default();
    let is_word = name.len() <= 16 && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let in_credentials = is_secret(around, &Value::String(String::new()));
    !shapes(name).is_empty() || in_credentials && !is_word && name != "value_sha256"
}

/// Whether a secret may stand at `pointer`: where credentials are described, everything but the known words is taken
/// for one.
fn is_secret(pointer: &str, value: &Value) -> bool {
    let Value::String(text) = value else { return false };
    let steps: Vec<&str> = pointer.split('/').skip(1).collect();
    let in_credentials = match steps.as_slice() {
        ["upstreams", _, "credentials", ..] | ["admin", "token" | "viewer_token", ..] => true,
        ["clients", "keys", _, ..] => steps.len() == 3 || !matches!(steps.last(), Some(&("name" | "value_sha256"))),
        _ => false,
    };
    let says_secret = steps.last().is_some_and(|last| SECRET_KEY.as_ref().is_some_and(|shape| shape.is_match(last)));
    says_secret && !in_credentials
        || in_credentials
            && match steps.last() {
                Some(&"env") => !is_variable_name(text),
                Some(&"file") => false,
                _ => strsim::jaro_winkler(text, "passthrough") < 0.8,
            }
}

/// The ranges of `text` that look like secrets.
fn shapes(text: &str) -> Vec<Range<usize>> {
    let found = |shape: &Regex| -> Vec<Range<usize>> {
        let captures = shape.captures_iter(text);
        captures.filter_map(|found| found.get(1).or_else(|| found.get(0)).map(|found| found.range())).collect()
    };
    let mut ranges: Vec<Range<usize>> = SHAPES.iter().flat_map(found).collect();
    ranges.sort_by_key(|range| (range.start, range.end));
    // One that lies in another would be replaced twice.
    let mut end = 0;
    ranges.retain(|range| {
        let apart = range.start >= end;
        end = end.max(range.end);
        apart
    });
    ranges
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pasted_keys_are_not_shown() {
        for (pointer, text, shown) in [
            ("/listen", "127.0.0.1:80", "127.0.0.1:80"),
            ("/upstreams/0/url", "https://me:hunter2@host/v1", "https://[secret]@host/v1"),
            ("/upstreams/0/url", "https://host/v1?key=hunter2", "https://host/v1?[secret]"),
            ("/upstreams/0/credentials", "hunter2", MASK),
            ("/upstreams/0/credentials", "passtrough", "passtrough"),
            ("/upstreams/0/credentials/env", "OPENAI_API_KEY", "OPENAI_API_KEY"),
            ("/upstreams/0/credentials/env", "hunter2-and-more", MASK),
            ("/admin/token", "hunter2", MASK),
            ("/admin/viewer_token", "hunter2", MASK),
            ("/clients/keys/0/value", "hunter2", MASK),
            ("/clients/keys/0/name", "team-a", "team-a"),
            ("/policies/0/config/x", "use sk-ant-api03-aaaaaaaa now", "use [secret] now"),
        ] {
            assert_eq!(value(pointer, &json!(text)).as_deref(), Some(shown), "{pointer} {text}");
        }
    }

    #[test]
    fn positions_stay_when_text_is_masked() {
        let source = "a: sk-0123456789\npassword: \"ü1\"\nb: c\n";
        let masked = text(source, &json!({}), &HashMap::new());
        assert_eq!(masked, "a: *************\npassword: \"***\"\nb: c\n");
        assert_eq!(masked.len(), source.len());
    }
}
