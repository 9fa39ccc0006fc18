//! Loads the settings: the file, the environment over it, the arguments over both, and every check.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{
    check,
    document::{Document, Part},
    environment::Environment,
    extproc::{ExtprocClient, ExtprocTls},
    overlay::{self, Override},
    quickstart,
    report::Report,
    schema::settings_schema,
    semantics,
    settings::{Credentials, SecretSource, Settings},
    source::{RulesSettings, RulesSource},
    target::Target,
};

/// The rules that hold when there is no rules document: nothing is changed.
const EMBEDDED_RULES: &str = "# Every call passes unchanged.\npolicies:\n  - name: noop\n    type: noop\n";

/// Settings that passed every check.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The settings. Paths in them are joined to [`base`](Self::base), URLs are in their shortest form.
    pub settings: Settings,
    /// The file that they come from, `-` for standard input.
    pub file: PathBuf,
    /// The folder that relative paths start from: that of the file.
    pub base: PathBuf,
    /// Where the rules come from.
    pub rules: RulesSource,
    /// The folder for sockets and other state: `LUTHIEN_STATE_DIR`, or `.luthien` beside the file.
    pub state: PathBuf,
    /// What is strange but no error, as environment variables that set nothing; one sentence each.
    pub warnings: Vec<String>,
}

/// Settings that were read and checked, but may be wrong.
#[derive(Debug)]
pub struct Draft {
    /// The document, with environment and arguments over it.
    pub document: Document,
    /// The folder that relative paths start from.
    pub base: PathBuf,
    /// What is strange but no error.
    pub warnings: Vec<String>,
    /// What is wrong.
    pub report: Report,
    /// Whether the built-in rules hold when there is no rules document.
    pub(super) rules_are_optional: bool,
}

/// Reads and checks the settings in `path` (`-` is standard input), with the environment and then `overrides` over them.
///
/// The report names every problem, wherever it comes from.
pub fn load(path: &Path, overrides: &[Override], environment: &Environment) -> Result<Loaded, Report> {
    draft(path, overrides, environment)?.finish(environment)
}

/// As [`load`], but gives what could be read together with what is wrong. Fails only when there is no document at all.
pub fn draft(path: &Path, overrides: &[Override], environment: &Environment) -> Result<Draft, Report> {
    let base = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok(Draft::new(Document::read(path)?, base, overrides, environment))
}

impl Draft {
    pub(super) fn new(mut document: Document, base: &Path, overrides: &[Override], environment: &Environment) -> Self {
        let schema = settings_schema();
        let (mut warnings, mut report) = overlay::apply(&mut document, &schema, overrides, environment);
        quickstart::expand(&mut document, environment);
        warnings.extend(semantics::warnings(&document));
        let mut problems = check::validate(&schema, &document, "");
        problems.extend(semantics::check(&document, base, environment));
        if problems.is_empty()
            && let Err(error) = Settings::deserialize(&document.value)
        {
            // The schema and the types say the same, so this is not expected; it must not pass all the same.
            problems.push(document.problem("", Part::Value, error.to_string(), "correct the value"));
        }
        report.append(document.report(problems));
        Self { document, base: base.to_owned(), warnings, report, rules_are_optional: false }
    }

    /// Where the rules come from, when the settings say so.
    pub fn rules(&self) -> Option<RulesSource> {
        let source = self.document.read_or("/rules", RulesSettings::default())?.source(&self.base);
        let embedded = matches!(&source, RulesSource::File(path) if self.rules_are_optional && !path.exists());
        Some(if embedded { RulesSource::Embedded } else { source })
    }

    /// The settings as they are written, wherever they are to run: files and variables that they name are not looked for.
    pub fn as_written(self) -> Result<Settings, Report> {
        let report = self.document.report(check::validate(&settings_schema(), &self.document, ""));
        match Settings::deserialize(&self.document.value) {
            Ok(mut settings) if report.is_empty() => {
                settings.resolve(&self.base);
                Ok(settings)
            }
            Ok(_) | Err(_) => Err(report),
        }
    }

    /// The settings, or what is wrong with them.
    pub fn finish(self, environment: &Environment) -> Result<Loaded, Report> {
        let rules = self.rules();
        let Self { document, base, warnings, report, .. } = self;
        let mut settings = match Settings::deserialize(&document.value) {
            Ok(settings) if report.is_empty() => settings,
            Ok(_) | Err(_) => return Err(report),
        };
        let rules = rules.unwrap_or_else(|| settings.rules.source(&base));
        settings.resolve(&base);
        let state = environment.get("LUTHIEN_STATE_DIR").map_or_else(|| base.join(".luthien"), PathBuf::from);
        Ok(Loaded { settings, file: document.path, base, rules, state, warnings })
    }
}

impl RulesSource {
    /// Reads the document.
    pub fn read(&self) -> Result<Document, Report> {
        match self {
            Self::Embedded => Document::parse("(built-in rules)", EMBEDDED_RULES),
            Self::File(path) if path.exists() => Document::read(path),
            Self::File(path) => {
                let remedy = "create it (`policies: []` is the shortest that is valid), or set `rules` in luthien.yaml to \
                              the file that holds them";
                Err(Report::of_file(path, "the rules document is missing", remedy))
            }
            Self::ConfigMap(_) | Self::Crd(_) => {
                let remedy = "give `luthien check` the files that hold them, or name a file in `rules`";
                Err(Report::of_file(Path::new(&self.name()), "these rules are known in the cluster only", remedy))
            }
        }
    }
}

impl Settings {
    /// Joins every relative path to `base` and shortens every URL.
    fn resolve(&mut self, base: &Path) {
        let join = |path: &mut PathBuf| *path = base.join(&*path);
        self.rules.file.as_mut().map(join);
        if let Some(tls) = &mut self.tls {
            join(&mut tls.cert);
            join(&mut tls.key);
        }
        if let Some(ExtprocTls { cert, key, client_ca }) = &mut self.extproc.tls {
            [cert, key, client_ca].into_iter().for_each(join);
        }
        if let Some(ExtprocClient { cert, key, ca, .. }) = &mut self.extproc.envoy {
            [cert, key, ca].into_iter().for_each(join);
        }
        for token in [&mut self.admin.token, &mut self.admin.viewer_token].into_iter().flatten() {
            if let SecretSource::File(path) = token {
                join(path);
            }
        }
        for key in &mut self.clients.keys {
            key.file.as_mut().map(join);
        }
        for upstream in &mut self.upstreams {
            upstream.ca.as_mut().map(join);
            if let Credentials::Secret(SecretSource::File(path)) = &mut upstream.credentials {
                join(path);
            }
            if let Ok(target) = upstream.url.parse::<Target>() {
                upstream.url = target.to_string();
            }
        }
    }
}

#[cfg(test)]
mod tests;
