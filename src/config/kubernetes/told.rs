//! Where a source in Kubernetes puts its rules, and tells how it goes.

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use tokio::{sync::watch, time::Instant};

use super::super::live::{Live, ReloadStatus};
use crate::{lifecycle::Pending, policy::Rules};

/// Where the rules go, and what is told of them.
pub struct Told {
    /// The rules in force.
    live: Arc<Live<Rules>>,
    status: watch::Sender<ReloadStatus>,
    /// The process is not ready before it has rules.
    pending: Option<Pending>,
    /// What cannot be asked, with the reason, and when that was said last.
    failing: BTreeMap<String, (String, Instant)>,
}

impl Told {
    /// Nothing was told yet; `pending` is until there are rules.
    pub fn new(live: Arc<Live<Rules>>, status: watch::Sender<ReloadStatus>, pending: Pending) -> Self {
        Self { live, status, pending: Some(pending), failing: BTreeMap::new() }
    }

    /// Takes rules, if they are others than those in force.
    pub(super) fn take(&mut self, rules: Arc<Rules>, from: &str) {
        let is_first = self.pending.is_some();
        if !is_first && self.live.current().hash == rules.hash {
            return;
        }
        let (hash, policies) = (rules.hash.clone(), rules.entries.len());
        self.live.replace_shared(rules);
        tracing::info!(from, %hash, policies, "rules {}", if is_first { "loaded" } else { "reloaded" });
        self.status.send_modify(|status| {
            status.hash = hash;
            status.loaded_at = SystemTime::now();
            status.reloads_ok += u64::from(!is_first);
        });
        if let Some(pending) = self.pending.take() {
            pending.ready();
        }
    }

    /// So many versions were turned down that were not before; `error` is what is wrong with all of them.
    pub(super) fn rejected(&self, fresh: usize, error: Option<String>) {
        let fresh = u64::try_from(fresh).unwrap_or(u64::MAX);
        self.status.send_if_modified(|status| {
            let changed = fresh > 0 || status.last_error != error;
            status.reloads_failed += fresh;
            status.last_error = error;
            changed
        });
    }

    /// The only document was turned down.
    pub(super) fn refused(&self, error: String) {
        if let Some(pending) = &self.pending {
            pending.because(error.clone());
        }
        self.rejected(1, Some(error));
    }

    /// The source answers.
    pub(super) fn reached(&mut self, what: &str) {
        if self.failing.remove(what).is_some() {
            tracing::info!(what, "the source of the rules answers again");
            self.tell_failing();
        }
    }

    /// It does not, for this reason; `None`: it does, but wants to be asked anew.
    pub(super) fn failed(&mut self, what: &str, reason: Option<String>) {
        let Some(reason) = reason else { return };
        if let Some((_, said)) = self.failing.get_mut(what).filter(|(before, _)| *before == reason) {
            *said = Instant::now();
            return;
        }
        tracing::error!(reason, "the source of the rules fails; what was in force stays in force");
        if let Some(pending) = &self.pending {
            pending.because(reason.clone());
        }
        self.failing.insert(what.to_owned(), (reason, Instant::now()));
        self.tell_failing();
    }

    /// Of what failed, what was said longest ago, and when. A watch that goes on where it broke off says nothing, so that silence has to
    /// be looked into.
    pub(super) fn silent(&self) -> Option<(Instant, String)> {
        let said = self.failing.iter().map(|(what, (_, said))| (*said, what.clone()));
        said.min()
    }

    /// It was asked, and has not answered.
    pub(super) fn still_failing(&mut self, what: &str) {
        if let Some((_, said)) = self.failing.get_mut(what) {
            *said = Instant::now();
        }
    }

    fn tell_failing(&self) {
        let failing: Vec<String> = self.failing.values().map(|(reason, _)| reason.clone()).collect();
        let failing = (!failing.is_empty()).then(|| failing.join("\n"));
        self.status.send_modify(|status| status.source_error = failing);
    }
}
