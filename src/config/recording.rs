//! What `luthien.yaml` says about the records of calls, and what it comes to.

use std::{
    fs,
    path::{Path, PathBuf},
};

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    document::Document,
    environment::Environment,
    settings::{SecretSource, Settings},
    units::{Duration, Size},
};
use crate::{
    model::{RecordLevel, Recorded},
    record::{Price, Prices},
    redact::Redactor,
};

/// The prices that Luthien brings along.
const PRICES: &str = include_str!("../../config/prices.yaml");

/// The records of calls.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Recording {
    /// How much of a call is recorded, unless the rules say otherwise.
    pub level: Level,
    /// Whether the bytes of answers are recorded as well, where everything is.
    pub raw: bool,
    /// What happens when a call cannot be recorded.
    pub audit: Audit,
    /// Calls that began longer ago are forgotten.
    pub keep: Duration,
    /// The oldest calls are forgotten when all take more than this.
    pub size: Size,
    /// How much may wait for the store on the local disk.
    pub spool: Size,
    /// Patterns of what is taken out of texts before they are recorded or told, by name: regular expressions, of which the
    /// first group is taken out, or all where there is none. The forms of common credentials are known without.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub redact: IndexMap<String, String>,
    /// A list of prices in place of the built-in one, relative to the folder of the settings file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prices: Option<PathBuf>,
    /// The database. Absent: SQLite in the state folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub postgres: Option<Postgres>,
}

/// A database of PostgreSQL's.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Postgres {
    /// `postgres://HOST:PORT/DATABASE`; without a password. `?sslmode=verify-full` demands TLS and a good certificate.
    #[schemars(regex(pattern = r"^postgres(ql)?://[^:@]*(@?[^@]*)$"))]
    #[schemars(extend("x-remedy" = "write postgres://HOST:5432/DATABASE; a password belongs into `password`"))]
    pub url: String,
    /// The user. Default: the one in `url`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<SecretSource>,
}

/// How much of a call is recorded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Nothing.
    Off,
    /// What happened and what it took, and no text of requests and answers.
    Metadata,
    /// Everything.
    #[default]
    Full,
}

/// What happens when a call cannot be recorded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Audit {
    /// It goes on without, and the log and the metrics say so.
    #[default]
    BestEffort,
    /// It is refused, or does not end well; and a record survives a loss of power.
    Required,
}

/// What rules say about the records of calls: how much, or how much and more.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Record {
    /// How much.
    Level(Level),
    /// How much, and whether the bytes of answers.
    Detailed(RecordDetails),
}

/// How much is recorded, and whether the bytes of answers.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RecordDetails {
    /// How much.
    #[serde(default)]
    pub level: Level,
    /// Whether the bytes of answers are recorded as well.
    #[serde(default)]
    pub raw: bool,
}

/// A list of prices.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PriceList {
    /// When they were looked up, as `2026-11-22`.
    #[serde(rename = "date")]
    _date: String,
    /// What a million tokens cost, in US dollars, by globs of model names; the first that fits counts.
    models: IndexMap<String, Price>,
}

impl Default for Recording {
    fn default() -> Self {
        Self {
            level: Level::Full,
            raw: false,
            audit: Audit::BestEffort,
            keep: Duration::from_secs(14 * 24 * 3600),
            size: Size::mib(2048),
            spool: Size::mib(1024),
            redact: IndexMap::new(),
            prices: None,
            postgres: None,
        }
    }
}

impl Recording {
    /// What is recorded of calls of which the rules say nothing.
    pub fn recorded(&self) -> Recorded {
        Recorded { level: self.level.into(), raw: self.raw }
    }

    /// What takes credentials out.
    pub fn redactor(&self) -> Result<Redactor, String> {
        let own = self.redact.iter().map(|(name, pattern)| (name.as_str(), pattern.as_str()));
        Redactor::new(own).map_err(|error| format!("recording.redact: {error}"))
    }

    /// What tokens cost. A relative file is looked for in `base`.
    pub fn prices(&self, base: &Path) -> Result<Prices, String> {
        let (name, text) = match &self.prices {
            Some(path) => {
                let path = base.join(path);
                let text = fs::read_to_string(&path);
                (
                    path.display().to_string(),
                    text.map_err(|error| format!("recording.prices: {}: {error}", path.display()))?,
                )
            }
            None => ("prices.yaml".to_owned(), PRICES.to_owned()),
        };
        let wrong = |error: String| format!("recording.prices: {name}: {error}");
        let document = Document::parse(name.clone(), text).map_err(|report| wrong(report.to_string()))?;
        let list: PriceList = serde_json::from_value(document.value).map_err(|error| wrong(error.to_string()))?;
        Prices::new(list.models).map_err(|error| wrong(error.to_string()))
    }

    /// The password of the database.
    pub fn password(&self, base: &Path, environment: &Environment) -> Result<Option<String>, String> {
        let source = self.postgres.as_ref().and_then(|postgres| postgres.password.as_ref());
        let secret = source.map(|source| source.read(base, environment)).transpose();
        let secret = secret.map_err(|error| format!("recording.postgres.password: {error}"))?;
        Ok(secret.map(|secret| secret.expose().to_owned()))
    }
}

impl Settings {
    /// What is recorded of calls of which the rules say nothing.
    pub fn recorded(&self) -> Recorded {
        self.recording.recorded()
    }
}

impl From<Level> for RecordLevel {
    fn from(level: Level) -> Self {
        match level {
            Level::Off => Self::Off,
            Level::Metadata => Self::Metadata,
            Level::Full => Self::Full,
        }
    }
}

impl From<Record> for Recorded {
    fn from(record: Record) -> Self {
        match record {
            Record::Level(level) => Self { level: level.into(), raw: false },
            Record::Detailed(RecordDetails { level, raw }) => Self { level: level.into(), raw },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_prices_are_a_list_of_prices() {
        Recording::default().prices(Path::new("")).unwrap();
    }

    #[test]
    fn a_wrong_list_of_prices_is_told() {
        let folder = tempfile::tempdir().unwrap();
        for (text, said) in [
            ("date: 2026-01-01\nmodels: { m: { input: 1 } }", "missing field `output`"),
            ("models: {}", "missing field `date`"),
            ("date: 2026-01-01\nmodels: { \"[\": { input: 1, output: 1 } }", "`[`"),
            (": :", "prices.yaml"),
        ] {
            fs::write(folder.path().join("prices.yaml"), text).unwrap();
            let recording = Recording { prices: Some("prices.yaml".into()), ..Recording::default() };
            let error = recording.prices(folder.path()).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }
}
