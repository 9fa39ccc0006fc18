//! Makes of a rules document what runs, or says everything that is wrong with it.

use std::{collections::HashMap, fmt::Write as _, path::Path, sync::Arc, time::Duration};

use globset::{Glob, GlobSet, GlobSetBuilder};
use http::HeaderName;
use regex::Regex;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{
    check,
    document::{Document, Part},
    environment::Environment,
    load::Draft,
    mask,
    phrase::{closest, or_list},
    reach,
    report::{Problem, Report},
    rules::{OnFault, PolicyEntry, RulesDocument},
    schema,
    settings::{Dialect, Settings, Timeouts},
    source::RulesSettings,
    units,
    yaml::child,
};
use crate::{
    policies::{
        PolicyType,
        site::{Reach, Site},
    },
    policy::{Demand, Entry, Factory, Rules, Selector, Target, When},
};

/// Keys that stand on the entry of a policy and are often looked for in its `config`.
const ON_THE_ENTRY: [&str; 5] = ["mode", "on_fault", "timeout", "match", "record"];

/// What rules refer to outside their document.
#[derive(Clone)]
pub struct Context {
    /// The names of the upstreams.
    pub upstreams: Vec<String>,
    /// Time limit of a hook whose policy has none of its own.
    pub hook: Duration,
    /// What policies can reach outside.
    pub reach: Arc<Reach>,
    /// Which calls may go on.
    pub demand: Demand,
}

/// Compiles a rules document with the policy types that exist. The report names every problem.
pub fn compile(document: &Document, context: &Context, types: &[PolicyType]) -> Result<Rules, Report> {
    compile_for(None, document, context, types)
}

/// As [`compile`], for rules that hold only for calls that come through one of `targets`.
pub fn compile_for(
    targets: Option<&[Target]>,
    document: &Document,
    context: &Context,
    types: &[PolicyType],
) -> Result<Rules, Report> {
    let problems = check::validate(&schema::of::<RulesDocument>(), document, "");
    let mut compiler = Compiler { document, context, types, problems };
    let count = document.count("/policies");
    let parts: Vec<Option<Parts<'_>>> = (0..count).map(|index| compiler.entry(&format!("/policies/{index}"))).collect();
    compiler.unique_names(count);
    let read = RulesDocument::deserialize(&document.value);
    if let (true, Err(error)) = (compiler.problems.is_empty(), &read) {
        // The schema and the types say the same, so this is not expected; it must not pass all the same.
        compiler.add("", Part::Value, error.to_string(), "correct the value");
    }
    let report = document.report(compiler.problems);
    let Some(read) = read.ok().filter(|_| report.is_empty()) else { return Err(report) };
    let entries = read.policies.into_iter().zip(parts).filter_map(|(entry, parts)| {
        let Parts { kind, factory, mut selects } = parts?;
        selects.targets = targets.map(<[Target]>::to_vec);
        let PolicyEntry { name, mode, on_fault, timeout, record, .. } = entry;
        let timeout = timeout.map(units::Duration::get).or(kind.timeout).unwrap_or(context.hook);
        let (mode, on_fault) = (mode.into(), on_fault.into());
        Some(Entry {
            name: name.into(),
            kind: kind.name,
            factory,
            selects: Arc::new(selects),
            mode,
            on_fault,
            timeout,
            record: record.map(Into::into),
        })
    });
    Ok(Rules {
        hash: hash(&document.value),
        text: document.masked().into(),
        demand: context.demand,
        release: read.release.into(),
        lossy: read.lossy.map(Into::into),
        stateful: read.stateful.into(),
        record: read.record.map(Into::into),
        entries: entries.collect(),
    })
}

/// The first 12 hexadecimal digits of the SHA-256 of a document's content. Comments and layout do not change
/// it; the order of keys does, because replacements are tried in their order.
pub fn hash(value: &Value) -> String {
    let digest = Sha256::digest(value.to_string().as_bytes());
    digest.iter().take(6).fold(String::new(), |mut hash, byte| {
        // Writing to a string cannot fail.
        let _ = write!(hash, "{byte:02x}");
        hash
    })
}

impl Context {
    /// What these settings give. Secrets stand in `base` and the environment.
    pub fn of(settings: &Settings, base: &Path, environment: &Environment) -> Self {
        Self {
            reach: Arc::new(reach::reach(settings, base, environment)),
            upstreams: settings.upstreams.iter().map(|upstream| upstream.name.clone()).collect(),
            hook: settings.timeouts.hook.get(),
            demand: settings.rules.demand(),
        }
    }

    /// What can be read from settings that may be wrong, so that the rules can be checked all the same.
    pub fn of_draft(draft: &Draft) -> Self {
        let document = &draft.document;
        let name = |index| document.read_as(&format!("/upstreams/{index}/name"));
        let reach = Arc::new(reach::of_draft(document));
        let hook = document.read_as::<units::Duration>("/timeouts/hook").unwrap_or(Timeouts::default().hook);
        Self {
            upstreams: (0..document.count("/upstreams")).filter_map(name).collect(),
            hook: hook.get(),
            reach,
            demand: document.read_as::<RulesSettings>("/rules").unwrap_or_default().demand(),
        }
    }
}

/// What an entry is compiled to, besides its plain values.
struct Parts<'d> {
    kind: &'d PolicyType,
    factory: Arc<dyn Factory>,
    selects: Selector,
}

struct Compiler<'d> {
    document: &'d Document,
    context: &'d Context,
    types: &'d [PolicyType],
    problems: Vec<Problem>,
}

impl<'d> Compiler<'d> {
    fn entry(&mut self, at: &str) -> Option<Parts<'d>> {
        let selects = self.selector(&format!("{at}/match"));
        let kind = self.kind(&format!("{at}/type"))?;
        let factory = self.build(kind, at)?;
        Some(Parts { kind, factory, selects })
    }

    fn kind(&mut self, at: &str) -> Option<&'d PolicyType> {
        let name: String = self.document.read_as(at)?;
        let found = self.types.iter().find(|kind| kind.name == name);
        if found.is_none() {
            let names = || self.types.iter().map(|kind| kind.name);
            let remedy = match closest(&name, names()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("write one of {}", or_list(names().map(|name| format!("`{name}`")))),
            };
            self.add(at, Part::Value, format!("there is no policy type `{name}`"), remedy);
        }
        found
    }

    fn build(&mut self, kind: &PolicyType, entry: &str) -> Option<Arc<dyn Factory>> {
        let at = &format!("{entry}/config");
        let empty = Value::Object(serde_json::Map::new());
        let config = self.document.get(at).unwrap_or(&empty);
        // Not a mapping: the document's own schema says so already.
        let fields = config.as_object()?;
        let schema = schema::of_type(kind);
        let mut problems = check::validate(&schema, self.document, at);
        for name in ON_THE_ENTRY.into_iter().filter(|name| fields.contains_key(*name)) {
            let here = child(at, name);
            if schema.pointer(&child("/properties", name)).is_some() {
                continue;
            }
            problems.retain(|problem| problem.pointer != here);
            let message = format!("`{name}` is no key of `config`");
            let remedy = format!("write `{name}` on the policy's entry, beside `type` and `config`");
            problems.push(self.document.problem(&here, Part::Key, message, remedy));
        }
        if !problems.is_empty() {
            self.problems.extend(problems);
            return None;
        }
        let name: String = self.document.read_as(&format!("{entry}/name")).unwrap_or_default();
        let on_fault: OnFault = self.document.read_as(&format!("{entry}/on_fault")).unwrap_or_default();
        let timeout = self.document.read_as(&format!("{entry}/timeout")).map(units::Duration::get);
        let site = Site {
            name: &name,
            on_fault: on_fault.into(),
            timeout: timeout.or(kind.timeout).unwrap_or(self.context.hook),
            reach: &self.context.reach,
        };
        match (kind.build)(config, &site) {
            Ok(factory) => Some(factory),
            Err(problems) => {
                for problem in problems {
                    self.add(&format!("{at}{}", problem.pointer), Part::Value, problem.message, problem.remedy);
                }
                None
            }
        }
    }

    fn selector(&mut self, at: &str) -> Selector {
        let dialects = self.list::<Dialect>(&format!("{at}/dialect"));
        let upstreams = self.list::<String>(&format!("{at}/upstream"));
        for (pointer, name) in upstreams.iter().flatten() {
            if !self.context.upstreams.contains(name) {
                let known = || self.context.upstreams.iter().map(String::as_str);
                let remedy = match (closest(name, known()), self.context.upstreams.is_empty()) {
                    (Some(near), _) => format!("did you mean `{near}`?"),
                    (None, true) => "add an upstream of that name to the settings".to_owned(),
                    (None, false) => format!("write one of {}", or_list(known().map(|name| format!("`{name}`")))),
                };
                self.add(pointer, Part::Value, format!("there is no upstream `{name}`"), remedy);
            }
        }
        Selector {
            dialects: dialects.map(|all| all.into_iter().map(|(_, dialect)| dialect.name().to_owned()).collect()),
            models: self.globs(&format!("{at}/model")),
            upstreams: upstreams.map(|all| all.into_iter().map(|(_, name)| name).collect()),
            paths: self.globs(&format!("{at}/path")),
            clients: self.globs(&format!("{at}/client")),
            headers: self.headers(&format!("{at}/header")),
            when: self.when(&format!("{at}/when")),
            tools: self.globs(&format!("{at}/tool")),
            targets: None,
            said: self.said(at),
        }
    }

    /// The conditions as they are written, without what looks like a secret.
    fn said(&self, at: &str) -> Vec<(String, String)> {
        let text = |value: &Value| match value {
            Value::String(text) => mask::line(text),
            Value::Array(_) | Value::Bool(_) | Value::Null | Value::Number(_) | Value::Object(_) => {
                mask::line(&value.to_string())
            }
        };
        let fields = self.document.get(at).and_then(Value::as_object).into_iter().flatten();
        let conditions = fields.flat_map(|(key, value)| match value {
            Value::Array(items) => vec![(key.clone(), items.iter().map(text).collect::<Vec<_>>().join(", "))],
            Value::Object(fields) => {
                fields.iter().map(|(name, value)| (format!("{key}.{name}"), text(value))).collect()
            }
            Value::Bool(_) | Value::Null | Value::Number(_) | Value::String(_) => vec![(key.clone(), text(value))],
        });
        conditions.collect()
    }

    /// One value or a list of values, each with its pointer. Those of a wrong type are left to the schema.
    fn list<T: serde::de::DeserializeOwned>(&self, at: &str) -> Option<Vec<(String, T)>> {
        if let Some(Value::Array(items)) = self.document.get(at) {
            let pointers = (0..items.len()).map(|index| format!("{at}/{index}"));
            return Some(pointers.filter_map(|at| self.document.read_as(&at).map(|value| (at, value))).collect());
        }
        self.document.read_as(at).map(|value| vec![(at.to_owned(), value)])
    }

    fn globs(&mut self, at: &str) -> Option<GlobSet> {
        let mut set = GlobSetBuilder::new();
        for (pointer, text) in self.list::<String>(at)? {
            match Glob::new(&text) {
                Ok(glob) => _ = set.add(glob),
                Err(error) => {
                    let remedy = "use `*` for any text and `?` for one character; write `[`, `{` and `\\` after a `\\`";
                    self.add(&pointer, Part::Value, format!("this is not a glob: {}", error.kind()), remedy);
                }
            }
        }
        match set.build() {
            Ok(set) => Some(set),
            Err(error) => {
                self.add(
                    at,
                    Part::Value,
                    format!("these globs are too large: {}", error.kind()),
                    "write fewer of them",
                );
                None
            }
        }
    }

    fn when(&mut self, at: &str) -> Option<When> {
        let source: String = self.document.read_as(at).filter(|source: &String| !source.is_empty())?;
        match When::compile(&source) {
            Ok(when) => Some(when),
            Err(error) => {
                self.add(at, Part::Value, error.message, error.remedy);
                None
            }
        }
    }

    fn headers(&mut self, at: &str) -> Vec<(String, Regex)> {
        let Some(Value::Object(fields)) = self.document.get(at) else { return Vec::new() };
        let mut headers = Vec::new();
        for (name, pattern) in fields {
            let here = child(at, name);
            let Some(pattern) = pattern.as_str() else { continue };
            let legal: Option<HeaderName> = name.parse().ok();
            if legal.is_none() {
                let remedy = "write letters, digits and `-`";
                self.add(&here, Part::Key, format!("`{name}` is not the name of a header"), remedy);
            }
            match (legal, Regex::new(pattern)) {
                (Some(name), Ok(pattern)) => headers.push((name.as_str().to_owned(), pattern)),
                (None, Ok(_)) => {}
                (_, Err(error)) => {
                    let message = format!("this is not a regular expression: {}", reason(&error));
                    self.add(&here, Part::Value, message, "correct it; a `\\` before a character takes it literally");
                }
            }
        }
        headers
    }

    fn unique_names(&mut self, count: usize) {
        let mut first: HashMap<String, usize> = HashMap::new();
        for index in 0..count {
            let pointer = format!("/policies/{index}/name");
            let Some(name) = self.document.read_as::<String>(&pointer) else { continue };
            if let Some(earlier) = first.get(&name) {
                let message = format!("another policy has the name `{name}`: entry {}", earlier + 1);
                self.add(&pointer, Part::Value, message, "give each policy its own name");
            } else {
                first.insert(name, index);
            }
        }
    }

    fn add(&mut self, at: &str, part: Part, message: impl Into<String>, remedy: impl Into<String>) {
        self.problems.push(self.document.problem(at, part, message, remedy));
    }
}

/// The last line of a regular expression's error: the lines before it draw the pattern.
fn reason(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests;
