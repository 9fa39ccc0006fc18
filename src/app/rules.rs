//! Where the rules come from: begins, follows and tells.

use std::{future::pending, sync::Arc};

use tokio::sync::watch;
use uuid::Uuid;

use super::{AppError, replica};
use crate::{
    admin::AdminState,
    config::{
        compile::{Context, compile},
        environment::Environment,
        kubernetes::{Cluster, Pace, Told, connect},
        live::{Live, ReloadStatus},
        source::{ConfigMapSource, CrdSource, RulesSource},
        watch::{RulesWatch, watch_rules},
    },
    journal::activity::{Event, What},
    lifecycle::Readiness,
    policies,
    policy::{Demand, Rules},
    telemetry::metrics::ResultLabels,
};

/// What keeps the rules after their source.
pub(super) enum Following {
    /// A file.
    File(RulesWatch),
    /// A ConfigMap.
    ConfigMap(Box<Cluster>, ConfigMapSource, Told),
    /// Objects.
    Objects(Box<Cluster>, CrdSource, Told),
    /// They never change.
    Nothing,
}

/// The first rules, and what is told of those that follow.
pub(super) type Begun = (Arc<Live<Rules>>, watch::Receiver<ReloadStatus>, Following);

/// Begins with the rules of `source`. Those of a cluster come later: until then no call goes on, and nothing is ready.
pub(super) async fn begin(
    source: RulesSource,
    context: Context,
    environment: &Environment,
    readiness: &Readiness,
) -> Result<Begun, AppError> {
    if let RulesSource::ConfigMap(_) | RulesSource::Crd(_) = &source {
        let none = Rules { hash: "none".to_owned(), demand: Demand::Rules, ..Rules::default() };
        let (status, reloads) = watch::channel(ReloadStatus::first(&none));
        let live = Arc::new(Live::new(none));
        let connection = connect(environment).await.map_err(AppError::Cluster)?;
        let told = Told::new(Arc::clone(&live), status, readiness.pending("rules", "are not loaded yet"));
        let replica = environment.get("POD_NAME").map_or_else(replica, str::to_owned);
        let cluster = Box::new(Cluster {
            connection,
            context,
            types: policies::all(),
            identity: format!("{replica}_{}", Uuid::new_v4().simple()),
            pace: Pace::default(),
        });
        let following = match source {
            RulesSource::ConfigMap(source) => Following::ConfigMap(cluster, source, told),
            RulesSource::Crd(source) => Following::Objects(cluster, source, told),
            RulesSource::File(_) | RulesSource::Embedded => Following::Nothing,
        };
        return Ok((live, reloads, following));
    }
    let document = source.read().map_err(AppError::Rules)?;
    let rules = compile(&document, &context, policies::all()).map_err(AppError::Rules)?;
    let (status, reloads) = watch::channel(ReloadStatus::first(&rules));
    let live = Arc::new(Live::new(rules));
    let following = match source {
        RulesSource::File(file) => Following::File(RulesWatch {
            file,
            text: document.text.clone(),
            live: Arc::clone(&live),
            compile: Arc::new(move |document| compile(document, &context, policies::all())),
            status,
        }),
        RulesSource::Embedded | RulesSource::ConfigMap(_) | RulesSource::Crd(_) => Following::Nothing,
    };
    Ok((live, reloads, following))
}

impl Following {
    /// Keeps the rules after their source, for as long as it is polled.
    pub(super) async fn follow(self) {
        match self {
            Self::File(watch) => watch_rules(watch).await,
            Self::ConfigMap(cluster, source, told) => cluster.follow_config_map(source, told).await,
            Self::Objects(cluster, source, told) => Box::pin(cluster.follow_objects(source, told)).await,
            Self::Nothing => pending().await,
        }
    }
}

/// Tells how the rules follow their source.
pub(super) async fn tell(mut reloads: watch::Receiver<ReloadStatus>, state: &AdminState) {
    let (mut ok, mut failed) = (0, 0);
    reloads.mark_changed();
    while reloads.changed().await.is_ok() {
        let status = reloads.borrow_and_update().clone();
        let metrics = &state.metrics;
        let count = |result, now, before: &mut u64| {
            metrics.reloads.get_or_create(&ResultLabels { result }).inc_by(now - *before);
            std::mem::replace(before, now) < now
        };
        let is_reloaded = count("ok", status.reloads_ok, &mut ok);
        let is_rejected = count("rejected", status.reloads_failed, &mut failed);
        metrics.rules_rejected.set(i64::from(status.last_error.is_some()));
        metrics.rules_source_failing.set(i64::from(status.source_error.is_some()));
        metrics.rules_are(&state.live.current().hash);
        if is_reloaded {
            state.activity.push(Event::now(What::RulesReloaded { rules: status.hash.clone() }));
        }
        if let (true, Some(error)) = (is_rejected, status.last_error) {
            state.activity.push(Event::now(What::RulesRejected { rules: status.hash, error }));
        }
    }
    // Rules that are built in never change.
    pending::<()>().await;
}
