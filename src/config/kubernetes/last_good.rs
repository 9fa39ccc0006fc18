//! What ran last, kept in a ConfigMap: a process that starts while an object is bad, or while the API server does not list
//! objects, runs what ran before.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::json;

use super::{
    client::{Failed, ask},
    object::{Release, Written},
};

/// The key that holds the objects.
const KEY: &str = "objects.json";

/// The most that is written; the API server takes 1 MiB for all of an object.
const MOST: usize = 1_000_000;

/// The ConfigMap of a release.
pub(super) struct LastGood {
    api: Api<ConfigMap>,
    name: String,
    /// What stands there, as far as this process wrote or read it.
    written: Option<String>,
}

/// Why it was not written.
#[derive(Debug)]
pub(super) enum Unwritten {
    /// It is larger than a ConfigMap may be.
    TooLarge(usize),
    /// The API server does not take it.
    Failed(Failed),
}

impl LastGood {
    pub(super) fn new(client: Client, release: &Release) -> Self {
        let name = format!("{}-rules-last-good", release.name);
        Self { api: Api::namespaced(client, &release.namespace), name, written: None }
    }

    /// What was kept. `None`: nothing ever was.
    pub(super) async fn read(&self) -> Result<Option<Vec<Written>>, String> {
        let found = match ask(self.api.get(&self.name)).await {
            Ok(found) => found,
            Err(failed) if failed.is_missing() => {
                tracing::error!(reason = self.explain(&failed), "nothing is known of what ran before");
                return Ok(None);
            }
            Err(failed) => return Err(self.explain(&failed)),
        };
        let Some(text) = found.data.as_ref().and_then(|data| data.get(KEY)) else { return Ok(None) };
        let objects = serde_json::from_str(text).map_err(|error| {
            format!("the last good rules in the ConfigMap {} cannot be read: {error}; remove its key {KEY}", self.name)
        })?;
        Ok(Some(objects))
    }

    /// What stands there may have changed.
    pub(super) fn forget(&mut self) {
        self.written = None;
    }

    /// Keeps these, unless they are what stands there.
    pub(super) async fn write(&mut self, objects: &[Written]) -> Result<(), Unwritten> {
        let text = serde_json::to_string(objects).unwrap_or_default();
        if self.written.as_ref() == Some(&text) {
            return Ok(());
        }
        if text.len() > MOST {
            return Err(Unwritten::TooLarge(text.len()));
        }
        let found = ask(self.api.get(&self.name)).await.map_err(Unwritten::Failed)?;
        if found.data.as_ref().and_then(|data| data.get(KEY)) != Some(&text) {
            // Two that both take themselves for the leader must not undo each other's work unseen.
            let patch = json!({ "metadata": { "resourceVersion": found.resource_version() }, "data": { KEY: text } });
            let (params, patch) = (PatchParams::default(), Patch::Merge(patch));
            ask(self.api.patch(&self.name, &params, &patch)).await.map_err(Unwritten::Failed)?;
        }
        self.written = Some(text);
        Ok(())
    }

    pub(super) fn explain(&self, failed: &Failed) -> String {
        let Self { name, .. } = self;
        let missing = format!("make an empty one (`kubectl create configmap {name}`), as the chart does");
        failed.explain(&format!("the last good rules in the ConfigMap {name}"), &missing)
    }

    pub(super) fn too_large(&self, size: usize) -> String {
        format!(
            "the rules are too large to be kept as the last good ones ({size} bytes; {MOST} fit into the ConfigMap {}): a \
             process that starts while an object is bad runs without it; make the objects smaller",
            self.name
        )
    }
}
