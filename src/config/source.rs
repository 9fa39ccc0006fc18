//! What `luthien.yaml` says about where the rules come from.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    document::{Document, Part},
    report::Problem,
};
use crate::policy::Demand;

/// The rules document unless the settings say otherwise.
const DOCUMENT: &str = "policy.yaml";

/// The name of a release unless the settings say otherwise.
const RELEASE: &str = "luthien";

/// Where the rules come from; one of `file`, `config_map` and `crd`, and `file: policy.yaml` where none is given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "Forms", into = "Forms")]
pub struct RulesSettings {
    /// The rules document.
    pub file: Option<PathBuf>,
    /// A ConfigMap.
    pub config_map: Option<ConfigMapSource>,
    /// Objects of the kind `LuthienPolicy`.
    pub crd: Option<CrdSource>,
    /// Whether a call needs a policy.
    pub required: bool,
}

/// Where the rules come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RulesSource {
    /// A file, watched for changes.
    File(PathBuf),
    /// The rules built in: every call passes unchanged.
    Embedded,
    /// A ConfigMap, watched through the API server.
    ConfigMap(ConfigMapSource),
    /// `LuthienPolicy` objects, watched through the API server.
    Crd(CrdSource),
}

/// What may stand in a document.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Forms {
    /// The path of the rules document. Reloaded when it changes.
    Path(PathBuf),
    /// One source, and what else there is to say of the rules.
    Source(Box<Source>),
}

/// Where the rules come from: one of `file`, `config_map` and `crd`.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Source {
    /// The rules document, relative to the folder of the settings file. Reloaded when it changes. Default where no other
    /// source is given: policy.yaml.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
    /// A ConfigMap that holds the rules document, watched through the API server of Kubernetes.
    #[serde(skip_serializing_if = "Option::is_none")]
    config_map: Option<ConfigMapSource>,
    /// Objects of the kind `LuthienPolicy`, watched through the API server of Kubernetes.
    #[serde(skip_serializing_if = "Option::is_none")]
    crd: Option<CrdSource>,
    /// Whether a call is refused on which no policy runs whose decisions take effect. A body that cannot be read is refused
    /// then too, whatever `unreadable` says. Paths in `unpoliced.pass` still pass.
    required: bool,
}

/// A ConfigMap that holds the rules document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfigMapSource {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key that holds the document.
    #[serde(default = "default_key")]
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
    /// Its namespace. Default: `POD_NAMESPACE`, otherwise that of the pod's service account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// Objects of the kind `LuthienPolicy`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CrdSource {
    /// The name of the release: its Lease and its ConfigMap of last good rules are named after it, NAME-rules and
    /// NAME-rules-last-good, and the status of objects says it.
    #[schemars(length(min = 1, max = 53))]
    pub name: String,
    /// The Service that objects name whose policies hold for every call. Default: the name of the release.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The namespace of the release. Default: `POD_NAMESPACE`, otherwise that of the pod's service account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Which objects are watched.
    pub watch: Watched,
    /// Whether objects may target a Gateway or an HTTPRoute of Envoy Gateway.
    pub gateway_api: bool,
}

/// Which objects are watched.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Watched {
    /// The namespaces whose objects are watched. Default: only that of the release.
    #[schemars(length(max = 64))]
    pub namespaces: Vec<String>,
}

impl RulesSettings {
    /// The source; relative paths start from `base`.
    pub fn source(&self, base: &Path) -> RulesSource {
        match (&self.config_map, &self.crd) {
            (Some(config_map), _) => RulesSource::ConfigMap(config_map.clone()),
            (None, Some(crd)) => RulesSource::Crd(crd.clone()),
            (None, None) => {
                let file = self.file.as_deref().unwrap_or(Path::new(DOCUMENT));
                RulesSource::File(base.join(file))
            }
        }
    }

    /// Which calls may go on.
    pub fn demand(&self) -> Demand {
        if self.required { Demand::Policy } else { Demand::Nothing }
    }
}

impl RulesSource {
    /// What the source is, for people.
    pub fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Embedded => "built in".to_owned(),
            Self::ConfigMap(ConfigMapSource { name, key, .. }) => format!("ConfigMap {name}, key {key}"),
            Self::Crd(_) => "LuthienPolicy objects".to_owned(),
        }
    }
}

/// What is wrong with the source beyond the schema.
pub(super) fn check(document: &Document) -> Vec<Problem> {
    let given = ["file", "config_map", "crd"].map(|key| format!("/rules/{key}"));
    let mut given = given.iter().filter(|pointer| document.get(pointer).is_some());
    let (Some(_), Some(second)) = (given.next(), given.next()) else { return Vec::new() };
    let message = "the rules come from one source, and here are several";
    vec![document.problem(second, Part::Key, message, "keep one of `file`, `config_map` and `crd`")]
}

impl From<Forms> for RulesSettings {
    fn from(forms: Forms) -> Self {
        match forms {
            Forms::Path(file) => Self { file: Some(file), config_map: None, crd: None, required: false },
            Forms::Source(source) => {
                let Source { file, config_map, crd, required } = *source;
                Self { file, config_map, crd, required }
            }
        }
    }
}

impl From<RulesSettings> for Forms {
    fn from(settings: RulesSettings) -> Self {
        match settings {
            RulesSettings { file: Some(file), config_map: None, crd: None, required: false } => Self::Path(file),
            RulesSettings { file, config_map, crd, required } => {
                Self::Source(Box::new(Source { file, config_map, crd, required }))
            }
        }
    }
}

impl Default for RulesSettings {
    fn default() -> Self {
        Self { file: Some(PathBuf::from(DOCUMENT)), config_map: None, crd: None, required: false }
    }
}

impl Default for CrdSource {
    fn default() -> Self {
        Self { name: RELEASE.to_owned(), service: None, namespace: None, watch: Watched::default(), gateway_api: false }
    }
}

fn default_key() -> String {
    DOCUMENT.to_owned()
}
