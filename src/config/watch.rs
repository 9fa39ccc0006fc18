//! Reloads the rules when their document changes: swaps in the new ones when they are good, keeps the last good ones
//! when not.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use tokio::sync::watch;

use super::{
    document::Document,
    folder::FolderWatch,
    live::{Live, ReloadStatus},
    report::Report,
};
use crate::policy::Rules;

/// Makes rules of a document.
pub type Compile = dyn Fn(&Document) -> Result<Rules, Report> + Send + Sync;

/// What [`watch_rules`] works on.
pub struct RulesWatch {
    /// The rules document.
    pub file: PathBuf,
    /// The text that the rules in force were made of.
    pub text: Arc<str>,
    /// The rules in force.
    pub live: Arc<Live<Rules>>,
    /// Makes rules of a document.
    pub compile: Arc<Compile>,
    /// Where the results are told.
    pub status: watch::Sender<ReloadStatus>,
}

/// Watches the rules document for as long as it is polled. Content that did not change does nothing.
pub async fn watch_rules(watch: RulesWatch) {
    let RulesWatch { file, text, live, compile, status } = watch;
    let mut folder = FolderWatch::of([file.as_path()]);
    let mut seen: Result<Arc<str>, String> = Ok(text);
    loop {
        folder.changed().await;
        let now = match tokio::fs::read_to_string(&file).await {
            Ok(text) => Ok(Arc::from(text)),
            Err(error) => Err(format!("{}: the rules document cannot be read: {error}", file.display())),
        };
        if now == seen {
            continue;
        }
        seen.clone_from(&now);
        let result = match now {
            Ok(text) => compiled(&file, text, &compile).await,
            Err(error) => Err(error),
        };
        tell(result, &file, &live, &status);
    }
}

/// Compiles on a thread that may block: large patterns take their time.
pub(super) async fn compiled(file: &Path, text: Arc<str>, compile: &Arc<Compile>) -> Result<Rules, String> {
    let (file, compile) = (file.to_owned(), Arc::clone(compile));
    let work = move || Document::parse(file, &*text).and_then(|document| compile(&document));
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(|report| report.to_string()),
        Err(error) => Err(format!("the rules could not be compiled: {error}")),
    }
}

fn tell(result: Result<Rules, String>, file: &Path, live: &Live<Rules>, status: &watch::Sender<ReloadStatus>) {
    let file = file.display();
    match result {
        Ok(rules) => {
            let (hash, policies) = (rules.hash.clone(), rules.entries.len());
            live.replace(rules);
            tracing::info!(%file, %hash, policies, "rules reloaded");
            status.send_modify(|status| {
                status.hash = hash;
                status.loaded_at = SystemTime::now();
                status.last_error = None;
                status.reloads_ok += 1;
            });
        }
        Err(error) => {
            let in_force = live.current().hash.clone();
            let reason = error.lines().next().unwrap_or_default();
            tracing::error!(%file, %in_force, reason, "rules refused, the last good ones stay in force");
            status.send_modify(|status| {
                status.last_error = Some(error);
                status.reloads_failed += 1;
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

    use super::*;

    struct Running {
        folder: tempfile::TempDir,
        live: Arc<Live<Rules>>,
        status: watch::Receiver<ReloadStatus>,
        task: tokio::task::JoinHandle<()>,
    }

    impl Drop for Running {
        fn drop(&mut self) {
            self.task.abort();
        }
    }

    /// Rules that are only a hash: the text itself. `bad` is refused.
    fn compile(document: &Document) -> Result<Rules, Report> {
        if document.text.starts_with("bad") {
            return Err(Report::of_file(&document.path, "bad", "make it good"));
        }
        Ok(Rules { hash: document.text.to_string(), ..Rules::default() })
    }

    fn start(folder: tempfile::TempDir, name: &str) -> Running {
        let file = folder.path().join(name);
        let document = Document::read(&file).expect("a document");
        let first = compile(&document).expect("rules");
        let (sender, status) = watch::channel(ReloadStatus::first(&first));
        let live = Arc::new(Live::new(first));
        let watch = RulesWatch {
            file,
            text: Arc::clone(&document.text),
            live: Arc::clone(&live),
            compile: Arc::new(compile),
            status: sender,
        };
        #[expect(clippy::disallowed_methods, reason = "the test stands in for `app`")]
        let task = tokio::spawn(watch_rules(watch));
        Running { folder, live, status, task }
    }

    impl Running {
        async fn next(&mut self) -> ReloadStatus {
            let changed = tokio::time::timeout(Duration::from_secs(20), self.status.changed());
            changed.await.expect("a result in time").expect("the watch runs");
            self.status.borrow_and_update().clone()
        }
    }

    #[tokio::test]
    async fn good_rules_are_taken_and_bad_ones_are_not() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("policy.yaml"), "one").expect("written");
        let mut running = start(folder, "policy.yaml");
        let file = running.folder.path().join("policy.yaml");

        fs::write(&file, "two").expect("written");
        let status = running.next().await;
        assert_eq!((status.hash.as_str(), status.reloads_ok, running.live.current().hash.as_str()), ("two", 1, "two"));

        fs::write(&file, "bad").expect("written");
        let status = running.next().await;
        assert_eq!((status.hash.as_str(), status.reloads_failed), ("two", 1));
        assert!(status.last_error.is_some_and(|error| error.contains("make it good")));
        assert_eq!(running.live.current().hash, "two");

        // As editors do: a new file, renamed over the old one.
        fs::write(running.folder.path().join(".policy.yaml.swp"), "three").expect("written");
        fs::rename(running.folder.path().join(".policy.yaml.swp"), &file).expect("renamed");
        let status = running.next().await;
        assert_eq!((status.hash.as_str(), status.last_error, status.reloads_ok), ("three", None, 2));

        // The same content again is no reload; what comes after it is.
        fs::write(&file, "three").expect("written");
        fs::remove_file(&file).expect("removed");
        let status = running.next().await;
        assert_eq!((status.reloads_ok, status.reloads_failed), (2, 2));
        assert!(status.last_error.is_some_and(|error| error.contains("cannot be read")));
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_swapped_configmap_is_seen() {
        use std::os::unix::fs::symlink;

        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let write = |version: &str, text: &str| {
            fs::create_dir(at(version)).expect("a folder");
            fs::write(at(version).join("policy.yaml"), text).expect("written");
        };
        let (first, second) = ("..2026_01_01_00_00_00.1", "..2026_01_01_00_01_00.2");
        write(first, "one");
        symlink(first, at("..data")).expect("a link");
        symlink("..data/policy.yaml", at("policy.yaml")).expect("a link");
        let mut running = start(folder, "policy.yaml");
        let at = |name: &str| running.folder.path().join(name);
        // As kubelet does: a new folder, a new link to it, the link renamed over the old one, the old folder removed.
        fs::create_dir(at(second)).expect("a folder");
        fs::write(at(second).join("policy.yaml"), "two").expect("written");
        symlink(second, at("..data_tmp")).expect("a link");
        fs::rename(at("..data_tmp"), at("..data")).expect("renamed");
        fs::remove_dir_all(at(first)).expect("removed");
        let status = running.next().await;
        assert_eq!((status.hash.as_str(), status.last_error), ("two", None));
    }
}
