//! Watches one ConfigMap by its name, and keeps the rules after the document in it.
//!
//! A ConfigMap that is deleted, or that lost its key, is a mistake: what ran goes on running.

use std::{path::Path, sync::Arc};

use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client,
    api::ListParams,
    runtime::{
        WatchStreamExt,
        watcher::{self, watcher},
    },
};

use super::{
    super::{
        source::ConfigMapSource,
        watch::{Compile, compiled},
    },
    Pace,
    client::{WATCH, ask},
    told::Told,
    watch::{look_into, said, silent},
};

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
    let only_it = watcher::Config::default().fields(&format!("metadata.name={name}")).timeout(WATCH);
    let mut found = Box::pin(watcher(api.clone(), only_it).backoff(pace.backoff()));
    let mut current = None;
    let mut before = None;
    loop {
        let event = tokio::select! {
            event = found.next() => event,
            _ = silent(told, pace.silence) => {
                let only = ListParams::default().fields(&format!("metadata.name={name}")).limit(1);
                look_into(told, &what, ask(api.list(&only))).await;
                continue;
            }
        };
        let Some(event) = event else { return };
        match event {
            Ok(event) => {
                if !take(event, &mut current) {
                    continue;
                }
            }
            Err(error) => {
                told.failed(&what, said(&what, "make it, or correct `rules.config_map`", &error));
                continue;
            }
        }
        let now = match &current {
            Some(object) => text(object, key).ok_or_else(|| {
                format!("{what}: there is no such key; put the rules document under `{key}`, or correct `rules.config_map.key`")
            }),
            None => Err(format!("{what}: there is no such ConfigMap; make it, or correct `rules.config_map.name`")),
        };
        told.reached(&what);
        if before.as_ref() == Some(&now) {
            continue;
        }
        before = Some(now.clone());
        let result = match now {
            Ok(text) => compiled(Path::new(&what), text.into(), &compile).await,
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

/// Takes up what an event says of the ConfigMap. Whether it is known then: a list may not be over yet.
fn take(event: watcher::Event<ConfigMap>, current: &mut Option<ConfigMap>) -> bool {
    let is_over = !matches!(event, watcher::Event::Init | watcher::Event::InitApply(_));
    match event {
        watcher::Event::InitApply(object) | watcher::Event::Apply(object) => *current = Some(object),
        watcher::Event::Init | watcher::Event::Delete(_) => *current = None,
        watcher::Event::InitDone => {}
    }
    is_over
}

fn text(object: &ConfigMap, key: &str) -> Option<String> {
    object.data.as_ref()?.get(key).cloned()
}
