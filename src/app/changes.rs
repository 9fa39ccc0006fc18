//! What changes while the process runs, besides the rules: the settings file, secrets, certificates.

use std::{
    future::pending,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::sync::watch;

use super::records;
use crate::{
    admin::AdminState,
    config::{
        drift::{Drift, SettingsWatch, watch_settings},
        environment::Environment,
        rotation::{self, SecretFile, secret_files, watch_secrets},
        settings::Settings,
    },
    extproc::Identity,
    shared_state::SharedState,
};

/// What is watched.
pub(super) struct Changes {
    settings: Option<SettingsWatch>,
    secrets: Vec<SecretFile>,
}

impl Changes {
    /// Of settings that were loaded from `file`, and where their differences from it are told.
    pub(super) fn of(
        settings: &Settings,
        base: &Path,
        file: PathBuf,
        environment: &Environment,
    ) -> (Self, watch::Receiver<Drift>) {
        let (drift, differences) = watch::channel(Drift::default());
        // Settings that are built in, or came through a pipe, stay as they are.
        let watch = file.is_file().then(|| SettingsWatch {
            file,
            settings: settings.clone(),
            environment: environment.clone(),
            drift,
        });
        (Self { settings: watch, secrets: secret_files(settings, base) }, differences)
    }

    /// Follows all of it, for as long as it is polled.
    pub(super) async fn follow(
        self,
        state: &AdminState,
        settings: &Settings,
        shared: Option<Arc<SharedState>>,
        identity: Option<Arc<Identity>>,
    ) {
        let Self { settings: watch, secrets } = self;
        let certificates = async {
            match identity {
                Some(identity) => identity.follow(&state.metrics).await,
                None => pending().await,
            }
        };
        let drift = async {
            match watch {
                Some(watch) => watch_settings(watch).await,
                None => pending().await,
            }
        };
        let secrets = rotate(secrets, state, settings, shared);
        tokio::join!(certificates, drift, secrets, tell_drift(state));
    }
}

/// Tells of secrets that are replaced, and takes up those that do not follow by themselves: passwords of connections that are
/// kept.
async fn rotate(secrets: Vec<SecretFile>, state: &AdminState, settings: &Settings, shared: Option<Arc<SharedState>>) {
    watch_secrets(secrets, |file, read| {
        let (key, path) = (file.key.as_str(), file.path.display());
        state.metrics.changes.rotated(key, read.is_ok());
        let secret = match read {
            Ok(secret) => secret,
            Err(error) => {
                tracing::error!(
                    key,
                    %error,
                    "a secret cannot be read; while its file is gone or empty a client's key or a token is revoked, everything else \
                     stays as it was read last"
                );
                return;
            }
        };
        tracing::info!(key, %path, "a secret was replaced");
        match (key, &shared, &settings.recording.postgres) {
            (rotation::REDIS, Some(shared), _) => shared.reconnect(),
            (rotation::POSTGRES, _, Some(postgres)) => {
                let place = records::postgres_place(postgres, Some(secret.expose()));
                if let Err(error) = place.and_then(|place| state.store.reconnect(&place)) {
                    tracing::error!(key, %error, "the new password cannot be used");
                }
            }
            _ => {}
        }
    })
    .await;
}

/// Tells what the watch on the settings comes to.
async fn tell_drift(state: &AdminState) {
    let mut drift = state.drift.clone();
    while drift.changed().await.is_ok() {
        let now = drift.borrow_and_update().clone();
        state.metrics.changes.restart_needed.set(i64::try_from(now.keys.len()).unwrap_or(i64::MAX));
        state.metrics.changes.settings_rejected.set(i64::from(now.last_error.is_some()));
    }
    // Settings that are built in never change.
    pending::<()>().await;
}
