//! Notices that files may have changed. What has become of them, whoever asked finds out by reading them.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use notify::{
    EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode},
};
use tokio::{
    sync::Notify,
    time::{Interval, MissedTickBehavior, interval, sleep},
};

/// How long a folder must have something new before it is looked at: an editor's save is several steps.
const SETTLE: Duration = Duration::from_millis(150);

/// How often files are read without an event, for file systems that tell none (network mounts, some containers).
const POLL: Duration = Duration::from_secs(5);

/// Watches the folders of files.
///
/// The folders and not the files, because editors put a new file in the place of the old one and Kubernetes swaps a symbolic
/// link beside it. Dropped, it watches no more.
#[derive(Debug)]
pub struct FolderWatch {
    changed: Arc<Notify>,
    poll: Interval,
    _watchers: Vec<RecommendedWatcher>,
}

impl FolderWatch {
    /// Watches the folders in which these files stand.
    pub fn of<'p>(files: impl IntoIterator<Item = &'p Path>) -> Self {
        let changed = Arc::new(Notify::new());
        let folders: BTreeSet<PathBuf> = files.into_iter().map(folder).collect();
        // A folder each: one that cannot be watched does not keep the others from it.
        let watchers = folders.iter().filter_map(|folder| watcher(folder, &changed)).collect();
        let mut poll = interval(POLL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { changed, poll, _watchers: watchers }
    }

    /// Waits until something may have changed. Returns at once the first time: it may have been before anybody watched.
    pub async fn changed(&mut self) {
        tokio::select! {
            () = self.changed.notified() => sleep(SETTLE).await,
            _ = self.poll.tick() => {}
        }
    }
}

fn folder(file: &Path) -> PathBuf {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new(".")).to_owned()
}

/// Rings `changed` when something happens in the folder. Without it there is still the poll.
fn watcher(folder: &Path, changed: &Arc<Notify>) -> Option<RecommendedWatcher> {
    let ring = Arc::clone(changed);
    let handler = move |event: notify::Result<notify::Event>| {
        // Reading is an event too, also our own: without this whoever waits would wake himself for ever.
        let is_read = event.is_ok_and(|event| match event.kind {
            EventKind::Access(kind) => kind != AccessKind::Close(AccessMode::Write),
            EventKind::Any | EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_) | EventKind::Other => {
                false
            }
        });
        if !is_read {
            ring.notify_one();
        }
    };
    let watcher = notify::recommended_watcher(handler).and_then(|mut watcher| {
        watcher.watch(folder, RecursiveMode::NonRecursive)?;
        Ok(watcher)
    });
    watcher
        .inspect_err(|error| {
            let (folder, every) = (folder.display(), POLL.as_secs());
            tracing::warn!(%folder, %error, "folder cannot be watched, its files are read every {every} s instead");
        })
        .ok()
}
