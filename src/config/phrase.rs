//! The sentences of problems: how a value, a type or a choice is named to a person.

use jsonschema::error::ValidationErrorKind as Kind;
use serde_json::Value;

use super::report::key;

/// The option that `word` was probably meant to be.
pub(super) fn closest<'o>(word: &str, options: impl IntoIterator<Item = &'o str>) -> Option<&'o str> {
    let (word, mut best) = (word.to_lowercase(), None);
    for option in options {
        let near = strsim::jaro_winkler(&word, option);
        // Below this, suggestions for words of our formats begin to be wrong more often than right.
        if near > 0.82 && best.is_none_or(|(_, nearest)| near > nearest) {
            best = Some((option, near));
        }
    }
    best.map(|(option, _)| option)
}

/// `a, b or c`.
pub(super) fn or_list(items: impl Iterator<Item = String>) -> String {
    let mut items: Vec<String> = items.collect();
    let last = items.pop().unwrap_or_default();
    if items.is_empty() { last } else { format!("{} or {last}", items.join(", ")) }
}

/// The key at `pointer` in back-quotes, or `the document`.
pub(super) fn name_of(pointer: &str) -> String {
    if pointer.is_empty() { "the document".to_owned() } else { format!("`{}`", key(pointer)) }
}

/// Up to the first full stop.
pub(super) fn first_sentence(text: &str) -> String {
    let text = text.replace('\n', " ");
    let end = text.find(". ").unwrap_or(text.len());
    text.get(..end).unwrap_or_default().trim_end_matches('.').to_owned()
}

/// A JSON value as a word of a sentence.
pub(super) fn literal(value: &Value) -> String {
    match value {
        Value::String(text) => format!("`{text}`"),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => format!("`{value}`"),
    }
}

/// What a schema wants, as a noun.
pub(super) fn describe(node: &Value) -> String {
    if let Some(words) = node.get("enum").and_then(Value::as_array) {
        return or_list(words.iter().map(literal));
    }
    if let Some(word) = node.get("const") {
        return literal(word);
    }
    match node.get("format").and_then(Value::as_str) {
        Some("luthien-duration") => return "a duration as `90s`, `5m` or `1h30m`".to_owned(),
        Some("luthien-size") => return "a size as `512KiB` or `32MiB`".to_owned(),
        Some(_) | None => {}
    }
    if let Some([only]) = node.get("required").and_then(Value::as_array).map(Vec::as_slice) {
        return format!("`{{ {}: … }}`", only.as_str().unwrap_or_default());
    }
    or_list(types(node).iter().map(|name| noun(name).to_owned()))
}

/// Message and remedy for a value of the wrong type; `forms` are the schemas that it may fit.
pub(super) fn wrong_type(name: &str, instance: &Value, forms: &[&Value]) -> (String, String) {
    let wanted = or_list(forms.iter().map(|form| describe(form)).filter(|form| !form.is_empty()));
    if instance.is_null() {
        return (format!("{name} has no value"), format!("write {wanted}, or remove the key"));
    }
    let message = format!("{name} must be {wanted}, not {}", noun_of(instance));
    let remedy = match (forms, instance) {
        ([form], Value::Number(number)) if form.get("format").and_then(Value::as_str) == Some("luthien-duration") => {
            format!("add the unit, as `{number}s` or `{number}m`")
        }
        ([form], Value::Number(number)) if form.get("format").and_then(Value::as_str) == Some("luthien-size") => {
            format!("add the unit, as `{number}B` or `{number}MiB`")
        }
        ([form], Value::Number(_) | Value::Bool(_)) if types(form) == ["string"] => {
            "put it in quotes, so that YAML takes it for text".to_owned()
        }
        ([form], _) if types(form) == ["array"] => "write it as a list: `[…]`, or one `- …` a line".to_owned(),
        _ => format!("write {wanted}"),
    };
    (message, remedy)
}

/// Message and remedy for a text that is not in its format.
pub(super) fn format(name: &str, instance: &Value, format: &str) -> (String, String) {
    match format {
        "luthien-duration" => (
            format!("{name} is not a duration"),
            "write a number above zero with its unit, as 90s, 5m or 1h30m".to_owned(),
        ),
        "luthien-size" => {
            (format!("{name} is not a size"), "write a number above zero with its unit, as 512KiB or 32MiB".to_owned())
        }
        other => (format!("{name} is {}, but no `{other}`", noun_of(instance)), format!("write a `{other}`")),
    }
}

/// Message and remedy for a bound of a number, a text or a list.
#[expect(clippy::wildcard_enum_match_arm, reason = "keywords that our schemas do not use share one sentence")]
pub(super) fn bound(name: &str, instance: &Value, kind: &Kind) -> (String, String) {
    match kind {
        Kind::Minimum { limit } => (format!("{name} is too small"), format!("write {limit} or more")),
        Kind::Maximum { limit } => (format!("{name} is too large"), format!("write {limit} or less")),
        Kind::ExclusiveMinimum { limit } => (format!("{name} is too small"), format!("write more than {limit}")),
        Kind::ExclusiveMaximum { limit } => (format!("{name} is too large"), format!("write less than {limit}")),
        Kind::MinItems { limit: 1 } => (format!("{name} is an empty list"), "write at least one entry".to_owned()),
        Kind::MinItems { limit } => (format!("{name} has too few entries"), format!("write at least {limit}")),
        Kind::MaxItems { limit } => (format!("{name} has too many entries"), format!("write at most {limit}")),
        Kind::MinLength { limit: 1 } => (format!("{name} is empty"), "write a text".to_owned()),
        Kind::MinLength { limit } => (format!("{name} is too short"), format!("write at least {limit} characters")),
        Kind::MaxLength { limit } => (format!("{name} is too long"), format!("write at most {limit} characters")),
        Kind::MinProperties { limit } => (format!("{name} has too few keys"), format!("write at least {limit}")),
        Kind::MaxProperties { limit } => (format!("{name} has too many keys"), format!("write at most {limit}")),
        Kind::UniqueItems => (format!("{name} has the same entry twice"), "remove one of the two".to_owned()),
        other => (
            format!("{name}, {}, does not fit the schema's `{}`", noun_of(instance), other.keyword()),
            "see the JSON Schema in config/schema".to_owned(),
        ),
    }
}

/// Whether `form` wants a value of the type of `instance`.
pub(super) fn has_type(form: &Value, instance: &Value) -> bool {
    types(form).iter().any(|name| match *name {
        "string" => instance.is_string(),
        "array" => instance.is_array(),
        "object" => instance.is_object(),
        "boolean" => instance.is_boolean(),
        "integer" => instance.is_i64() || instance.is_u64(),
        "number" => instance.is_number(),
        _ => instance.is_null(),
    })
}

fn types(node: &Value) -> Vec<&str> {
    match node.get("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => Vec::new(),
    }
}

fn noun(name: &str) -> &'static str {
    match name {
        "string" => "text",
        "array" => "a list",
        "object" => "a mapping",
        "boolean" => "`true` or `false`",
        "integer" => "a whole number",
        "number" => "a number",
        _ => "nothing",
    }
}

fn noun_of(instance: &Value) -> &'static str {
    match instance {
        Value::Null => "nothing",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggestions_are_near_or_none() {
        let keys = ["listen", "admin", "upstreams", "timeouts", "limits", "first_byte"];
        for (word, near) in [
            ("lisen", Some("listen")),
            ("upstream", Some("upstreams")),
            ("timeout", Some("timeouts")),
            ("firstbyte", Some("first_byte")),
            ("Listen", Some("listen")),
            ("database", None),
            ("x", None),
        ] {
            assert_eq!(closest(word, keys), near, "{word}");
        }
    }
}
