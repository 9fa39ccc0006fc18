//! The task that writes what the spool says.

use std::{
    fs::OpenOptions,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::Arc,
    time::Duration,
};

use tokio::sync::watch;

use super::{ApplyError, Store};
use crate::{
    record::{
        Line,
        spool::{Batch, Position, Reader},
    },
    telemetry::metrics::Metrics,
};

/// The pauses before the database is tried again.
const PAUSES: [Duration; 6] = [
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
];
/// So long no more is read after something was written, so that much is written at once. What comes after a while in which
/// nothing came is written at once.
const LINGER: Duration = Duration::from_millis(50);
/// What the store would not take stands here, beside the spool.
const REFUSED: &str = "refused.jsonl";

impl Store {
    /// Makes the tables, or brings them up to date, however long that takes.
    pub async fn prepare(&self, metrics: &Metrics) {
        let mut patience = Patience::new(metrics);
        while let Err(error) = self.migrate().await {
            patience.lost(&error.to_string()).await;
        }
        patience.found();
    }

    /// Writes what the spool says, for as long as it says more or `last` is not told.
    pub async fn tail(&self, reader: Reader, metrics: &Metrics, mut last: watch::Receiver<bool>) {
        let reader = Arc::new(reader);
        let spool = reader.shared().id.clone();
        let mut patience = Patience::new(metrics);
        let mut at = loop {
            match self.position(&spool).await {
                Ok(at) => break at,
                Err(error) => patience.lost(&error.to_string()).await,
            }
        };
        patience.found();
        forget(&reader, Position::default(), at);
        loop {
            let batch = match read(&reader, at).await {
                Ok(Some(batch)) => batch,
                Ok(None) => {
                    if *last.borrow() {
                        return;
                    }
                    tokio::select! {
                        () = reader.shared().more() => {}
                        _ = last.wait_for(|last| *last) => {}
                    }
                    continue;
                }
                Err(error) => {
                    patience.lost(&format!("the spool cannot be read: {error}")).await;
                    continue;
                }
            };
            if batch.lost > 0 {
                metrics.lost("unreadable", batch.lost);
                tracing::error!(
                    records = batch.lost,
                    "records in the spool cannot be read; they were cut off by a crash"
                );
            }
            self.write_batch(&spool, at, &batch, &reader, &mut patience).await;
            forget(&reader, at, batch.next);
            at = batch.next;
            metrics.spool.set(i64::try_from(reader.shared().bytes()).unwrap_or(i64::MAX));
            if !batch.more {
                let _ = tokio::time::timeout(LINGER, last.wait_for(|last| *last)).await;
            }
        }
    }

    /// Writes these lines, however long it takes.
    async fn write_batch(
        &self,
        spool: &str,
        at: Position,
        batch: &Batch,
        reader: &Reader,
        patience: &mut Patience<'_>,
    ) {
        if self.persist(spool, &batch.lines, batch.next, patience).await.is_err() {
            // One of them will not do; the others shall not suffer for it. Where they end is known only of all together.
            for line in &batch.lines {
                if let Err(error) = self.persist(spool, std::slice::from_ref(line), at, patience).await {
                    aside(reader.folder(), line, &error, patience.metrics);
                }
            }
            // Nothing is left that could be refused.
            let _ = self.persist(spool, &[], batch.next, patience).await;
        }
        patience.metrics.stored.inc_by(batch.lines.len() as u64);
    }

    async fn persist(
        &self,
        spool: &str,
        lines: &[Line],
        next: Position,
        patience: &mut Patience<'_>,
    ) -> Result<(), sqlx::Error> {
        loop {
            match self.apply(spool, lines, next).await {
                Ok(()) => {
                    patience.found();
                    return Ok(());
                }
                Err(ApplyError::Refused(error)) => return Err(error),
                Err(ApplyError::Away(error)) => patience.lost(&error.to_string()).await,
            }
        }
    }
}

fn forget(reader: &Reader, from: Position, at: Position) {
    if let Err(error) = reader.forget(from, at) {
        tracing::warn!(%error, "what the store has cannot be removed from the spool");
    }
}

async fn read(reader: &Arc<Reader>, at: Position) -> io::Result<Option<Batch>> {
    let reader = Arc::clone(reader);
    tokio::task::spawn_blocking(move || reader.read(at)).await.map_err(io::Error::other)?
}

/// Puts a line aside that the store will not take.
fn aside(folder: &Path, line: &Line, error: &sqlx::Error, metrics: &Metrics) {
    let path = folder.join(REFUSED);
    let put = serde_json::to_vec(line).map_err(io::Error::other).and_then(|mut json| {
        json.push(b'\n');
        OpenOptions::new().append(true).create(true).mode(0o600).open(&path)?.write_all(&json)
    });
    metrics.lost("refused", 1);
    let kept = if put.is_ok() { path.display().to_string() } else { "nowhere".to_owned() };
    tracing::error!(%error, kept, "the store refuses a record");
}

/// Waits for a database that is away, and says so: once for each reason.
struct Patience<'m> {
    metrics: &'m Metrics,
    failures: usize,
    said: String,
}

impl<'m> Patience<'m> {
    fn new(metrics: &'m Metrics) -> Self {
        Self { metrics, failures: 0, said: String::new() }
    }

    async fn lost(&mut self, error: &str) {
        self.metrics.store_failures.inc();
        if self.said != error {
            error.clone_into(&mut self.said);
            tracing::warn!(error, "the store cannot be written; records wait in the spool");
        }
        let pause = PAUSES.get(self.failures).or(PAUSES.last()).copied().unwrap_or_default();
        self.failures += 1;
        tokio::time::sleep(pause).await;
    }

    fn found(&mut self) {
        self.said.clear();
        if std::mem::take(&mut self.failures) > 0 {
            tracing::info!("the store is written again");
        }
    }
}
