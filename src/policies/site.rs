//! Where a policy stands, and what it can reach from there.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use crate::{model::Dialect, policy::OnFault, redact::Redactor, shared_state::SharedState};

pub use super::breaker::Circuit;
use super::{
    http::Client,
    remote::{Grpc, GrpcTarget, Webhook},
};

/// Where a policy stands in the rules.
pub struct Site<'a> {
    /// The policy's name.
    pub name: &'a str,
    /// What a fault of it does.
    pub on_fault: OnFault,
    /// The time that one hook has.
    pub timeout: Duration,
    /// What it can reach.
    pub reach: &'a Reach,
}

/// What policies can reach outside: what the settings name, and nothing else. Whoever may write rules must not be able to
/// send traffic elsewhere. One value for as long as the settings are in force, so that connections and what is known of
/// each other side outlive a change of the rules.
#[derive(Default)]
pub struct Reach {
    /// Providers whose models can judge.
    pub providers: Vec<Provider>,
    /// Policies in other processes.
    pub remotes: Vec<Remote>,
    /// What replicas share, where they do.
    pub shared: Option<Arc<SharedState>>,
    /// Takes credentials out of texts that are logged. `None`: no text is.
    pub redactor: Option<Arc<Redactor>>,
}

/// A policy in another process.
pub struct Remote {
    /// Its name in the settings.
    pub name: String,
    target: Mutex<Option<RemoteTarget>>,
    kind: OnceLock<Result<RemoteKind, String>>,
}

/// Where a policy in another process is.
pub enum RemoteTarget {
    /// Behind gRPC.
    Grpc(GrpcTarget),
    /// Behind a webhook, whose requests are signed with this.
    Webhook(Target, ReadSecret),
}

/// A policy in another process, ready to be asked.
#[derive(Clone)]
pub enum RemoteKind {
    /// Behind gRPC.
    Grpc(Arc<Grpc>),
    /// Behind a webhook.
    Webhook(Arc<Webhook>),
}

/// A provider whose models can be asked.
pub struct Provider {
    /// The upstream's name.
    pub name: String,
    /// The protocol in which it is asked.
    pub dialect: Dialect,
    /// Where it is. `None`: it is the demo provider, which judges nothing.
    target: Mutex<Option<Target>>,
    client: OnceLock<Result<Arc<Client>, String>>,
}

/// Where another side is, and how it is spoken to.
pub struct Target {
    /// What it is called in errors and metrics.
    pub name: String,
    /// Scheme, host, port and prefix.
    pub base: String,
    /// Whether its paths begin with `/v1`.
    pub v1: bool,
    /// The key that it is shown, read when it is needed, as it may be replaced.
    pub key: Option<ReadSecret>,
    /// A PEM file of certificate authorities to trust in place of the system's.
    pub ca: Option<PathBuf>,
    /// Time to connect.
    pub connect: Duration,
    /// The longest answer that is read, in bytes.
    pub longest_answer: usize,
    /// Where replicas tell each other that it is not to be asked.
    pub circuit: Option<Circuit>,
}

/// Reads a secret as it is now, or says why not. The words hold no secret.
pub type ReadSecret = Box<dyn Fn() -> Result<String, String> + Send + Sync>;

impl Provider {
    /// A provider. Without a target it is the demo provider.
    pub fn new(name: String, dialect: Dialect, target: Option<Target>) -> Self {
        Self { name, dialect, target: Mutex::new(target), client: OnceLock::new() }
    }

    /// The client that speaks to it, made when it is first asked for, and why there is none.
    pub(super) fn client(&self) -> Result<Arc<Client>, String> {
        let made = self.client.get_or_init(|| {
            let target = self.target.lock().unwrap_or_else(PoisonError::into_inner).take();
            let target = target.ok_or_else(|| format!("`{}` is the demo provider, which judges nothing", self.name))?;
            Client::new(target).map(Arc::new).map_err(|error| error.to_string())
        });
        made.clone()
    }
}

impl Remote {
    /// A policy at `target`.
    pub fn new(name: String, target: RemoteTarget) -> Self {
        Self { name, target: Mutex::new(Some(target)), kind: OnceLock::new() }
    }

    /// How it is asked, made when it is first needed, and why it cannot be.
    pub(super) fn kind(&self) -> Result<RemoteKind, String> {
        let made = self.kind.get_or_init(|| {
            let target = self.target.lock().unwrap_or_else(PoisonError::into_inner).take();
            match target.ok_or_else(|| "it could not be made".to_owned())? {
                RemoteTarget::Grpc(target) => Ok(RemoteKind::Grpc(Arc::new(Grpc::new(target)))),
                RemoteTarget::Webhook(target, secret) => {
                    let client = Client::new(target).map_err(|error| error.to_string())?;
                    Ok(RemoteKind::Webhook(Arc::new(Webhook { client: Arc::new(client), secret })))
                }
            }
        });
        made.clone()
    }
}

impl Reach {
    /// The policy in another process of that name.
    pub fn remote(&self, name: &str) -> Option<&Remote> {
        self.remotes.iter().find(|remote| remote.name == name)
    }

    /// Who was asked so far, and whether nobody is for a while, because too many questions failed.
    pub fn circuits(&self) -> Vec<(String, bool)> {
        let provider = |provider: &Provider| {
            let client = provider.client.get()?.as_ref().ok()?;
            Some((format!("upstream:{}", provider.name), client.rests()))
        };
        let remote = |remote: &Remote| {
            let rests = match remote.kind.get()?.as_ref().ok()? {
                RemoteKind::Grpc(grpc) => grpc.rests(),
                RemoteKind::Webhook(webhook) => webhook.client.rests(),
            };
            Some((format!("remote:{}", remote.name), rests))
        };
        self.providers.iter().filter_map(provider).chain(self.remotes.iter().filter_map(remote)).collect()
    }

    /// The provider of that name.
    pub fn provider(&self, name: &str) -> Option<&Provider> {
        self.providers.iter().find(|provider| provider.name == name)
    }
}
