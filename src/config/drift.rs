//! The settings are read at the start. When their file says something else later, this says which keys need a new process.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::Value;
use tokio::sync::watch;

use super::{environment::Environment, folder::FolderWatch, load::load, report::key, settings::Settings, yaml::child};

/// How the settings file differs from the settings in force.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Drift {
    /// Keys with another value, as `timeouts.stall`.
    pub keys: Vec<String>,
    /// What is wrong with the file, so that a new process would not start.
    pub last_error: Option<String>,
}

/// What [`watch_settings`] works on.
pub struct SettingsWatch {
    /// The settings file.
    pub file: PathBuf,
    /// The settings in force, as they were loaded from it.
    pub settings: Settings,
    /// The environment that goes over the file.
    pub environment: Environment,
    /// Where differences are told.
    pub drift: watch::Sender<Drift>,
}

impl Drift {
    /// What people are told. `None`: nothing has to be done.
    pub fn note(&self) -> Option<String> {
        (!self.keys.is_empty()).then(|| format!("restart needed: {}", self.keys.join(", ")))
    }
}

/// Watches the settings file for as long as it is polled. Values count, not how they are written, and variables of the
/// environment are over them as at the start.
pub async fn watch_settings(watch: SettingsWatch) {
    let SettingsWatch { file, settings, environment, drift } = watch;
    let in_force = Arc::new(written(&settings));
    let mut folder = FolderWatch::of([file.as_path()]);
    let mut seen = None;
    loop {
        folder.changed().await;
        let now = tokio::fs::read(&file).await.ok();
        // What is wrong may be so because of another file, as one of a certificate.
        if seen.as_ref() == Some(&now) && drift.borrow().last_error.is_none() {
            continue;
        }
        seen = Some(now);
        let known = drift.borrow().clone();
        let (at, over, before) = (file.clone(), environment.clone(), Arc::clone(&in_force));
        // Checks read files and compile schemas.
        let compared = tokio::task::spawn_blocking(move || compare(&at, &over, &before)).await;
        let compared = compared.unwrap_or_else(|error| Err(error.to_string()));
        let now = match compared {
            Ok(keys) => Drift { keys, last_error: None },
            // Which keys it would change nobody knows; those before are the best guess.
            Err(error) => Drift { last_error: Some(error), ..known.clone() },
        };
        if now != known {
            tell(&file, &known, &now);
            drift.send_replace(now);
        }
    }
}

fn tell(file: &Path, known: &Drift, now: &Drift) {
    let file = file.display();
    if let Some(error) = now.last_error.as_ref().filter(|_| now.last_error != known.last_error) {
        let reason = error.lines().next().unwrap_or_default();
        tracing::error!(%file, reason, "the settings file is wrong, a new process would not start");
    }
    if now.keys != known.keys {
        match now.keys.join(", ") {
            keys if keys.is_empty() => tracing::info!(%file, "the settings file says what is in force again"),
            keys => tracing::warn!(%file, keys, "the settings file has changed, restart needed"),
        }
    }
}

/// The keys whose values differ.
fn compare(file: &Path, environment: &Environment, in_force: &Value) -> Result<Vec<String>, String> {
    let loaded = load(file, &[], environment).map_err(|report| report.to_string())?;
    let mut keys = Vec::new();
    differences(in_force, &written(&loaded.settings), "", &mut keys);
    Ok(keys)
}

fn written(settings: &Settings) -> Value {
    // What was read from a document can be written as one.
    serde_json::to_value(settings).unwrap_or_default()
}

fn differences(one: &Value, other: &Value, pointer: &str, keys: &mut Vec<String>) {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            let added = other.keys().filter(|name| !one.contains_key(*name));
            for name in one.keys().chain(added) {
                let [one, other] = [one, other].map(|fields| fields.get(name).unwrap_or(&Value::Null));
                differences(one, other, &child(pointer, name), keys);
            }
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            for (at, (one, other)) in one.iter().zip(other).enumerate() {
                differences(one, other, &format!("{pointer}/{at}"), keys);
            }
        }
        (one, other) if one != other => keys.push(key(pointer)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

    use super::*;

    const SETTINGS: &str = "upstreams: [{ name: a, url: http://a, dialects: [openai_chat] }]\n";

    struct Running {
        folder: tempfile::TempDir,
        drift: watch::Receiver<Drift>,
        task: tokio::task::JoinHandle<()>,
    }

    impl Drop for Running {
        fn drop(&mut self) {
            self.task.abort();
        }
    }

    impl Running {
        fn start(environment: &Environment) -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let file = folder.path().join("luthien.yaml");
            fs::write(&file, SETTINGS).expect("written");
            let settings = load(&file, &[], environment).unwrap_or_else(|report| panic!("{report}")).settings;
            let (sender, drift) = watch::channel(Drift::default());
            let watch = SettingsWatch { file, settings, environment: environment.clone(), drift: sender };
            #[expect(clippy::disallowed_methods, reason = "the test stands in for `app`")]
            let task = tokio::spawn(watch_settings(watch));
            Self { folder, drift, task }
        }

        /// What is told after the file was replaced.
        async fn next(&mut self, text: &str) -> Drift {
            let new = self.folder.path().join("new");
            fs::write(&new, text).expect("written");
            fs::rename(&new, self.folder.path().join("luthien.yaml")).expect("renamed");
            let changed = tokio::time::timeout(Duration::from_secs(20), self.drift.changed());
            changed.await.expect("a result in time").expect("the watch runs");
            self.drift.borrow_and_update().clone()
        }
    }

    #[tokio::test]
    async fn keys_with_other_values_are_named_until_they_are_put_back() {
        let environment = [("LUTHIEN_TIMEOUTS_STALL", "7s")].into_iter().collect();
        let mut running = Running::start(&environment);
        // The variable is stronger before and after, and a default that is written out is no change.
        let changed = "listen: 127.0.0.1:9\ntimeouts: { stall: 9s, total: 60m, hook: 1s }\ntls: { cert: c, key: c }\n";
        fs::write(running.folder.path().join("c"), "").expect("written");
        let now = running.next(&format!("{changed}{}", SETTINGS.replace("http://a", "http://b"))).await;
        assert_eq!(now.note().as_deref(), Some("restart needed: listen, upstreams[0].url, timeouts.hook, tls"));

        let now = running.next("upstreams: 1\n").await;
        assert!(now.last_error.is_some_and(|error| error.contains("upstreams")) && !now.keys.is_empty());

        let two = format!(
            "{}  - {{ name: b, url: http://b, dialects: [openai_chat] }}\n",
            "upstreams:\n  - { name: a, url: http://a, dialects: [openai_chat] }\n"
        );
        assert_eq!(running.next(&two).await, Drift { keys: vec!["upstreams".to_owned()], last_error: None });

        // The same in other words.
        let same = "# A comment.\nlimits: { calls: 2000 }\nupstreams:\n  - dialects: [openai_chat]\n    url: http://a/\n    name: a\n";
        assert_eq!(running.next(same).await, Drift::default());
        assert_eq!(Drift::default().note(), None);
    }
}
