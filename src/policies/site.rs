//! Where a policy stands, and what it can reach from there.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use crate::{model::Dialect, policy::OnFault};

use super::http::Client;

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
    /// The key that it is shown, read when it is needed, as it may be replaced.
    pub key: Option<ReadSecret>,
    /// A PEM file of certificate authorities to trust in place of the system's.
    pub ca: Option<PathBuf>,
    /// Time to connect.
    pub connect: Duration,
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

impl Reach {
    /// The provider of that name.
    pub fn provider(&self, name: &str) -> Option<&Provider> {
        self.providers.iter().find(|provider| provider.name == name)
    }
}
