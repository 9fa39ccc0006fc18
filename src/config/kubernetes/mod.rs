//! Rules from Kubernetes: `LuthienPolicy` objects, or one ConfigMap, read through the API server.
//!
//! Each replica makes its rules of what it sees itself, so that none waits for another; one of them, the holder of a Lease,
//! writes what is to be said of objects, and keeps what ran last.

mod client;
mod config_map;
pub mod crd;
mod last_good;
mod leader;
mod merge;
pub mod object;
mod status;
mod structural;
mod told;
mod watch;

use std::{collections::BTreeSet, future::pending, sync::Arc, time::Duration};

use kube::runtime::{utils::Backoff, watcher::DefaultBackoff};

pub use self::{
    client::{Connection, connect},
    told::Told,
};
use self::{
    last_good::{LastGood, Unwritten},
    leader::Election,
    merge::Policies,
    object::{Release, Written},
    status::Statuses,
    watch::{Seen, watch_objects},
};
use super::{
    compile::{Context, compile},
    source::{ConfigMapSource, CrdSource},
};
use crate::policies::PolicyType;

/// How long things take between replicas and the API server.
#[derive(Debug, Clone)]
pub struct Pace {
    /// How long a Lease holds that is not renewed.
    pub lease: Duration,
    /// How often it is renewed, or looked at; and what could not be written is tried again.
    pub renew: Duration,
    /// The first pause before a watch that failed is begun anew, where it is not that of client-go.
    pub first_retry: Option<Duration>,
    /// How long a watch that failed must have said nothing, before it is looked into whether it goes on. Longer than the longest
    /// pause between two tries.
    pub silence: Duration,
}

/// Where rules come from, with what it takes to make them.
pub struct Cluster {
    /// The API server.
    pub connection: Connection,
    /// What rules refer to.
    pub context: Context,
    /// The policy types that exist.
    pub types: &'static [PolicyType],
    /// How this replica is called in the Lease.
    pub identity: String,
    /// How long things take.
    pub pace: Pace,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(15),
            renew: Duration::from_secs(5),
            first_retry: None,
            silence: Duration::from_secs(75),
        }
    }
}

impl Pace {
    fn backoff(&self) -> Box<dyn Backoff> {
        match self.first_retry {
            None => Box::new(DefaultBackoff::default()),
            Some(first) => Box::new(Steady(first)),
        }
    }
}

/// The same pause each time.
struct Steady(Duration);

impl Iterator for Steady {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(self.0)
    }
}

impl Backoff for Steady {
    fn reset(&mut self) {}
}

impl Cluster {
    /// Keeps the rules after the document in a ConfigMap, for as long as it is polled.
    pub async fn follow_config_map(self, source: ConfigMapSource, mut told: Told) {
        let Self { connection, context, types, pace, .. } = self;
        let namespace = source.namespace.clone().unwrap_or(connection.namespace);
        let compile = Arc::new(move |document: &_| compile(document, &context, types));
        config_map::watch_config_map(connection.client, &namespace, &source, compile, &pace, &mut told).await;
    }

    /// Keeps the rules after the objects of a release, for as long as it is polled, and says in their status what became of
    /// them while this replica holds the Lease.
    pub async fn follow_objects(self, source: CrdSource, mut told: Told) {
        let Self { connection: Connection { client, namespace }, context, types, identity, pace } = self;
        let CrdSource { name, service, namespace: own, watch, gateway_api } = source;
        let release = Release {
            service: service.unwrap_or_else(|| name.clone()),
            name,
            namespace: own.unwrap_or(namespace),
            gateway_api,
        };
        let mut namespaces: BTreeSet<String> = watch.namespaces.into_iter().collect();
        if namespaces.is_empty() {
            namespaces.insert(release.namespace.clone());
        }
        let policies = Policies::new(release.clone(), context, types);
        let last_good = LastGood::new(client.clone(), &release);
        let (sender, seen) = tokio::sync::watch::channel(Arc::new(Seen::default()));
        let leader = Leader {
            election: Election::new(client.clone(), &release, identity.clone(), pace.lease),
            statuses: Statuses::new(client.clone(), &release, &identity),
            last_good: LastGood::new(client.clone(), &release),
            said: None,
        };
        let watching = watch_objects(client, namespaces, policies, &last_good, pace.clone(), &mut told, &sender);
        tokio::select! {
            () = watching => {}
            () = leader.lead(seen, pace.renew) => {}
        }
    }
}

/// What the holder of the Lease does.
struct Leader {
    election: Election,
    statuses: Statuses,
    last_good: LastGood,
    /// What went wrong last, so that it is told once.
    said: Option<String>,
}

impl Leader {
    async fn lead(mut self, mut seen: tokio::sync::watch::Receiver<Arc<Seen>>, renew: Duration) {
        let mut tick = tokio::time::interval(renew);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let mut wrong = tokio::select! {
                _ = tick.tick() => {
                    // Others may have changed it.
                    self.last_good.forget();
                    self.election.round().await.err().map(|failed| self.election.explain(&failed))
                }
                changed = seen.changed() => {
                    if changed.is_err() {
                        return pending().await;
                    }
                    None
                }
            };
            let now = Arc::clone(&seen.borrow_and_update());
            if wrong.is_none() && self.election.leads() && !now.view.rules.hash.is_empty() {
                // Longer than this, and the Lease has to be renewed first; the rest follows at the next tick.
                let late =
                    || Some(format!("writing takes longer than {renew:?}: the API server is slow, or does not answer"));
                wrong = tokio::time::timeout(renew, self.write(&now)).await.unwrap_or_else(|_| late());
            }
            self.tell(wrong);
        }
    }

    /// Writes what does not stand there yet.
    async fn write(&mut self, seen: &Seen) -> Option<String> {
        let mut wrong = self.keep(&seen.good).await;
        for (name, standing) in &seen.view.standings {
            let Some(object) = seen.objects.get(name) else { continue };
            if let Err(failed) = self.statuses.write(object, standing, &seen.view.rules.hash).await {
                wrong =
                    Some(failed.explain(&format!("the status of {name}"), "install the definition of this version"));
            }
        }
        wrong
    }

    async fn keep(&mut self, good: &[Written]) -> Option<String> {
        match self.last_good.write(good).await {
            Ok(()) => None,
            // Another replica took over.
            Err(Unwritten::Failed(failed)) if failed.is_conflict() => None,
            Err(Unwritten::Failed(failed)) => Some(self.last_good.explain(&failed)),
            Err(Unwritten::TooLarge(size)) => Some(self.last_good.too_large(size)),
        }
    }

    /// Tells what is wrong, once.
    fn tell(&mut self, wrong: Option<String>) {
        if wrong.is_some() && self.said != wrong {
            tracing::error!(reason = wrong, "what is to be said of objects cannot be written");
        }
        self.said = wrong;
    }
}
