//! What is said of objects: `status.ancestors` after the Gateway API's `PolicyAncestorStatus`, and events.
//!
//! Entries of other controllers are never touched, and nothing is written that stands there already.

use std::time::SystemTime;

use kube::{
    Api, Client, Resource, ResourceExt,
    api::{Patch, PatchParams},
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use serde_json::{Value, json};

use super::{
    client::{Failed, ask},
    crd::{LuthienPolicy, MOST_ANCESTORS, TargetRef},
    merge::{Standing, Verdict},
    object::{Name, Release},
};

/// How often a write is tried again when somebody else wrote in between.
const ATTEMPTS: usize = 5;

/// The longest note that an event takes, in bytes.
const LONGEST_NOTE: usize = 1000;

/// The longest message that a condition takes, in bytes.
const LONGEST_MESSAGE: usize = 32_000;

/// Writes what is said of objects.
pub(super) struct Statuses {
    client: Client,
    controller: String,
    reporter: Reporter,
}

/// What a condition says.
struct Condition {
    kind: &'static str,
    is_true: bool,
    reason: &'static str,
    message: String,
}

impl Statuses {
    pub(super) fn new(client: Client, release: &Release, me: &str) -> Self {
        let controller = release.controller();
        let reporter = Reporter { controller: controller.clone(), instance: Some(me.to_owned()) };
        Self { client, controller, reporter }
    }

    /// Says what is to be said of an object, if it is not said there. Whether it wrote.
    pub(super) async fn write(&self, seen: &LuthienPolicy, standing: &Standing, hash: &str) -> Result<bool, Failed> {
        let name = Name::of(seen);
        let api: Api<LuthienPolicy> = Api::namespaced(self.client.clone(), &name.namespace);
        let mut fresh = None;
        for _ in 0..ATTEMPTS {
            let object = fresh.as_ref().unwrap_or(seen);
            // It has changed since it was judged; what is to be said of it now follows.
            if object.uid() != seen.uid() || object.metadata.generation != seen.metadata.generation {
                return Ok(false);
            }
            let current = object.status.as_ref().map(|status| status.ancestors.as_slice()).unwrap_or_default();
            let wanted = self.ancestors(&name.namespace, current, standing, hash);
            if wanted == current {
                return Ok(false);
            }
            let patch = Patch::Merge(json!({
                "metadata": { "resourceVersion": object.resource_version() },
                "status": { "ancestors": &wanted },
            }));
            match ask(api.patch_status(&name.name, &PatchParams::default(), &patch)).await {
                Ok(_) => {
                    if !self.is_told(current, &wanted) {
                        self.tell(seen, standing).await;
                    }
                    return Ok(true);
                }
                Err(failed) if failed.is_conflict() => fresh = Some(ask(api.get(&name.name)).await?),
                // It is gone; so is what was to be said.
                Err(failed) if failed.is_missing() => return Ok(false),
                Err(failed) => return Err(failed),
            }
        }
        Ok(false)
    }

    /// The whole list: others' entries as they are, and ours in the form in which they are to be. An entry keeps its place:
    /// two that each put theirs last would rewrite the list for ever.
    fn ancestors(&self, namespace: &str, current: &[Value], standing: &Standing, hash: &str) -> Vec<Value> {
        let mut ours: Vec<Value> = standing
            .targets
            .iter()
            .filter_map(|(target, is_known)| {
                let reference = reference(namespace, target);
                let says = |entry: &&Value| entry.get("ancestorRef") == Some(&reference);
                // Another release knows it: then there is nothing wrong with it.
                let is_elsewhere = |entry: &Value| says(&entry) && !self.is_ours(entry) && is_accepted(entry);
                if !is_known && current.iter().any(is_elsewhere) {
                    return None;
                }
                let before = current.iter().find(|entry| self.is_ours(entry) && says(entry));
                let conditions: Vec<Value> = conditions(standing, *is_known, hash)
                    .into_iter()
                    .map(|condition| condition.written(standing.generation, before))
                    .collect();
                Some(json!({
                    "ancestorRef": reference,
                    "controllerName": self.controller,
                    "conditions": conditions,
                }))
            })
            .collect();
        let mut all: Vec<Value> = current
            .iter()
            .filter_map(|entry| {
                if !self.is_ours(entry) {
                    return Some(entry.clone());
                }
                let at = ours.iter().position(|own| own.get("ancestorRef") == entry.get("ancestorRef"))?;
                Some(ours.remove(at))
            })
            .collect();
        let room = MOST_ANCESTORS.saturating_sub(all.len());
        if ours.len() > room {
            tracing::warn!(namespace, "no room for the status of an object: other controllers fill it");
        }
        all.extend(ours.into_iter().take(room));
        all
    }

    fn is_ours(&self, entry: &Value) -> bool {
        entry.get("controllerName").and_then(Value::as_str) == Some(&self.controller)
    }

    /// Whether what is thought of the version was said before: other parts of the status change with other objects.
    fn is_told(&self, current: &[Value], wanted: &[Value]) -> bool {
        let verdicts = |all: &[Value]| -> Vec<Value> {
            let ours = all.iter().filter(|entry| self.is_ours(entry));
            ours.filter_map(|entry| accepted(entry).cloned()).collect()
        };
        verdicts(current) == verdicts(wanted)
    }

    /// Tells of a version that was turned down. An event that is lost is no harm: the status says the same.
    async fn tell(&self, object: &LuthienPolicy, standing: &Standing) {
        let (reason, note) = match &standing.verdict {
            Verdict::Accepted | Verdict::Elsewhere => return,
            Verdict::Invalid(report) => ("Invalid", report),
            Verdict::Conflicted(conflict) => ("Conflicted", conflict),
        };
        let event = Event {
            type_: EventType::Warning,
            reason: reason.to_owned(),
            note: Some(cut(note, LONGEST_NOTE)),
            action: "Accept".to_owned(),
            secondary: None,
        };
        // A new one each time: one that lives on would tell the second reject with the words of the first.
        let recorder = Recorder::new(self.client.clone(), self.reporter.clone());
        if let Err(failed) = ask(recorder.publish(&event, &object.object_ref(&()))).await {
            tracing::warn!(error = failed.explain("an event about an object", "see its status"), "event lost");
        }
    }
}

impl Condition {
    /// In the form of the API. The time stays that of the last change of its status.
    fn written(self, generation: i64, before: Option<&Value>) -> Value {
        let status = if self.is_true { "True" } else { "False" };
        let before = before.and_then(|entry| entry.get("conditions")).and_then(Value::as_array);
        let same = before.into_iter().flatten().find(|condition| {
            condition.get("type").and_then(Value::as_str) == Some(self.kind)
                && condition.get("status").and_then(Value::as_str) == Some(status)
        });
        let since = same.and_then(|condition| condition.get("lastTransitionTime")).cloned();
        let now = || Value::String(humantime::format_rfc3339_seconds(SystemTime::now()).to_string());
        json!({
            "type": self.kind,
            "status": status,
            "reason": self.reason,
            "message": cut(&self.message, LONGEST_MESSAGE),
            "observedGeneration": generation,
            "lastTransitionTime": since.unwrap_or_else(now),
        })
    }
}

fn conditions(standing: &Standing, is_known: bool, hash: &str) -> [Condition; 2] {
    let accepted =
        |is_true, reason, message: &str| Condition { kind: "Accepted", is_true, reason, message: message.to_owned() };
    let programmed = |is_true, reason, message: String| Condition { kind: "Programmed", is_true, reason, message };
    let unknown =
        "this release knows nothing of that name here; name its Service, or switch `gateway_api` on for others";
    if !is_known {
        let nothing = "the policies do not hold for it".to_owned();
        return [accepted(false, "TargetNotFound", unknown), programmed(false, "TargetNotFound", nothing)];
    }
    let (reason, why) = match &standing.verdict {
        Verdict::Accepted | Verdict::Elsewhere => {
            let runs = format!("it runs, in the rules {hash}");
            return [accepted(true, "Accepted", "the policies are good"), programmed(true, "Programmed", runs)];
        }
        Verdict::Invalid(report) => ("Invalid", report),
        Verdict::Conflicted(conflict) => ("Conflicted", conflict),
    };
    let instead = match standing.runs {
        Some(generation) => programmed(
            false,
            "LastGood",
            format!("generation {generation}, the last that was good, runs in its place, in the rules {hash}"),
        ),
        None => programmed(false, reason, "nothing of it runs: no version of it was good so far".to_owned()),
    };
    [accepted(false, reason, why), instead]
}

fn reference(namespace: &str, target: &TargetRef) -> Value {
    json!({ "group": target.group, "kind": target.kind, "namespace": namespace, "name": target.name })
}

/// The condition `Accepted` of an entry.
fn accepted(entry: &Value) -> Option<&Value> {
    let mut conditions = entry.get("conditions").and_then(Value::as_array)?.iter();
    conditions.find(|condition| condition.get("type").and_then(Value::as_str) == Some("Accepted"))
}

fn is_accepted(entry: &Value) -> bool {
    accepted(entry).and_then(|condition| condition.get("status")).and_then(Value::as_str) == Some("True")
}

/// `text`, as much of it as fits.
fn cut(text: &str, longest: usize) -> String {
    if text.len() <= longest {
        return text.to_owned();
    }
    let end = (0..=longest - 3).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    format!("{}…", text.get(..end).unwrap_or_default())
}
