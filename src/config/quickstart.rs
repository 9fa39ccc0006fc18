//! The providers of a laptop, by what the environment holds: the settings without a settings file, and what
//! `upstreams: quickstart` stands for in one.

use std::path::Path;

use schemars::JsonSchema;
use serde_json::{Value, json};

use super::{
    document::Document,
    environment::Environment,
    load::{Draft, Loaded},
    overlay::Override,
    report::{Place, Report},
    settings::Upstream,
};

/// The settings as a document, so that the environment goes over them as over any other.
const SETTINGS: &str = "rules: config/policy.yaml\nupstreams: quickstart\n";

/// What stands in place of a list of upstreams.
const WORD: &str = "quickstart";

/// A provider's variables and its public address, in the order of [`upstreams`].
const PROVIDERS: [(&str, &str, &str); 2] = [
    ("OPENAI_API_KEY", "OPENAI_BASE_URL", "https://api.openai.com"),
    ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "https://api.anthropic.com"),
];

/// What may stand in a document for the upstreams; `quickstart` becomes a list before it is read.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) enum Upstreams {
    /// A list of them.
    Listed(#[schemars(length(min = 1))] Vec<Upstream>),
    /// The word.
    Word(Quickstart),
}

/// The word `quickstart`.
#[derive(JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) enum Quickstart {
    /// The providers whose key the environment holds, the demo provider for the others.
    Quickstart,
}

/// Settings for a laptop, for the working directory `folder`: the providers whose key is set, the demo provider for the
/// others, and as rules `config/policy.yaml` when it exists.
pub fn quickstart(folder: &Path, overrides: &[Override], environment: &Environment) -> Result<Loaded, Report> {
    quickstart_draft(folder, overrides, environment)?.finish(environment)
}

/// As [`quickstart`], but gives what could be read together with what is wrong.
pub fn quickstart_draft(folder: &Path, overrides: &[Override], environment: &Environment) -> Result<Draft, Report> {
    let document = Document::parse("(built-in settings)", SETTINGS)?;
    let mut draft = Draft::new(document, folder, overrides, environment);
    let chosen = environment.get("LUTHIEN_RULES").is_some() || overrides.iter().any(|over| over.pointer == "/rules");
    draft.rules_are_optional = !chosen;
    Ok(draft)
}

/// Puts two upstreams, `openai` and `anthropic`, where `document` says `upstreams: quickstart`.
///
/// With `OPENAI_API_KEY` set, the first is that provider (or `OPENAI_BASE_URL`) with that key; with only `OPENAI_BASE_URL`
/// set, that server with the client's own key; otherwise the built-in demo provider. The second likewise.
pub(super) fn expand(document: &mut Document, environment: &Environment) {
    let Some(value) = document.value.get_mut("upstreams").filter(|value| **value == WORD) else { return };
    *value = upstreams();
    for (index, (key, base_url, public)) in PROVIDERS.into_iter().enumerate() {
        let (has_key, url) = (environment.get(key).is_some(), environment.get(base_url));
        let mut put = |name: &str, value: Value, variable: &str| {
            let by = Place::Variable(variable.to_owned());
            document.overlay(&format!("/upstreams/{index}/{name}"), value, by);
        };
        match (has_key, url) {
            (_, Some(url)) => put("url", url.into(), base_url),
            (true, None) => put("url", public.into(), key),
            (false, None) => {}
        }
        if has_key {
            put("credentials", json!({ "env": key }), key);
        }
        if let (false, None, Some(Value::Object(demo))) =
            (has_key, url, document.value.pointer_mut(&format!("/upstreams/{index}")))
        {
            // Its word `stall` is to show what a stall is, and not how long three minutes are.
            demo.insert("timeouts".to_owned(), json!({ "stall": "5s" }));
        }
    }
}

fn upstreams() -> Value {
    json!([
        { "name": "openai", "url": "demo", "dialects": ["openai_chat", "openai_responses"] },
        { "name": "anthropic", "url": "demo", "dialects": ["anthropic_messages"] },
    ])
}
