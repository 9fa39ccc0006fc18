//! The tasks that record calls: one takes what they draft to the disk, one from there to the store.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures::future::join;
use tokio::sync::watch;

use super::{AppError, replica};
use crate::{
    config::{
        environment::Environment,
        recording::{Audit, Postgres},
        settings::Settings,
    },
    record::{
        Lanes, Recorder, Room, Work, lanes, micros,
        spool::{Reader, Spool},
        work,
    },
    redact::Redactor,
    store::{Keep, OpenError, Place, Store},
    telemetry::metrics::Metrics,
};

/// So many entries of each call in flight may wait to be written.
const PER_CALL: usize = 4;
/// How long what stands in the spool may take to reach the store when the process ends. What does not is written when it
/// begins again.
const LAST_WRITES: Duration = Duration::from_secs(5);

/// What is needed to record calls.
pub(super) struct Records {
    store: Arc<Store>,
    reader: Reader,
    work: Work,
    lanes: Lanes,
    room: Room,
    keep: Keep,
}

/// The database that the settings name.
pub(super) fn postgres_place(postgres: &Postgres, password: Option<&str>) -> Result<Place, OpenError> {
    Place::postgres(&postgres.url, postgres.username.as_deref(), password)
}

impl Records {
    /// Opens the spool and the store in the folder `state`. A database elsewhere is not waited for.
    pub(super) fn open(
        settings: &Settings,
        (base, environment): (&Path, &Environment),
        state: &Path,
        redactor: Arc<Redactor>,
        metrics: &Arc<Metrics>,
    ) -> Result<(Self, Recorder), AppError> {
        let recording = &settings.recording;
        let failed = |what: &str, error: &dyn std::fmt::Display| AppError::Recording(format!("{what}: {error}"));
        let place = match &recording.postgres {
            Some(postgres) => {
                let password = recording.password(base, environment).map_err(AppError::Recording)?;
                postgres_place(postgres, password.as_deref())
            }
            None => Ok(Place::Sqlite(state.join("luthien.db"))),
        };
        let store = place.and_then(|place| Store::open(&place)).map_err(|error| failed("the store", &error))?;
        let folder = state.join("spool");
        let (spool, reader) = Spool::open(&folder).map_err(|error| AppError::State { path: folder, error })?;
        let required = recording.audit == Audit::Required;
        metrics.spool_limit.set(i64::try_from(recording.spool.get()).unwrap_or(i64::MAX));
        let room = Room { spool: spool.shared(), most: recording.spool.get() as u64, required };
        let (lanes, taken) = lanes(PER_CALL * settings.limits.calls as usize);
        let recorder = Recorder::new(lanes.clone(), room.clone(), &replica(), Arc::clone(metrics));
        let work = Work {
            jobs: taken,
            spool,
            redactor,
            prices: recording.prices(base).map_err(AppError::Recording)?,
            sync: required,
            metrics: Arc::clone(metrics),
        };
        let keep = Keep { age: recording.keep.get(), size: recording.size.get() as u64 };
        Ok((Self { store: Arc::new(store), reader, work, lanes, room, keep }, recorder))
    }

    /// Whether there is room to record calls.
    pub(super) fn room(&self) -> Room {
        self.room.clone()
    }

    /// What is recorded.
    pub(super) fn store(&self) -> Arc<Store> {
        Arc::clone(&self.store)
    }

    /// Records until no call can draft any more and `last` is told; then until everything is in the store, or not for a
    /// while.
    pub(super) async fn run(self, last: watch::Receiver<bool>) {
        let Self { store, reader, work: own, lanes, keep, .. } = self;
        let metrics = Arc::clone(&own.metrics);
        let mut over = last.clone();
        let written = tokio::task::spawn_blocking(move || work(own));
        let (all_written, no_more) = watch::channel(false);
        let writing = async {
            if let Err(error) = written.await {
                tracing::error!(%error, "the task that records calls ended");
            }
            // What the task wrote last has to be read.
            let _ = all_written.send(true);
        };
        let (prepared, is_prepared) = watch::channel(false);
        let storing = async {
            store.prepare(&metrics).await;
            let _ = prepared.send(true);
            store.tail(reader, &metrics, no_more).await;
        };
        let forgetting = async {
            let mut is_prepared = is_prepared;
            if is_prepared.wait_for(|is_prepared| *is_prepared).await.is_ok() {
                store.keep(keep, || micros(SystemTime::now())).await;
            }
            std::future::pending::<()>().await;
        };
        let tailing = join(writing, storing);
        let patience = async {
            let _ = over.wait_for(|over| *over).await;
            // Connections of Envoy's may live on, and with them whatever could begin a call.
            lanes.last().await;
            tokio::time::sleep(LAST_WRITES).await;
            tracing::warn!("the store did not take all records in time; they stay in the spool");
        };
        tokio::select! {
            _ = tailing => {}
            () = patience => {}
            () = forgetting => {}
        }
        store.close().await;
    }
}
