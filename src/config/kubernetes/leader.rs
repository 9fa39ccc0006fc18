//! Who of the replicas writes: the holder of one Lease.
//!
//! As in client-go, clocks of other machines are not trusted: a Lease counts as lost when it did not change for its
//! duration by the own clock.

use std::time::{Duration, SystemTime};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::json;
use tokio::time::Instant;

use super::{
    client::{Failed, ask},
    object::Release,
};

/// One replica's part in the election.
pub(super) struct Election {
    api: Api<Lease>,
    name: String,
    me: String,
    duration: Duration,
    /// The Lease as it was seen last, and since when it is so.
    seen: Option<(LeaseSpec, Instant)>,
    /// When it was renewed last by this replica.
    held: Option<Instant>,
}

impl Election {
    pub(super) fn new(client: Client, release: &Release, me: String, duration: Duration) -> Self {
        let api = Api::namespaced(client, &release.namespace);
        Self { api, name: format!("{}-rules", release.name), me, duration, seen: None, held: None }
    }

    /// Whether this replica may write.
    pub(super) fn leads(&self) -> bool {
        self.held.is_some_and(|held| held.elapsed() < self.duration)
    }

    /// Renews the Lease, or takes one that nobody holds. `Err`: the API server does not answer, or forbids it.
    pub(super) async fn round(&mut self) -> Result<(), Failed> {
        let asked = Instant::now();
        let lease = ask(self.api.get(&self.name)).await?;
        let version = lease.resource_version();
        let spec = lease.spec.unwrap_or_default();
        let holder = spec.holder_identity.clone().filter(|holder| !holder.is_empty());
        let is_mine = holder.as_ref() == Some(&self.me);
        if holder.is_some() && !is_mine && !self.is_lost(&spec, asked) {
            self.held = None;
            return Ok(());
        }
        let now = humantime::format_rfc3339_micros(SystemTime::now()).to_string();
        let mut wanted = json!({ "holderIdentity": self.me, "leaseDurationSeconds": self.seconds(), "renewTime": now });
        if let (false, Some(fields)) = (is_mine, wanted.as_object_mut()) {
            fields.insert("acquireTime".to_owned(), now.into());
            fields.insert("leaseTransitions".to_owned(), (spec.lease_transitions.unwrap_or_default() + 1).into());
        }
        let patch = Patch::Merge(json!({ "metadata": { "resourceVersion": version }, "spec": wanted }));
        match ask(self.api.patch(&self.name, &PatchParams::default(), &patch)).await {
            Ok(_) => {
                if !is_mine {
                    tracing::info!(
                        lease = self.name,
                        identity = self.me,
                        "this replica writes the status of rules now"
                    );
                }
                self.held = Some(asked);
                Ok(())
            }
            Err(failed) if failed.is_conflict() => {
                self.held = None;
                Ok(())
            }
            Err(failed) => Err(failed),
        }
    }

    /// Whether another's Lease has not changed for its duration.
    fn is_lost(&mut self, spec: &LeaseSpec, now: Instant) -> bool {
        let since = match &self.seen {
            Some((seen, since)) if seen == spec => *since,
            _ => {
                self.seen = Some((spec.clone(), now));
                now
            }
        };
        // What the holder says, which may run with other settings than this replica.
        let said = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        now.duration_since(since) >= said.map_or(self.duration, Duration::from_secs).max(self.duration)
    }

    fn seconds(&self) -> u64 {
        self.duration.as_secs().max(1)
    }

    pub(super) fn explain(&self, failed: &Failed) -> String {
        let Self { name, .. } = self;
        let missing = format!("make an empty one of the name {name}, as the chart does");
        failed.explain(&format!("the Lease {name}, whose holder writes the status of rules"), &missing)
    }
}
