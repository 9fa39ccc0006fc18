//! Starts a real Envoy with the generated configuration on ports of its own.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use luthien::config::settings::Settings;
use luthien::envoy::{Address, Launch, Placement, StartError, Supervisor, bootstrap, find_envoy, to_yaml};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

/// A directory, settings and a placement in it; Envoy is not started yet.
pub(super) struct Gateway {
    pub(super) dir: TempDir,
    pub(super) settings: Settings,
    pub(super) placement: Placement,
    /// What is changed in the generated configuration.
    change: fn(&mut Value),
}

impl Gateway {
    /// For one demo provider, named `demo`.
    pub(super) fn new() -> Self {
        Self::with(&json!([{ "name": "demo", "url": "demo", "dialects": ["openai_chat", "anthropic_messages"] }]))
    }

    pub(super) fn with(upstreams: &Value) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let settings = serde_json::from_value(json!({ "listen": "127.0.0.1:0", "upstreams": upstreams })).unwrap();
        let mut placement = Placement::local(dir.path(), dir.path());
        placement.demo = Some("127.0.0.1:1".parse().unwrap());
        Self { dir, settings, placement, change: |_| () }
    }

    /// Changes the generated configuration by hand.
    pub(super) fn change(&mut self, change: fn(&mut Value)) {
        self.change = change;
    }

    pub(super) fn extproc_socket(&self) -> PathBuf {
        self.dir.path().join("extproc.sock")
    }

    pub(super) fn launch(&self) -> Launch {
        let config = self.dir.path().join("envoy.yaml");
        let mut document = bootstrap(&self.settings, &self.placement).unwrap();
        (self.change)(&mut document);
        std::fs::write(&config, to_yaml(&document).unwrap()).unwrap();
        Launch {
            through: vec![env!("CARGO_BIN_EXE_luthien").into(), "exec-envoy".into()],
            envoy: envoy(),
            config,
            log: self.dir.path().join("envoy.log"),
            admin: self.placement.admin.clone(),
            concurrency: 1,
            ready_within: Duration::from_secs(30),
        }
    }

    pub(super) async fn start(&self) -> Result<Supervisor, StartError> {
        Supervisor::start(self.launch()).await
    }

    /// Runs `client` while Envoy runs, with Envoy's base URL.
    pub(super) async fn run<T, F: Future<Output = T>>(&self, client: impl FnOnce(String) -> F) -> T {
        let supervisor = self.start().await.unwrap();
        let base = format!("http://{}", self.bound().await);
        let result = client(base).await;
        supervisor.stop(Duration::from_secs(10)).await;
        result
    }

    /// Which port Envoy took, of which only its admin interface knows: `clients::127.0.0.1:PORT`.
    async fn bound(&self) -> String {
        let mut stream = UnixStream::connect(self.dir.path().join("envoy-admin.sock")).await.unwrap();
        stream.write_all(b"GET /listeners HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let line = answer.lines().find_map(|line| line.strip_prefix("clients::"));
        line.unwrap_or_else(|| panic!("no listener in {answer}")).to_owned()
    }
}

/// The Envoy that the tests use. They fail without one: a skipped test would look like a passed one.
pub(super) fn envoy() -> PathBuf {
    let named = std::env::var_os("LUTHIEN_ENVOY").map(PathBuf::from);
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools");
    find_envoy(named.as_deref(), &[tools]).unwrap_or_else(|error| panic!("{error}"))
}

/// A placement's demo provider at `listener`.
pub(super) fn demo_at(listener: &tokio::net::TcpListener) -> Address {
    listener.local_addr().unwrap().into()
}
