//! The gateway inside the test, behind a real Envoy: for policies that only a test can have.

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use luthien::{
    config::{environment::Environment, live::Live, settings::Settings},
    envoy::{Launch, Placement, Supervisor, bootstrap, to_yaml},
    extproc::{self, Links, Listener},
    journal::{Journal, activity::Activity},
    lifecycle::Drain,
    model::CallHead,
    policy::{Entry, Factory, Mode, OnFault, Policy, Rules, Selector},
    redact::Redactor,
    telemetry::metrics::Metrics,
};
use serde_json::json;
use tempfile::TempDir;
use tokio::{net::UnixListener, task::JoinHandle};

use super::client::{self, Answer, Request, Version};
use crate::fakes::provider::Provider;

/// The gateway inside the test. Dropping it ends Envoy and the service.
pub(crate) struct Inside {
    listen: SocketAddr,
    envoy: Supervisor,
    service: JoinHandle<()>,
    metrics: Arc<Metrics>,
    _drain: Drain,
    _directory: TempDir,
}

/// Makes a policy from a function.
struct Made<F>(F);

impl<F: Fn() -> Box<dyn Policy> + Send + Sync> Factory for Made<F> {
    fn begin(&self, _: &CallHead) -> Box<dyn Policy> {
        (self.0)()
    }
}

/// An entry of the rules for a policy that a function makes.
pub(crate) fn entry(
    on_fault: OnFault,
    timeout: Duration,
    make: impl Fn() -> Box<dyn Policy> + Send + Sync + 'static,
) -> Entry {
    Entry {
        name: "test-policy".into(),
        kind: "test",
        factory: Arc::new(Made(make)),
        selects: Arc::new(Selector::default()),
        mode: Mode::Enforce,
        on_fault,
        timeout,
        record: None,
    }
}

impl Inside {
    /// A gateway in front of `provider` with these policies; `timeouts` as in the settings.
    pub(crate) async fn start(provider: &Provider, timeouts: serde_json::Value, entries: Vec<Entry>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        // Envoy binds without sharing the port, so that a port taken in between is an error and not a mix-up.
        let listen = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let settings: Settings = serde_json::from_value(json!({
            "listen": listen.to_string(),
            "upstreams": [{ "name": "fake", "url": provider.url(), "dialects": ["openai_chat", "openai_responses", "anthropic_messages"] }],
            "timeouts": timeouts,
        }))
        .unwrap();
        let rules = Rules { hash: "test".to_owned(), entries, ..Rules::default() };
        let metrics = Arc::new(Metrics::default());
        let journal = Arc::new(Journal::new(
            Arc::clone(&metrics),
            Arc::new(Activity::default()),
            Arc::new(Redactor::new([]).unwrap()),
        ));
        let (drain, draining) = Drain::new();
        let (late, left) = extproc::late();
        let gateway = extproc::Gateway::new(
            settings.clone(),
            directory.path(),
            &Environment::default(),
            Arc::new(Live::new(rules)),
            Links { journal: Arc::clone(&journal), tracing: Arc::default(), recorder: None, draining, late },
        )
        .unwrap();
        let late = extproc::decide_late(left, journal);
        let placement = Placement::local(directory.path(), directory.path());
        let socket = UnixListener::bind(directory.path().join("extproc.sock")).unwrap();
        #[expect(clippy::disallowed_methods, reason = "the test is the process that the service runs in")]
        let service = tokio::spawn(async move {
            let service = extproc::serve(Listener::Unix(socket), Arc::new(gateway));
            tokio::join!(service, late).0.unwrap();
        });
        let config = directory.path().join("envoy.yaml");
        std::fs::write(&config, to_yaml(&bootstrap(&settings, &placement).unwrap()).unwrap()).unwrap();
        let launch = Launch {
            through: vec![env!("CARGO_BIN_EXE_luthien").into(), "exec-envoy".into()],
            envoy: super::envoy(),
            config,
            log: directory.path().join("envoy.log"),
            admin: placement.admin,
            concurrency: 1,
            ready_within: Duration::from_secs(30),
        };
        let envoy = Supervisor::start(launch).await.unwrap();
        Self { listen, envoy, service, metrics, _drain: drain, _directory: directory }
    }

    /// Sends a request and returns its whole answer.
    pub(crate) async fn call(&self, version: Version, request: Request) -> Answer {
        client::send(version, self.listen, request).await.finish().await
    }

    /// The metrics, as text.
    pub(crate) fn metrics(&self) -> String {
        self.metrics.encode()
    }

    /// Ends Envoy, then the service.
    pub(crate) async fn stop(self) {
        self.envoy.stop(Duration::from_secs(10)).await;
        self.service.abort();
    }
}
