//! Credentials in texts, and how they are taken out of what is kept and told.
//!
//! [`Redactor`] knows the forms of common credentials and those that the settings add. Knows nothing of calls.

use std::borrow::Cow;

use regex::{Regex, RegexSet};
use serde_json::Value;

/// What credentials look like: a name and an expression of each. Where an expression has a group, only that is taken out.
///
/// The forms are those that the issuers document, mostly for secret scanners.
const KNOWN: [(&str, &str); 15] = [
    ("private_key", r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\z)"),
    ("jwt", r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"),
    ("api_key", r"\bsk-[A-Za-z0-9_-]{16,}"),
    ("aws_access_key", r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
    ("aws_secret_key", r#"(?i)aws_?secret_?(?:access_?)?key["'\\]*\s*[:=]\s*["'\\]*([A-Za-z0-9/+=]{40})"#),
    ("google_key", r"\bAIza[A-Za-z0-9_-]{35}"),
    ("google_token", r"\bya29\.[A-Za-z0-9_-]{20,}"),
    ("github_token", r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,})"),
    ("gitlab_token", r"\bglpat-[A-Za-z0-9_-]{20,}"),
    ("slack_token", r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}"),
    ("stripe_key", r"\b[rs]k_(?:live|test)_[A-Za-z0-9]{16,}"),
    ("npm_token", r"\bnpm_[A-Za-z0-9]{36}\b"),
    ("hugging_face_token", r"\bhf_[A-Za-z0-9]{30,}"),
    ("bearer", r"(?i)\bbearer\s+([A-Za-z0-9._~+/=-]{20,})"),
    ("url_password", r"\b[a-z][a-z0-9+.-]*://[^\s/:@]*:([^\s/@]{3,})@"),
];

/// What is shorter is taken for a word, in bytes.
const SHORTEST: usize = 8;

/// Takes credentials out of texts.
pub struct Redactor {
    names: Vec<String>,
    expressions: Vec<Regex>,
    any: RegexSet,
}

impl Redactor {
    /// What is known, and what `own` adds: a name and an expression of each.
    pub fn new<'a>(own: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, regex::Error> {
        // The edges of words in ASCII, which an automaton can find in any text.
        let known = KNOWN.into_iter().map(|(name, source)| (name, source.replace(r"\b", r"(?-u:\b)")));
        let own = own.into_iter().map(|(name, source)| (name, source.to_owned()));
        let (names, sources): (Vec<_>, Vec<_>) = known.chain(own).unzip();
        Ok(Self {
            names: names.into_iter().map(str::to_owned).collect(),
            expressions: sources.iter().map(|source| Regex::new(source)).collect::<Result<_, _>>()?,
            any: RegexSet::new(&sources)?,
        })
    }

    /// The text, in which `[redacted:NAME]` stands for each credential of a known form.
    pub fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let found = self.any.matches(text);
        if !found.matched_any() {
            return Cow::Borrowed(text);
        }
        let mut text = text.to_owned();
        for number in &found {
            let (Some(name), Some(expression)) = (self.names.get(number), self.expressions.get(number)) else {
                continue;
            };
            text = replace(&text, name, expression);
        }
        Cow::Owned(text)
    }

    /// Takes credentials out of every text within a value, keys included: of known forms, and `secrets` themselves.
    /// Whether there were any.
    pub fn value(&self, value: &mut Value, secrets: &[String]) -> bool {
        let clean = |text: &mut String| match self.without(text, secrets) {
            Cow::Borrowed(_) => false,
            Cow::Owned(without) => {
                *text = without;
                true
            }
        };
        match value {
            Value::String(text) => clean(text),
            Value::Array(items) => items.iter_mut().fold(false, |any, item| self.value(item, secrets) | any),
            Value::Object(fields) => {
                let mut any = fields.values_mut().fold(false, |any, field| self.value(field, secrets) | any);
                if fields.keys().any(|key| matches!(self.without(key, secrets), Cow::Owned(_))) {
                    any = true;
                    let taken = std::mem::take(fields).into_iter();
                    *fields = taken.map(|(key, value)| (self.without(&key, secrets).into_owned(), value)).collect();
                }
                any
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => false,
        }
    }

    fn without<'t>(&self, text: &'t str, secrets: &[String]) -> Cow<'t, str> {
        let own = |secret: &&String| secret.len() >= SHORTEST && text.contains(secret.as_str());
        match secrets.iter().find(own) {
            None => self.text(text),
            Some(secret) => {
                let text = text.replace(secret.as_str(), "[redacted:credential]");
                Cow::Owned(self.without(&text, secrets).into_owned())
            }
        }
    }
}

fn replace(text: &str, name: &str, expression: &Regex) -> String {
    let mut out = String::with_capacity(text.len());
    let mut end = 0;
    for captures in expression.captures_iter(text) {
        let Some(found) = captures.get(1).or_else(|| captures.get(0)) else { continue };
        out.push_str(text.get(end..found.start()).unwrap_or_default());
        out.push_str("[redacted:");
        out.push_str(name);
        out.push(']');
        end = found.end();
    }
    out.push_str(text.get(end..).unwrap_or_default());
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn credentials_are_taken_out_and_nothing_else() {
        let redactor = Redactor::new([("ticket", r"TICKET-\d+")]).unwrap();
        let long = "a".repeat(40);
        for (text, redacted) in [
            ("nothing here".to_owned(), "nothing here".to_owned()),
            (
                "sk-short task-list ask-me-anything-about-it".to_owned(),
                "sk-short task-list ask-me-anything-about-it".to_owned(),
            ),
            (format!("key=sk-ant-api03-{long}, next"), "key=[redacted:api_key], next".to_owned()),
            (
                format!("ghp_{long} and AKIAABCDEFGHIJKLMNOP"),
                "[redacted:github_token] and [redacted:aws_access_key]".to_owned(),
            ),
            (format!("Authorization: Bearer {long}"), "Authorization: Bearer [redacted:bearer]".to_owned()),
            ("postgres://me:hunter22@db/x".to_owned(), "postgres://me:[redacted:url_password]@db/x".to_owned()),
            (
                "-----BEGIN RSA PRIVATE KEY-----\\nMII\\n-----END RSA PRIVATE KEY-----\\n".to_owned(),
                "[redacted:private_key]\\n".to_owned(),
            ),
            ("-----BEGIN PRIVATE KEY-----\nMII".to_owned(), "[redacted:private_key]".to_owned()),
            ("TICKET-1 TICKET-x".to_owned(), "[redacted:ticket] TICKET-x".to_owned()),
            (format!("eyJhbGciOiJI.eyJzdWIiOiIx.{long} é"), "[redacted:jwt] é".to_owned()),
        ] {
            assert_eq!(redactor.text(&text), redacted);
        }
        let mut value = json!({ "a": ["x", format!("sk-{long}")], format!("sk-{long}"): 1, "n": null });
        assert!(redactor.value(&mut value, &[]));
        assert_eq!(value, json!({ "a": ["x", "[redacted:api_key]"], "[redacted:api_key]": 1, "n": null }));
        assert!(!redactor.value(&mut value, &["short".to_owned()]));
        let mut value = json!(["the hunter22 of a call"]);
        assert!(redactor.value(&mut value, &["hunter22".to_owned()]));
        assert_eq!(value, json!(["the [redacted:credential] of a call"]));
        assert!(Redactor::new([("bad", "(")]).is_err());
    }
}
