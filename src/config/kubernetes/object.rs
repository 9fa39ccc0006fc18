//! One `LuthienPolicy` object: who it is, what it holds for, and the rules document in it.

use std::fmt;

use kube::ResourceExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    super::{
        check,
        document::{Document, Part},
        report::{Problem, Report},
        schema,
    },
    crd::{DOCUMENT_KEYS, GATEWAY_API, KIND, LuthienPolicy, TargetRef, spec},
};
use crate::policy::Target;

/// The keys of `spec` that are not of the rules document.
const ENVELOPE: [&str; 2] = ["targetRefs", "priority"];

/// Which object it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Name {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// An object as somebody wrote it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Written {
    /// Which object it is.
    #[serde(flatten)]
    pub name: Name,
    /// Tells it from one of the same name that was deleted before.
    pub uid: String,
    /// Counts the changes of its `spec`.
    pub generation: i64,
    /// When it was made, as RFC 3339; texts of that form sort by time.
    pub created: String,
    /// What it wants.
    pub spec: Value,
}

/// What an object wants, as far as it could be read.
#[derive(Debug)]
pub struct Wanted {
    /// What it holds for.
    pub targets: Vec<TargetRef>,
    /// Its place in the order.
    pub priority: i32,
    /// The rules in it.
    pub document: Document,
}

/// The release that objects are attached to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its Service.
    pub service: String,
    /// Whether objects may target a Gateway or an HTTPRoute.
    pub gateway_api: bool,
}

/// What a target stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holds {
    /// For every call.
    EveryCall,
    /// For those that come through something.
    Through(Target),
}

#[derive(Deserialize, JsonSchema)]
struct Envelope {
    /// What the policies hold for.
    #[serde(rename = "targetRefs")]
    #[schemars(length(min = 1, max = 16))]
    target_refs: Vec<TargetRef>,
    /// Policies of objects with a higher priority run first.
    #[serde(default)]
    #[schemars(range(min = -1_000_000, max = 1_000_000))]
    priority: i32,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{KIND} {}/{}", self.namespace, self.name)
    }
}

impl Name {
    /// The name of an object.
    pub fn of(object: &LuthienPolicy) -> Self {
        Self { namespace: object.namespace().unwrap_or_default(), name: object.name_any() }
    }
}

impl Written {
    /// What somebody wrote of this object.
    pub fn of(object: &LuthienPolicy) -> Self {
        let metadata = &object.metadata;
        Self {
            name: Name::of(object),
            uid: metadata.uid.clone().unwrap_or_default(),
            generation: metadata.generation.unwrap_or_default(),
            created: metadata.creation_timestamp.as_ref().map(|time| time.0.to_string()).unwrap_or_default(),
            spec: object.spec.0.clone(),
        }
    }

    /// The object as a document, which reports call by its name.
    pub fn document(&self) -> Document {
        Document::of_object(&self.name.to_string(), json!({ "spec": self.spec }))
    }

    /// Whether both are the same version of the same object.
    pub fn is_same(&self, other: &Self) -> bool {
        self.uid == other.uid && self.spec == other.spec
    }
}

/// Whether a document is such an object, and not a rules document.
pub fn is_object(document: &Document) -> bool {
    document.get("/kind").and_then(Value::as_str) == Some(KIND)
}

/// Reads an object. What is wrong with the rules in it is found when they are compiled.
pub fn read(object: &Document) -> Result<Wanted, Report> {
    let envelope = object.below("/spec", |key| ENVELOPE.contains(&key));
    let document = object.below("/spec", |key| !ENVELOPE.contains(&key) && key != "version");
    let mut problems = check::validate(&schema::of::<Envelope>(), &envelope, "");
    let read = envelope.read_as::<Envelope>("");
    if let Some(Envelope { target_refs, .. }) = &read {
        problems.extend(misplaced(target_refs, &document));
        problems.extend(strange(target_refs, &envelope));
        problems.extend(twice(target_refs, &envelope));
    }
    let report = envelope.report(problems);
    let Some(Envelope { target_refs, priority }) = read.filter(|_| report.is_empty()) else { return Err(report) };
    Ok(Wanted { targets: target_refs, priority, document })
}

/// What the API server has against an object that is good otherwise: every list and text has its bounds there.
pub fn out_of_bounds(object: &Document) -> Report {
    object.report(check::validate(&spec(), object, "/spec"))
}

/// Keys that hold for every call, in an object that holds for some.
fn misplaced(targets: &[TargetRef], document: &Document) -> Vec<Problem> {
    if targets.iter().any(|target| target.kind == "Service") {
        return Vec::new();
    }
    let found = DOCUMENT_KEYS.iter().filter(|key| document.get(&format!("/{key}")).is_some());
    let problem = |key: &&str| {
        let message = format!("`{key}` holds for every call, and this object for those of a Gateway or a route");
        document.problem(&format!("/{key}"), Part::Key, message, "set it in an object that targets the Service")
    };
    found.map(problem).collect()
}

/// Targets of a kind that there is not.
fn strange(targets: &[TargetRef], envelope: &Document) -> Vec<Problem> {
    let is_known = |target: &TargetRef| match target.group.as_str() {
        "" => target.kind == "Service",
        GATEWAY_API => ["Gateway", "HTTPRoute"].contains(&target.kind.as_str()),
        _ => false,
    };
    let strange = targets.iter().enumerate().filter(|(_, target)| !is_known(target));
    let problem = |(at, target): (usize, &TargetRef)| {
        let message = format!("policies do not hold for a `{}` of the group \"{}\"", target.kind, target.group);
        let remedy = format!("write kind Service with group \"\", or Gateway or HTTPRoute with group {GATEWAY_API}");
        envelope.problem(&format!("/targetRefs/{at}"), Part::Value, message, remedy)
    };
    strange.map(problem).collect()
}

/// Targets that are named more than once.
fn twice(targets: &[TargetRef], envelope: &Document) -> Vec<Problem> {
    let is_again = |at: usize, target: &TargetRef| targets.iter().take(at).any(|earlier| earlier == target);
    let again = targets.iter().enumerate().filter(|(at, target)| is_again(*at, target));
    let problem = |(at, _): (usize, &TargetRef)| {
        envelope.problem(
            &format!("/targetRefs/{at}"),
            Part::Value,
            "the target is named twice",
            "leave one of them out",
        )
    };
    again.map(problem).collect()
}

impl Release {
    /// What a target of an object in `namespace` stands for. `None`: this release knows nothing of it.
    pub fn holds(&self, namespace: &str, target: &TargetRef) -> Option<Holds> {
        let (namespace, name) = (namespace.to_owned(), target.name.clone());
        match (target.group.as_str(), target.kind.as_str()) {
            ("", "Service") if namespace == self.namespace && name == self.service => Some(Holds::EveryCall),
            (GATEWAY_API, "Gateway") if self.gateway_api => Some(Holds::Through(Target::Gateway { namespace, name })),
            (GATEWAY_API, "HTTPRoute") if self.gateway_api => {
                Some(Holds::Through(Target::HttpRoute { namespace, name }))
            }
            _ => None,
        }
    }

    /// What an object holds for: `None` for nothing that this release knows.
    pub fn reach(&self, namespace: &str, targets: &[TargetRef]) -> Option<Vec<Holds>> {
        let known: Vec<Holds> = targets.iter().filter_map(|target| self.holds(namespace, target)).collect();
        (!known.is_empty()).then_some(known)
    }

    /// What it is called in the status of objects.
    pub fn controller(&self) -> String {
        format!("{}/{}/{}", super::crd::GROUP, self.namespace, self.name)
    }
}
