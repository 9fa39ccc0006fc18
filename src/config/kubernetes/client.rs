//! The way to the API server, and what its errors mean for who runs this.

use std::{future::Future, time::Duration};

use kube::{Client, Config, Error, config::KubeConfigOptions, config::Kubeconfig};

use super::super::environment::Environment;
use crate::policies::http::choose_cryptography;

/// How long one question may take. Watches take as long as they like.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a watch goes on before it is asked for anew, in seconds; longer silence than that on a connection is no answer any
/// more.
pub(super) const WATCH: u32 = 60;

/// A connection, and the namespace that is meant where none is named.
#[derive(Clone)]
pub struct Connection {
    /// The client.
    pub client: Client,
    /// The namespace of the service account, or of the kubeconfig's context.
    pub namespace: String,
}

/// Connects as `KUBECONFIG` says, and otherwise as a pod does. Nothing is asked yet.
pub async fn connect(environment: &Environment) -> Result<Connection, String> {
    choose_cryptography();
    let mut config = match environment.get("KUBECONFIG") {
        Some(file) => {
            let wrong = |error: &dyn std::error::Error| format!("KUBECONFIG ({file}) cannot be used: {error}");
            let read = Kubeconfig::read_from(file).map_err(|error| wrong(&error))?;
            Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await.map_err(|error| wrong(&error))?
        }
        None => Config::incluster().map_err(|error| {
            format!(
                "there is no API server to ask: {error}; run in a pod with a service account whose token is mounted, or set \
                 KUBECONFIG"
            )
        })?,
    };
    // One that hangs is found by it: a watch in which nothing happens ends before.
    config.read_timeout = Some(Duration::from_secs(u64::from(WATCH) + 15));
    let namespace = environment.get("POD_NAMESPACE").unwrap_or(&config.default_namespace).to_owned();
    let client = Client::try_from(config).map_err(|error| format!("the API server cannot be reached: {error}"))?;
    Ok(Connection { client, namespace })
}

/// Asks, but not for ever. `Err`: the question failed, or nobody answered in time.
pub(super) async fn ask<T>(question: impl Future<Output = Result<T, Error>>) -> Result<T, Failed> {
    match tokio::time::timeout(PATIENCE, question).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(Failed::of(&error)),
        Err(_) => Err(Failed { code: 0, reason: format!("it did not answer within {} s", PATIENCE.as_secs()) }),
    }
}

/// A question failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failed {
    /// The HTTP status; 0 where nobody answered.
    pub(super) code: u16,
    /// What the API server says.
    reason: String,
}

impl Failed {
    pub(super) fn of(error: &Error) -> Self {
        if let Error::Api(status) = error {
            return Self { code: status.code, reason: status.message.clone() };
        }
        let mut reason = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(inner) = source {
            let inner_text = inner.to_string();
            if !reason.contains(&inner_text) {
                reason.push_str(": ");
                reason.push_str(&inner_text);
            }
            source = inner.source();
        }
        Self { code: 0, reason }
    }

    /// Somebody else changed it in the meantime.
    pub(super) fn is_conflict(&self) -> bool {
        self.code == 409
    }

    /// It is not there.
    pub(super) fn is_missing(&self) -> bool {
        self.code == 404
    }

    /// A sentence with what to do. `what` is what was tried, `missing` what to do where the thing is not there.
    pub(super) fn explain(&self, what: &str, missing: &str) -> String {
        let Self { code, reason } = self;
        match code {
            401 => format!(
                "{what}: the API server does not know who asks; see that the service account's token is mounted"
            ),
            403 => format!(
                "{what}: the API server forbids it ({reason}); give the service account this right, as the chart's Role does"
            ),
            404 => format!("{what}: it is not there; {missing}"),
            0 => format!("{what}: the API server cannot be asked ({reason}); it is tried again"),
            _ => format!("{what}: the API server answers {code} ({reason}); it is tried again"),
        }
    }
}
