//! Validates a document against a JSON Schema and says what is wrong in plain sentences, everything at once.

use std::collections::BTreeSet;

use jsonschema::{ValidationError, error::ValidationErrorKind as Kind};
use serde_json::{Map, Value, json};

use super::{
    document::{Document, Part},
    mask,
    phrase::{self, closest, name_of, or_list},
    report::{Problem, key},
    units::{Duration, Size},
    yaml::child,
};

/// Every way in which what stands at `pointer` does not fit `schema`.
pub fn validate(schema: &Value, document: &Document, pointer: &str) -> Vec<Problem> {
    let mut check = Check { document, definitions: schema.get("$defs").cloned(), problems: Vec::new() };
    let nothing = Value::Object(Map::new());
    check.node(schema, document.get(pointer).unwrap_or(&nothing), pointer);
    check.problems
}

struct Check<'d> {
    document: &'d Document,
    definitions: Option<Value>,
    problems: Vec<Problem>,
}

impl Check<'_> {
    /// Checks one value against one part of the schema.
    fn node(&mut self, node: &Value, instance: &Value, pointer: &str) {
        let mut schema = node.clone();
        if let (Value::Object(fields), Some(definitions)) = (&mut schema, &self.definitions) {
            fields.insert("$defs".to_owned(), definitions.clone());
        }
        let validator = jsonschema::options()
            .with_draft(jsonschema::Draft::Draft202012)
            .should_validate_formats(true)
            .with_format("luthien-duration", |text: &str| text.parse::<Duration>().is_ok())
            .with_format("luthien-size", |text: &str| text.parse::<Size>().is_ok())
            .build(&schema);
        match validator {
            Ok(validator) => {
                for error in validator.iter_errors(instance) {
                    self.error(&schema, instance, pointer, &error);
                }
            }
            Err(error) => {
                let message = format!("the schema that checks this is itself wrong: {error}");
                self.add(pointer, Part::Value, message, "report this as a defect of Luthien");
            }
        }
    }

    fn error(&mut self, schema: &Value, whole: &Value, pointer: &str, error: &ValidationError<'_>) {
        let below = error.instance_path().as_str();
        let instance = whole.pointer(below).unwrap_or(whole);
        let at = format!("{pointer}{below}");
        let keyword = error.schema_path().as_str();
        let node = keyword.rfind('/').and_then(|end| schema.pointer(keyword.get(..end)?)).unwrap_or(&Value::Null);
        let name = name_of(&at);
        #[expect(clippy::wildcard_enum_match_arm, reason = "keywords that our schemas do not use share one sentence")]
        match error.kind() {
            Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
                let known = keys(node.get("properties"));
                for unknown in unexpected {
                    self.unknown_key(&at, unknown, &known);
                }
            }
            // What `additionalProperties: false` without any properties says.
            Kind::FalseSchema if let Some(fields) = instance.as_object() => {
                for unknown in fields.keys() {
                    self.unknown_key(&at, unknown, &[]);
                }
            }
            Kind::Required { property } => {
                let missing = property.as_str().unwrap_or_default();
                let about = node.pointer(&child("/properties", missing)).map(|property| self.about(property));
                let about = about.unwrap_or_default();
                let message = if at.is_empty() {
                    format!("the key `{missing}` is missing")
                } else {
                    format!("{name} has no `{missing}`")
                };
                self.add(&at, Part::Key, message, format!("add `{missing}:`{about}"));
            }
            Kind::Type { .. } => {
                let (message, remedy) = phrase::wrong_type(&name, instance, &[node]);
                self.add(&at, Part::Value, message, remedy);
            }
            Kind::Enum { options } => {
                let options = options.as_array().map(Vec::as_slice).unwrap_or_default();
                self.choice(&at, instance, options, &[]);
            }
            Kind::Constant { expected_value } => {
                self.choice(&at, instance, std::slice::from_ref(expected_value.as_ref()), &[]);
            }
            Kind::AnyOf { .. } | Kind::OneOfNotValid { .. } | Kind::OneOfMultipleValid { .. } => {
                self.union(&at, instance, node);
            }
            Kind::Format { format } => {
                let (message, remedy) = phrase::format(&name, instance, format);
                self.add(&at, Part::Value, message, remedy);
            }
            Kind::Pattern { pattern } => {
                let remedy = node.get("x-remedy").and_then(Value::as_str);
                let remedy =
                    remedy.map_or_else(|| format!("write text that fits the pattern {pattern}"), str::to_owned);
                self.add(&at, Part::Value, format!("{name} does not have the right form"), remedy);
            }
            Kind::Minimum { limit } | Kind::Maximum { limit } if node.get("minimum") == node.get("maximum") => {
                self.add(&at, Part::Value, format!("{name} must be {limit}"), format!("write {limit}"));
            }
            kind => {
                let (message, remedy) = phrase::bound(&name, instance, kind);
                self.add(&at, Part::Value, message, remedy);
            }
        }
    }

    /// A value that may have one of several forms has none of them: says which it comes nearest to.
    fn union(&mut self, at: &str, instance: &Value, node: &Value) {
        let leaves = self.leaves(node, 0);
        let (words, forms): (Vec<Value>, Vec<Value>) = leaves.into_iter().partition(|leaf| words_of(leaf).is_some());
        let words: Vec<Value> = words.iter().filter_map(words_of).flatten().collect();
        let fitting: Vec<&Value> = forms.iter().filter(|form| phrase::has_type(form, instance)).collect();
        match (fitting.as_slice(), instance) {
            ([form], _) => self.node(form, instance, at),
            ([], Value::String(_)) if !words.is_empty() => self.choice(at, instance, &words, &forms),
            ([], _) => {
                let words = json!({ "enum": words });
                let all: Vec<&Value> = std::iter::once(&words).chain(&forms).collect();
                let (message, remedy) = phrase::wrong_type(&name_of(at), instance, &all);
                self.add(at, Part::Value, message, remedy);
            }
            (several, Value::Object(fields)) => self.tagged(at, fields, instance, several),
            (several, _) => {
                let (message, remedy) = phrase::wrong_type(&name_of(at), instance, several);
                self.add(at, Part::Value, message, remedy);
            }
        }
    }

    /// A mapping that must have exactly one of several keys, as `{ env: … }` or `{ file: … }`.
    fn tagged(&mut self, at: &str, fields: &Map<String, Value>, instance: &Value, forms: &[&Value]) {
        let known: Vec<String> = forms.iter().flat_map(|form| keys(form.get("properties"))).collect();
        let known: Vec<String> = known.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
        let present: Vec<&String> = fields.keys().filter(|name| known.contains(name)).collect();
        let name = name_of(at);
        if let [only] = present.as_slice()
            && let Some(form) = forms.iter().find(|form| form.pointer(&child("/properties", only)).is_some())
        {
            self.node(form, instance, at);
            return;
        }
        for unknown in fields.keys().filter(|name| !known.contains(name)) {
            self.unknown_key(at, unknown, &known);
        }
        let one_of = or_list(known.iter().map(|key| format!("`{key}`")));
        if present.len() > 1 {
            let message = format!("{name} has more than one of {one_of}");
            self.add(at, Part::Key, message, "keep exactly one of them");
        } else if fields.is_empty() {
            self.add(at, Part::Key, format!("{name} is empty"), format!("write one of {one_of} in it"));
        }
    }

    /// A text that is none of the words allowed.
    fn choice(&mut self, at: &str, instance: &Value, options: &[Value], others: &[Value]) {
        let words: Vec<&str> = options.iter().filter_map(Value::as_str).collect();
        let mut forms: Vec<String> = options.iter().map(phrase::literal).collect();
        forms.extend(others.iter().map(phrase::describe));
        let message = format!("{} must be {}", name_of(at), or_list(forms.iter().cloned()));
        let remedy = match instance.as_str().and_then(|text| closest(text, words.iter().copied())) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("write {}", or_list(forms.into_iter())),
        };
        self.add(at, Part::Value, message, remedy);
    }

    fn unknown_key(&mut self, at: &str, unknown: &str, known: &[String]) {
        if mask::is_secret_key(&child(at, unknown)) {
            let message = format!("{} has an unknown key, which may be a secret", name_of(at));
            let remedy = format!("remove it, and write one of {}", or_list(known.iter().map(|key| format!("`{key}`"))));
            self.add(at, Part::Key, message, remedy);
            return;
        }
        let message = if at.is_empty() {
            format!("unknown key `{unknown}`")
        } else {
            format!("unknown key `{unknown}` in `{}`", key(at))
        };
        let remedy = match closest(unknown, known.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None if known.is_empty() => "remove it: no keys belong here".to_owned(),
            None => format!("remove it, or write one of {}", or_list(known.iter().map(|key| format!("`{key}`")))),
        };
        self.add(&child(at, unknown), Part::Key, message, remedy);
    }

    /// The forms that a schema allows, through `$ref`, `anyOf` and `oneOf`.
    fn leaves(&self, node: &Value, depth: usize) -> Vec<Value> {
        let node = self.resolve(node);
        let branches = node.get("anyOf").or_else(|| node.get("oneOf")).and_then(Value::as_array);
        match branches {
            // Our schemas nest a handful deep; the bound is for one that refers to itself.
            Some(branches) if depth < 8 => branches.iter().flat_map(|branch| self.leaves(branch, depth + 1)).collect(),
            _ => vec![node],
        }
    }

    fn resolve(&self, node: &Value) -> Value {
        let name = node.get("$ref").and_then(Value::as_str).and_then(|to| to.strip_prefix("#/$defs"));
        let found = name.and_then(|name| self.definitions.as_ref()?.pointer(name));
        found.unwrap_or(node).clone()
    }

    /// What a property is for, in brackets.
    fn about(&self, property: &Value) -> String {
        let target = self.resolve(property);
        let text = property.get("description").or_else(|| target.get("description")).and_then(Value::as_str);
        text.map_or_else(String::new, |text| format!(" ({})", phrase::first_sentence(text)))
    }

    fn add(&mut self, at: &str, part: Part, message: impl Into<String>, remedy: impl Into<String>) {
        self.problems.push(self.document.problem(at, part, message, remedy));
    }
}

/// The names of a schema's `properties`.
fn keys(properties: Option<&Value>) -> Vec<String> {
    properties.and_then(Value::as_object).map(|fields| fields.keys().cloned().collect()).unwrap_or_default()
}

/// The words that a leaf allows, when it allows only words.
fn words_of(leaf: &Value) -> Option<Vec<Value>> {
    let one = leaf.get("const").map(|word| vec![word.clone()]);
    one.or_else(|| leaf.get("enum").and_then(Value::as_array).cloned())
}
