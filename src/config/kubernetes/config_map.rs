//! Watches one ConfigMap by its name, and keeps the rules after the document in it.
//!
//! A ConfigMap that is deleted, or that lost its key, is a mistake: what ran goes on running.

use std::{path::PathBuf, sync::Arc};

use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client,
    runtime::{WatchStreamExt, watcher::watch_object},
};

use super::{
    super::{document::Document, source::ConfigMapSource, watch::Compile},
    Pace,
    told::Told,
    watch::said,
};
use crate::policy::Rules;

/// Watches for as long as it is polled.
pub(super) async fn watch_config_map(
    client: Client,
    namespace: &str,
    source: &ConfigMapSource,
    compile: Arc<Compile>,
    pace: &Pace,
    told: &mut Told,
) {
    let ConfigMapSource { name, key, .. } = source;
    let what = format!("ConfigMap {namespace}/{name}, key {key}");
    let api: Api<ConfigMap> = Api::namespaced(client, namespace);
    let mut found = Box::pin(watch_object(api, name).backoff(pace.backoff()));
    let mut before = None;
    while let Some(event) = found.next().await {
        let now = match event {
            Ok(Some(object)) => text(&object, key).ok_or_else(|| {
                format!("{what}: there is no such key; put the rules document under `{key}`, or correct `rules.config_map.key`")
            }),
            Ok(None) => Err(format!("{what}: there is no such ConfigMap; make it, or correct `rules.config_map.name`")),
            Err(error) => {
                told.failed(&what, said(&what, "make it, or correct `rules.config_map`", &error));
                continue;
            }
        };
        told.reached(&what);
        if before.as_ref() == Some(&now) {
            continue;
        }
        before = Some(now.clone());
        let result = match now {
            Ok(text) => compiled(&what, text, &compile).await,
            Err(error) => Err(error),
        };
        match result {
            Ok(rules) => {
                told.take(Arc::new(rules), &what);
                told.rejected(0, None);
            }
            Err(error) => {
                let reason = error.lines().next().unwrap_or_default();
                tracing::error!(from = what, reason, "rules refused, the last good ones stay in force");
                told.refused(error);
            }
        }
    }
}

fn text(object: &ConfigMap, key: &str) -> Option<String> {
    object.data.as_ref()?.get(key).cloned()
}

/// Compiles on a thread that may block: large patterns take their time.
async fn compiled(what: &str, text: String, compile: &Arc<Compile>) -> Result<Rules, String> {
    let (name, compile) = (PathBuf::from(what), Arc::clone(compile));
    let work = move || Document::parse(name, text).and_then(|document| compile(&document));
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(|report| report.to_string()),
        Err(error) => Err(format!("the rules could not be compiled: {error}")),
    }
}
