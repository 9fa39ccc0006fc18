//! Credentials in texts, and how they are taken out of what is kept and told.
//!
//! [`Redactor`] knows the forms of common credentials and those that the settings add. Knows nothing of calls.

use std::{borrow::Cow, fmt, ops::Deref, sync::Arc};

use percent_encoding::percent_decode_str;
use regex::{Captures, Regex, RegexSet};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// What stands before a credential: nothing, or what is no part of a word; also where the text is JSON or a URL that nobody
/// has decoded.
const EDGE: &str = r"(?:^|[^A-Za-z0-9]|\\[nrtbf]|\\u[0-9A-Fa-f]{4}|%[0-9A-Fa-f]{2})";

/// The form of a credential.
struct Form {
    name: &'static str,
    /// An expression, of which the first group is the credential, or all of it where there is none. `EDGE` is put in for
    /// `<`.
    source: &'static str,
    /// Whether what looks like one is one.
    is_one: fn(&str) -> bool,
}

/// The forms that the issuers document, mostly for secret scanners.
const KNOWN: [Form; 15] = [
    form(
        "private_key",
        concat!(
            r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----(?:",
            r"(?:[\sA-Za-z0-9+/=:,-]|\\[nrt])*?-----END [A-Z0-9 ]*PRIVATE KEY-----",
            r"|(?:[ \t]*(?:[\r\n]|\\[nr]))+(?:[A-Za-z0-9+/=]|\s|\\[nrt])*)"
        ),
    ),
    form("jwt", r"<(eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*)"),
    Form { name: "api_key", source: r"<(sk-[A-Za-z0-9_-]{10,})", is_one: is_no_word },
    form("aws_access_key", r"(?:^|[^A-Z0-9]|%[0-9A-F]{2})((?:AKIA|ASIA)[A-Z0-9]{16})"),
    form("aws_secret_key", r#"(?i)aws_?secret_?(?:access_?)?key["'\\]*\s*[:=]\s*["'\\]*([A-Za-z0-9/+=]{40})"#),
    form("google_key", r"<(AIza[A-Za-z0-9_-]{35})"),
    form("google_token", r"<(ya29\.[A-Za-z0-9_-]{20,})"),
    form("github_token", r"<(gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,})"),
    form("gitlab_token", r"<(glpat-[A-Za-z0-9_-]{20,})"),
    form("slack_token", r"<(xox[abeoprs]-[A-Za-z0-9-]{10,})"),
    form("stripe_key", r"<([rs]k_(?:live|test)_[A-Za-z0-9]{16,})"),
    form("npm_token", r"<(npm_[A-Za-z0-9]{36})"),
    form("hugging_face_token", r"<(hf_[A-Za-z0-9]{30,})"),
    Form { name: "bearer", source: r"(?i)<bearer(?:\s|%20|\+|\\[nrt])+([A-Za-z0-9._~+/=-]{20,})", is_one: is_no_word },
    Form { name: "url_password", source: r"<[a-z][a-z0-9+.-]*://[^\s/:@]*:([^\s/@]{3,})@", is_one: is_no_variable },
];

const fn form(name: &'static str, source: &'static str) -> Form {
    Form { name, source, is_one: |_| true }
}

/// Words with hyphens between them have neither digits nor capitals, and none of them is long.
fn is_no_word(text: &str) -> bool {
    let is_random = |sign: char| sign.is_ascii_digit() || sign.is_ascii_uppercase();
    text.contains(is_random) || text.split(|sign: char| !sign.is_ascii_alphanumeric()).any(|word| word.len() >= 20)
}

fn is_no_variable(text: &str) -> bool {
    !text.starts_with(['$', '{', '<', '*', '%'])
}

/// What is shorter is taken for a word, in bytes.
const SHORTEST: usize = 8;
/// So many times JSON may stand in a string of JSON.
const DEEPEST: usize = 8;
/// Stands for a credential of the call's own while others are looked for, so that it is not taken for one.
const TAKEN: &str = "\u{f8ff}";

/// Takes credentials out of texts.
pub struct Redactor {
    names: Vec<String>,
    expressions: Vec<Regex>,
    is_one: Vec<fn(&str) -> bool>,
    any: RegexSet,
    /// In what is shorter nothing can stand, in bytes.
    shortest: usize,
}

/// The credentials of one call, whatever their form. Never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets(Arc<Vec<String>>);

impl Secrets {
    /// One more of them.
    pub fn add(&mut self, secret: &str) {
        Arc::make_mut(&mut self.0).push(secret.to_owned());
    }
}

impl Deref for Secrets {
    type Target = [String];

    fn deref(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secrets]")
    }
}

impl Redactor {
    /// What is known, and what `own` adds: a name and an expression of each.
    pub fn new<'a>(own: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, regex::Error> {
        let known = KNOWN.iter().map(|form| (form.name.to_owned(), form.source.replace('<', EDGE), form.is_one));
        let always: fn(&str) -> bool = |_| true;
        let own = own.into_iter().map(|(name, source)| (name.to_owned(), source.to_owned(), always));
        let mut redactor = Self {
            names: Vec::new(),
            expressions: Vec::new(),
            is_one: Vec::new(),
            any: RegexSet::empty(),
            shortest: SHORTEST,
        };
        let mut sources = Vec::new();
        for (name, source, is_one) in known.chain(own) {
            redactor.names.push(name);
            redactor.expressions.push(Regex::new(&source)?);
            let least = regex_syntax::parse(&source).ok().and_then(|read| read.properties().minimum_len());
            redactor.shortest = redactor.shortest.min(least.unwrap_or_default());
            redactor.is_one.push(is_one);
            sources.push(source);
        }
        Ok(Self { any: RegexSet::new(sources)?, ..redactor })
    }

    /// The text, in which `[redacted:NAME]` stands for each credential of a known form.
    pub fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.without(text, &[])
    }

    /// The same, in which `secrets` are taken out as well.
    pub fn without<'t>(&self, text: &'t str, secrets: &[String]) -> Cow<'t, str> {
        self.within(text, secrets, DEEPEST)
    }

    /// Takes credentials out of every text within a value, keys included: of known forms, and `secrets` themselves.
    /// Whether there were any.
    pub fn value(&self, value: &mut Value, secrets: &[String]) -> bool {
        self.clean(value, secrets, DEEPEST)
    }

    /// Whether this is JSON of at most so many levels in which there is no credential. It is `false` as well where that cannot
    /// be said without reading it otherwise.
    pub fn is_clean(&self, json: &[u8], secrets: &[String], levels: usize) -> bool {
        let mut reader = serde_json::Deserializer::from_slice(json);
        let looking = Looking { redactor: self, secrets, levels };
        looking.deserialize(&mut reader).and_then(|()| reader.end()).is_ok()
    }

    fn clean(&self, value: &mut Value, secrets: &[String], depth: usize) -> bool {
        match value {
            Value::String(text) => match self.within(text, secrets, depth) {
                Cow::Borrowed(_) => false,
                Cow::Owned(without) => {
                    *text = without;
                    true
                }
            },
            Value::Array(items) => items.iter_mut().fold(false, |any, item| self.clean(item, secrets, depth) | any),
            Value::Object(fields) => {
                let mut any = fields.values_mut().fold(false, |any, field| self.clean(field, secrets, depth) | any);
                if fields.keys().any(|key| matches!(self.within(key, secrets, depth), Cow::Owned(_))) {
                    any = true;
                    let taken = std::mem::take(fields).into_iter();
                    *fields =
                        taken.map(|(key, value)| (self.within(&key, secrets, depth).into_owned(), value)).collect();
                }
                any
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => false,
        }
    }

    /// The text without credentials, also where it is JSON in which they are written otherwise.
    fn within<'t>(&self, text: &'t str, secrets: &[String], depth: usize) -> Cow<'t, str> {
        // However it is written: what is read of it is never longer.
        if text.len() < self.shortest {
            return Cow::Borrowed(text);
        }
        let is_escaped = text.contains('\\');
        if is_escaped
            && depth > 0
            && text.trim_start().starts_with(['{', '[', '"'])
            && let Ok(mut value) = serde_json::from_str::<Value>(text)
        {
            let any = self.clean(&mut value, secrets, depth - 1);
            return if any { Cow::Owned(value.to_string()) } else { Cow::Borrowed(text) };
        }
        let without = self.plain(text, secrets);
        if is_escaped {
            let decoded = unescaped(&without);
            // Where it cannot be said what is to be taken out, all is.
            if decoded != *without && matches!(self.plain(&decoded, secrets), Cow::Owned(_)) {
                return Cow::Owned("[redacted:unreadable]".to_owned());
            }
        }
        if without.contains('%') {
            let decoded = percent_decode_str(&without).decode_utf8_lossy();
            if let Cow::Owned(clean) = self.plain(&decoded, secrets) {
                return Cow::Owned(clean);
            }
        }
        without
    }

    fn plain<'t>(&self, text: &'t str, secrets: &[String]) -> Cow<'t, str> {
        let mut own: Vec<&String> =
            secrets.iter().filter(|secret| secret.len() >= SHORTEST && text.contains(secret.as_str())).collect();
        if own.is_empty() {
            return self.known(text);
        }
        // A longer one may hold a shorter one.
        own.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        let text = own.into_iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), TAKEN));
        Cow::Owned(self.known(&text).replace(TAKEN, "[redacted:credential]"))
    }

    fn known<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut text = Cow::Borrowed(text);
        // Which ones there are takes longer to say than that there is none.
        if !self.any.is_match(&text) {
            return text;
        }
        let found = self.any.matches(&text);
        for number in &found {
            let (Some(name), Some(expression), Some(is_one)) =
                (self.names.get(number), self.expressions.get(number), self.is_one.get(number))
            else {
                continue;
            };
            if let Some(without) = replace(&text, name, expression, *is_one) {
                text = Cow::Owned(without);
            }
        }
        text
    }
}

/// Looks at every text of a JSON value, keys included, as it is read. Ends with an error at the first credential.
#[derive(Clone, Copy)]
struct Looking<'r> {
    redactor: &'r Redactor,
    secrets: &'r [String],
    /// Levels that it may still have.
    levels: usize,
}

impl Looking<'_> {
    fn below<E: Error>(self) -> Result<Self, E> {
        let levels = self.levels.checked_sub(1).ok_or_else(|| E::custom("too many levels"))?;
        Ok(Self { levels, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Looking<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Looking<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without credentials")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        match self.redactor.within(text, self.secrets, DEEPEST) {
            Cow::Borrowed(_) => Ok(()),
            Cow::Owned(_) => Err(E::custom("a credential")),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let below = self.below()?;
        while items.next_element_seed(below)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        let below = self.below()?;
        while fields.next_key_seed(below)?.is_some() {
            fields.next_value_seed(below)?;
        }
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
}

/// The text with `[redacted:NAME]` in it. `None`: nothing was found.
fn replace(text: &str, name: &str, expression: &Regex, is_one: fn(&str) -> bool) -> Option<String> {
    let mut out = String::new();
    let mut end = 0;
    let credential = |captures: Captures<'_>| captures.get(1).or_else(|| captures.get(0)).map(|found| found.range());
    for found in expression.captures_iter(text).filter_map(credential) {
        if !text.get(found.clone()).is_some_and(is_one) {
            continue;
        }
        out.push_str(text.get(end..found.start).unwrap_or_default());
        out.push_str("[redacted:");
        out.push_str(name);
        out.push(']');
        end = found.end;
    }
    (end > 0).then(|| out + text.get(end..).unwrap_or_default())
}

/// The text with `\\uXXXX` of ASCII as what it means.
fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("\\u") {
        let (before, escape) = rest.split_at(at);
        out.push_str(before);
        let sign = escape.get(2..6).and_then(|digits| u8::from_str_radix(digits, 16).ok()).filter(u8::is_ascii_graphic);
        if let Some(sign) = sign {
            out.push(char::from(sign));
            rest = escape.get(6..).unwrap_or_default();
        } else {
            out.push_str("\\u");
            rest = escape.get(2..).unwrap_or_default();
        }
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn credentials_are_taken_out_and_nothing_else() {
        let redactor = Redactor::new([("ticket", r"TICKET-\d+")]).unwrap();
        let long = "aA1".repeat(14);
        let plain = |text: &str| (text.to_owned(), text.to_owned());
        let becomes = |text: &str, redacted: &str| (text.replace("LONG", &long), redacted.to_owned());
        for (text, redacted) in [
            plain("nothing here"),
            plain("sk-short task-list ask-me-anything-about-it risk-assessment-of-everything"),
            plain(
                "https://cdn.x/sk-loading-spinner-large.css sk-fading-circle-container bearer responsibilities-are-heavy",
            ),
            plain("postgres://user:${PASSWORD}@host https://x.org:8080/a@b"),
            plain("A file begins with -----BEGIN PRIVATE KEY----- and ends otherwise. All of this stays."),
            becomes("key=sk-ant-api03-LONG, next", "key=[redacted:api_key], next"),
            becomes("sk-live-ABCDEF0123 sk-live-ABCDEF0124", "[redacted:api_key] [redacted:api_key]"),
            becomes("ghp_LONG and AKIAABCDEFGHIJKLMNOP", "[redacted:github_token] and [redacted:aws_access_key]"),
            becomes("Authorization: Bearer LONG", "Authorization: Bearer [redacted:bearer]"),
            becomes("/v1/models/Bearer%20LONG?sk-ant-LONG", "/v1/models/Bearer%20[redacted:bearer]?[redacted:api_key]"),
            becomes(
                "user_x__session_sk-ant-LONG claude-xAKIAABCDEFGHIJKLMNOP",
                "user_x__session_[redacted:api_key] claude-x[redacted:aws_access_key]",
            ),
            becomes("/v1/a%20b", "/v1/a%20b"),
            becomes(
                "/v1/-----BEGIN%20PRIVATE%20KEY-----%0AMIIE%0A-----END%20PRIVATE%20KEY-----/x%20y",
                "/v1/[redacted:private_key]/x y",
            ),
            becomes("/v1/%73k-ant-LONG", "/v1/[redacted:api_key]"),
            becomes("postgres://me:hunter22@db/x", "postgres://me:[redacted:url_password]@db/x"),
            becomes(r"x\nsk-ant-LONG and \tghp_LONG", r"x\n[redacted:api_key] and \t[redacted:github_token]"),
            becomes(
                r#"{"command":"KEYS:\nAKIAABCDEFGHIJKLMNOP"}"#,
                r#"{"command":"KEYS:\n[redacted:aws_access_key]"}"#,
            ),
            becomes(r#"{"a":"{\"b\":\"\\u0073k-ant-LONG\"}"}"#, r#"{"a":"{\"b\":\"[redacted:api_key]\"}"}"#),
            becomes(r"cut {\u0073k-ant-LONG", "[redacted:unreadable]"),
            becomes(r#"{"plain":"a \n b"}"#, r#"{"plain":"a \n b"}"#),
            becomes(
                r"-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY-----\n",
                r"[redacted:private_key]\n",
            ),
            becomes("-----BEGIN PRIVATE KEY-----\nMII", "[redacted:private_key]"),
            becomes("TICKET-1 TICKET-x", "[redacted:ticket] TICKET-x"),
            becomes("eyJhbGciOiJI.eyJzdWIiOiIx.LONG é", "[redacted:jwt] é"),
        ] {
            assert_eq!(redactor.text(&text), redacted, "{text}");
        }
        let mut value = json!({ "a": ["x", format!("sk-{long}")], format!("sk-{long}"): 1, "n": null });
        assert!(redactor.value(&mut value, &[]));
        assert_eq!(value, json!({ "a": ["x", "[redacted:api_key]"], "[redacted:api_key]": 1, "n": null }));
        assert!(!redactor.value(&mut value, &["short".to_owned()]));
        let mut value = json!(["the hunter22 of a call"]);
        assert!(redactor.value(&mut value, &["hunter22".to_owned()]));
        assert_eq!(value, json!(["the [redacted:credential] of a call"]));
        // A credential that is a word of what stands in its place.
        for secret in ["credential", "redacted", "[redacted:credential]"] {
            let mut value = json!([format!("my {secret}")]);
            assert!(redactor.value(&mut value, &[secret.to_owned(), "credential".to_owned()]));
            assert_eq!(value, json!(["my [redacted:credential]"]));
        }
        assert!(Redactor::new([("bad", "(")]).is_err());
    }

    #[test]
    fn what_is_clean_is_what_nothing_is_taken_out_of() {
        let redactor = Redactor::new([("pin", r"\bPIN\d")]).unwrap();
        let secrets = ["hunter22".to_owned()];
        let deep = format!("{}1{}", "[".repeat(9), "]".repeat(9));
        for (json, is_clean) in [
            (r#"{"a":["x",1,-1,1.5,true,null,"PIN"],"b":{}}"#, true),
            (r#""a \\u0073 b 100%""#, true),
            (r#"{"a":["x PIN7"]}"#, false),
            (r#"{"PIN7":1}"#, false),
            (r#"{"a":"PIN7","a":1}"#, false),
            (r#"["my hunter22"]"#, false),
            (r#"["my \u0068unter22"]"#, false),
            (r#"["{\"a\":\"\\u0050IN7\"}"]"#, false),
            (r#"["%50IN7 %"]"#, false),
            ("[1] 2", false),
            ("no JSON", false),
            (r#"["\ud83d"]"#, false),
            ("[1e400]", false),
            (&deep[1..18], true),
            (&deep, false),
        ] {
            assert_eq!(redactor.is_clean(json.as_bytes(), &secrets, 8), is_clean, "{json}");
            let value = serde_json::from_str::<Value>(json).ok();
            let found = value.map(|mut value| redactor.value(&mut value, &secrets));
            assert!(!is_clean || found == Some(false), "{json}");
        }
    }
}
