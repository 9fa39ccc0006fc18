//! Watches `LuthienPolicy` objects and keeps the rules after them.
//!
//! What the API server does not answer, or forbids, never counts as "no objects": what ran goes on running.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::pending,
    sync::Arc,
    time::Duration,
};

use futures::{FutureExt, Stream, StreamExt, stream::SelectAll};
use kube::{
    Api, Error,
    api::ListParams,
    runtime::{
        WatchStreamExt,
        watcher::{self, watcher},
    },
};
use tokio::{sync::watch, time::MissedTickBehavior};

use super::{
    Pace,
    client::{Failed, WATCH, ask},
    crd::LuthienPolicy,
    last_good::LastGood,
    merge::{Policies, Verdict, View},
    object::{Name, Written},
    told::Told,
};

/// The objects as they are, and what is to be said of them.
#[derive(Clone, Default)]
pub(super) struct Seen {
    pub(super) objects: BTreeMap<Name, LuthienPolicy>,
    pub(super) view: View,
    /// What is to be kept as the last good rules.
    pub(super) good: Vec<Written>,
}

/// The objects of one namespace.
#[derive(Default)]
struct Listed {
    objects: BTreeMap<Name, LuthienPolicy>,
    /// A list that is not complete yet.
    listing: BTreeMap<Name, LuthienPolicy>,
    is_complete: bool,
}

/// What ran before, as it is called in the log.
const LAST_GOOD: &str = "the last good rules";

type Events =
    SelectAll<std::pin::Pin<Box<dyn Stream<Item = (String, watcher::Result<watcher::Event<LuthienPolicy>>)> + Send>>>;

/// Watches for as long as it is polled. Ends only if the rules cannot be compiled any more, which is a defect.
pub(super) async fn watch_objects(
    client: kube::Client,
    namespaces: BTreeSet<String>,
    mut policies: Policies,
    last_good: &LastGood,
    pace: Pace,
    told: &mut Told,
    seen: &watch::Sender<Arc<Seen>>,
) {
    // What ran before has to be known before a version that is bad counts as one that never was good.
    let mut is_known = false;
    let mut next_try = tokio::time::interval(pace.renew);
    next_try.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut events = begin(&client, &namespaces, &pace);
    let mut lists: BTreeMap<String, Listed> = namespaces.into_iter().map(|name| (name, Listed::default())).collect();
    let mut said: BTreeSet<(Name, i64, String)> = BTreeSet::new();
    loop {
        tokio::select! {
            biased;
            _ = next_try.tick(), if !is_known => match last_good.read().await {
                Ok(good) => {
                    is_known = true;
                    told.reached(LAST_GOOD);
                    let good = good.unwrap_or_default();
                    let is_empty = good.is_empty();
                    let Some((same, wrong)) = restore(policies, good).await else { return };
                    policies = same;
                    for report in &wrong {
                        tracing::error!(%report, "what ran last cannot run any more; the object as it is now is waited for");
                    }
                    // With a part of them, what the others hold back would pass; and that there was nothing says nothing of now.
                    if wrong.is_empty() && !is_empty && !lists.values().all(|list| list.is_complete) {
                        told.take(Arc::new(policies.rules()), LAST_GOOD);
                    }
                }
                Err(error) => told.failed(LAST_GOOD, Some(error)),
            },
            namespace = silent(told, pace.silence) => {
                if namespace == LAST_GOOD {
                    told.still_failing(LAST_GOOD);
                    continue;
                }
                let api: Api<LuthienPolicy> = Api::namespaced(client.clone(), &namespace);
                look_into(told, &namespace, ask(api.list(&ListParams::default().limit(1)))).await;
                continue;
            }
            first = events.next() => {
                // What is here already is taken together, so that a list of many objects is looked at once.
                let mut next = first;
                if next.is_none() {
                    return;
                }
                while let Some((namespace, event)) = next {
                    match event {
                        Ok(event) => lists.entry(namespace.clone()).or_default().take(event, || told.reached(&namespace)),
                        Err(error) => told.failed(&namespace, explain(&namespace, &error)),
                    }
                    next = events.next().now_or_never().flatten();
                }
            }
        }
        if !lists.values().all(|list| list.is_complete) {
            continue;
        }
        let objects: BTreeMap<Name, LuthienPolicy> = lists.values().flat_map(|list| list.objects.clone()).collect();
        let written = objects.iter().map(|(name, object)| (name.clone(), Written::of(object))).collect();
        let Some((same, view)) = update(policies, written).await else { return };
        policies = same;
        if !is_known && !view.is_whole() {
            continue;
        }
        told.take(Arc::clone(&view.rules), "LuthienPolicy objects");
        tell(&view, &mut said, told);
        seen.send_replace(Arc::new(Seen { objects, good: policies.good(), view }));
    }
}

/// Waits until something that failed has said nothing for so long.
pub(super) async fn silent(told: &Told, silence: Duration) -> String {
    match told.silent() {
        Some((said, what)) => {
            tokio::time::sleep_until(said + silence).await;
            what
        }
        None => pending().await,
    }
}

/// Whether what failed, and is silent since, answers.
pub(super) async fn look_into<T>(told: &mut Told, what: &str, question: impl Future<Output = Result<T, Failed>>) {
    match question.await {
        Ok(_) => told.reached(what),
        Err(_) => told.still_failing(what),
    }
}

async fn update(mut policies: Policies, objects: BTreeMap<Name, Written>) -> Option<(Policies, View)> {
    compiling(move || {
        let view = policies.update(&objects);
        (policies, view)
    })
    .await
}

async fn restore(mut policies: Policies, good: Vec<Written>) -> Option<(Policies, Vec<String>)> {
    compiling(move || {
        let wrong = policies.restore(good);
        (policies, wrong)
    })
    .await
}

/// Compiles on a thread that may block: large patterns take their time.
async fn compiling<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let told = |error: &tokio::task::JoinError| {
        tracing::error!(%error, "the rules could not be compiled; this is a defect, please report it");
    };
    tokio::task::spawn_blocking(work).await.inspect_err(told).ok()
}

/// Says of each version once that it was turned down.
fn tell(view: &View, said: &mut BTreeSet<(Name, i64, String)>, told: &mut Told) {
    let mut rejects = BTreeSet::new();
    for (name, standing) in &view.standings {
        let (reason, report) = match &standing.verdict {
            Verdict::Accepted | Verdict::Elsewhere => continue,
            Verdict::Invalid(report) => ("Invalid", report),
            Verdict::Conflicted(conflict) => ("Conflicted", conflict),
        };
        let reject = (name.clone(), standing.generation, report.clone());
        if !said.contains(&reject) {
            let (runs, report) = (standing.runs, report.lines().next().unwrap_or_default());
            tracing::error!(object = %name, generation = standing.generation, ?runs, reason, report, "object refused");
        }
        rejects.insert(reject);
    }
    let fresh = rejects.iter().filter(|reject| !said.contains(*reject)).count();
    let report: Vec<String> = rejects
        .iter()
        .map(|(name, _, report)| {
            let named = name.to_string();
            if report.contains(&named) { report.clone() } else { format!("{named}: {report}") }
        })
        .collect();
    told.rejected(fresh, (!report.is_empty()).then(|| report.join("\n")));
    *said = rejects;
}

fn begin(client: &kube::Client, namespaces: &BTreeSet<String>, pace: &Pace) -> Events {
    let mut all = SelectAll::new();
    for namespace in namespaces {
        let api: Api<LuthienPolicy> = Api::namespaced(client.clone(), namespace);
        let events = watcher(api, watcher::Config::default().timeout(WATCH)).backoff(pace.backoff());
        let namespace = namespace.clone();
        all.push(events.map(move |event| (namespace.clone(), event)).boxed());
    }
    all
}

impl Listed {
    fn take(&mut self, event: watcher::Event<LuthienPolicy>, reached: impl FnOnce()) {
        match event {
            watcher::Event::Init => self.listing.clear(),
            watcher::Event::InitApply(object) => _ = self.listing.insert(Name::of(&object), object),
            watcher::Event::InitDone => {
                self.objects = std::mem::take(&mut self.listing);
                self.is_complete = true;
                reached();
            }
            watcher::Event::Apply(object) => {
                self.objects.insert(Name::of(&object), object);
                reached();
            }
            watcher::Event::Delete(object) => {
                self.objects.remove(&Name::of(&object));
                reached();
            }
        }
    }
}

/// What an error of a watch means. `None`: nothing; the API server wants the list to be asked for anew.
fn explain(namespace: &str, error: &watcher::Error) -> Option<String> {
    let what = format!("LuthienPolicy objects in the namespace {namespace}");
    let missing = "install the definition: `luthien crd | kubectl apply --server-side -f -`";
    said(&what, missing, error)
}

/// As [`explain`], for any kind of object.
pub(super) fn said(what: &str, missing: &str, error: &watcher::Error) -> Option<String> {
    match error {
        watcher::Error::WatchError(status) if status.code == 410 => None,
        watcher::Error::WatchError(status) => Some(Failed::of(&Error::Api(status.clone())).explain(what, missing)),
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => Some(Failed::of(error).explain(what, missing)),
        watcher::Error::NoResourceVersion => Some(format!("{what}: the API server does not let them be watched")),
    }
}
