//! Reads an Envoy configuration, ours or somebody else's, and names what is wrong with it for LLM traffic through Luthien.
//!
//! Two kinds of documents are read: a bootstrap, and what Envoy's admin interface answers to `/config_dump`. Why each thing
//! matters was observed with Envoy 1.40; `docs/doctor.md` says it, one row for each of [`CHECKS`].
//!
//! It knows nothing of where a document came from, and asks nobody.

mod chain;
mod checks;
mod clusters;
mod document;
mod filter;
mod manager;
mod node;
mod routes;

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

use super::timers::Timers;
use crate::config::settings::{Limits, Settings, Timeouts};
use chain::Chain;
use document::Document;
use manager::{Manager, managers};
use node::one_spelling;

pub use checks::{ALL as CHECKS, Check, Severity};

/// What the document is held against.
#[derive(Debug, Clone)]
pub struct Expected {
    longest: std::time::Duration,
    calls: u64,
    /// The upstreams that are known, and whether they are asked over TLS.
    upstreams: Option<Vec<(String, bool)>>,
    cluster: Option<String>,
    /// Something else encrypts and asks who connects.
    in_a_mesh: bool,
    /// Objects hold for some Gateways or routes only.
    tells_targets: bool,
}

impl Expected {
    /// Of these settings. `cluster` is the one by which Envoy reaches Luthien; without it, it is guessed.
    pub fn of(settings: &Settings, cluster: Option<String>) -> Self {
        Self {
            longest: Timers::longest(&settings.timeouts, &settings.upstreams),
            calls: settings.limits.calls.into(),
            upstreams: Some(
                settings.upstreams.iter().map(|upstream| (upstream.name.clone(), is_https(&upstream.url))).collect(),
            ),
            cluster,
            in_a_mesh: settings.extproc.plaintext,
            tells_targets: settings.rules.crd.as_ref().is_some_and(|crd| crd.gateway_api),
        }
    }

    /// Without settings: the default clocks and limits, and upstreams that nobody names.
    pub fn unknown(cluster: Option<String>) -> Self {
        let longest = Timers::longest(&Timeouts::default(), &[]);
        Self {
            longest,
            calls: Limits::default().calls.into(),
            upstreams: None,
            cluster,
            in_a_mesh: false,
            tells_targets: false,
        }
    }
}

impl Expected {
    fn names(&self) -> Option<impl Iterator<Item = &str>> {
        Some(self.upstreams.as_ref()?.iter().map(|(name, _)| name.as_str()))
    }

    /// Whether the upstream of that name is asked over TLS, if there is one.
    fn is_https(&self, name: &str) -> Option<bool> {
        self.upstreams.iter().flatten().find(|(known, _)| known == name).map(|(_, https)| *https)
    }
}

fn is_https(url: &str) -> bool {
    url.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://"))
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// The id of its [`Check`].
    pub check: &'static str,
    /// Whose it is: the listener, filter, route or cluster.
    pub place: String,
    /// Where it stands in the document.
    pub at: String,
    /// What is wrong, and what that does.
    pub why: String,
    /// What to do.
    pub remedy: String,
}

/// A document that says nothing of an Envoy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "this is no Envoy configuration: it has neither `static_resources` nor `configs`; give it a bootstrap, or what \
     `/config_dump?include_eds` of Envoy's admin interface answers"
)]
pub struct NoEnvoy;

/// Everything that is wrong with a document, what matters most first.
pub fn examine(document: Value, expected: &Expected) -> Result<Vec<Finding>, NoEnvoy> {
    let value = one_spelling(document);
    let documents = document::documents(&value);
    if documents.is_empty() {
        return Err(NoEnvoy);
    }
    let mut findings = Findings::default();
    for document in &documents {
        look(document, expected, &mut findings);
    }
    Ok(findings.0.into_iter().collect())
}

fn look(document: &Document<'_>, expected: &Expected, findings: &mut Findings) {
    clusters::process(document, findings);
    let managers = managers(document);
    let chains = Chain::all(&managers, expected);
    if chains.is_empty() {
        nothing_passes(document, &managers, expected, findings);
        return;
    }
    let providers = clusters::providers(document, &chains, expected);
    for chain in &chains {
        filter::check(chain, expected, findings);
        chain.check(expected, findings);
        routes::check(chain, document, &providers, expected, findings);
    }
    routes::unpoliced(&managers, &chains, &providers, findings);
    clusters::check(document, &chains, &providers, expected, findings);
}

fn nothing_passes(document: &Document<'_>, managers: &[Manager<'_>], expected: &Expected, findings: &mut Findings) {
    let of = expected.cluster.as_ref().map(|name| format!(" whose cluster is `{name}`")).unwrap_or_default();
    let listeners = document.listeners.iter().filter_map(|listener| listener.text("name")).collect::<Vec<_>>();
    let mut finding = Told::new("the whole document", "the document")
        .why(format!("no HTTP connection manager has an ext_proc filter{of}: no policy sees any call"))
        .remedy(
            "put the ext_proc filter before the router of the listener that clients use, as \
        `luthien envoy-config` does",
        );
    if !listeners.is_empty() {
        finding = finding.of(format!("listeners {}", listeners.join(", ")));
    }
    findings.add(&checks::NO_EXT_PROC, finding);
    for missing in managers.iter().flat_map(|manager| &manager.missing) {
        findings.incomplete(missing);
    }
}

/// Where findings are put; the same one twice is one.
#[derive(Debug, Default)]
struct Findings(BTreeSet<Finding>);

impl Findings {
    fn add(&mut self, check: &Check, told: Told) {
        let Told { place, at, why, remedy } = told;
        self.0.insert(Finding { severity: check.severity, check: check.id, place, at, why, remedy });
    }

    fn incomplete(&mut self, missing: &manager::Missing) {
        let told = Told::new("what is not here", &missing.at)
            .why(format!("{}, so they were not looked at", missing.what))
            .remedy("give it what `/config_dump?include_eds` of the running Envoy answers, which has everything");
        self.add(&checks::INCOMPLETE, told);
    }
}

/// What is said of a finding.
#[derive(Debug)]
struct Told {
    place: String,
    at: String,
    why: String,
    remedy: String,
}

impl Told {
    fn new(place: impl Into<String>, at: impl Into<String>) -> Self {
        Self { place: place.into(), at: at.into(), why: String::new(), remedy: String::new() }
    }

    fn of(self, place: String) -> Self {
        Self { place, ..self }
    }

    fn why(self, why: impl Into<String>) -> Self {
        Self { why: why.into(), ..self }
    }

    fn remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: remedy.into(), ..self }
    }
}

#[cfg(test)]
mod tests;
