//! Puts the process together: every long-lived task is visible here.
//!
//! [`App::bind`] returns what is bound, so that a wrong address or a bad rule is an error before anything runs;
//! [`App::run`] runs it until the process is asked to stop. `luthien up` adds Envoy and the demo provider around it.

mod changes;
mod control;
mod listen;
mod records;
mod rules;

use std::{future::pending, io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, UnixListener},
    sync::{mpsc, watch},
};

pub use self::control::{ControlError, SOCKET as CONTROL_SOCKET, end_calls};
use self::{
    changes::Changes,
    listen::{bind_control, bind_extproc, bind_tcp, local_address},
    records::Records,
    rules::Following,
};
use crate::{
    admin::{self, About, Access, AdminState, probe_router, router},
    config::{
        compile::Context,
        environment::Environment,
        live::{Live, ReloadStatus},
        load::Loaded,
        report::Report,
        rotation::LiveSecret,
        secret::SecretError,
        settings::{SecretSource, Settings},
        telemetry::NoCollector,
    },
    envoy::{Address, SocketDir, socket_dir},
    extproc::{self, Gateway, Links, Listener, SetupError, TlsError},
    journal::{
        Journal,
        activity::{Activity, bridge},
    },
    lifecycle::{Drain, Ending, Readiness, Stop},
    policies,
    policy::Rules,
    shared_state::SharedState,
    telemetry::{
        metrics::{Metrics, Models},
        trace::{Collector, Tracing, TracingError},
    },
};

/// How long calls may take to end once their time to drain is over.
pub const LAST_WORDS: Duration = Duration::from_secs(2);

/// Everything that is bound.
pub struct App {
    /// What keeps the process from being ready.
    pub readiness: Readiness,
    /// The settings.
    pub settings: Settings,
    /// Where Envoy reaches the external processor.
    pub extproc_address: Address,
    /// Where the admin listener is.
    pub admin_address: SocketAddr,
    /// The folder of the Unix sockets. Kept for as long as the process runs.
    pub sockets: SocketDir,
    /// Hash of the rules at the start.
    pub rules_hash: String,
    extproc: Listener,
    control: UnixListener,
    admin: TcpListener,
    probe: Option<TcpListener>,
    gateway: Arc<Gateway>,
    left: mpsc::Receiver<extproc::Late>,
    journal: Arc<Journal>,
    tracing: Arc<Tracing>,
    records: Records,
    shared: Option<Arc<SharedState>>,
    admin_state: AdminState,
    access: Access,
    rules: Following,
    changes: Changes,
    reloads: watch::Receiver<ReloadStatus>,
    drain: Drain,
}

/// How calls in flight were left when the process was asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Each came to its end, or was told that it has to end.
    Well,
    /// Some may be cut off: that was asked for.
    AtOnce,
}

/// Why the process does not start.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The rules are wrong.
    #[error("the rules are wrong")]
    Rules(Report),
    /// The rules stand in a cluster that cannot be asked.
    #[error("rules: {0}")]
    Cluster(String),
    /// Something of the settings cannot be used.
    #[error("{0}")]
    Setup(#[from] SetupError),
    /// The certificates of the ext_proc service cannot be used.
    #[error("{0}")]
    Tls(#[from] TlsError),
    /// There is no collector at what is said to be one.
    #[error("{0}")]
    Collector(NoCollector),
    /// Traces cannot be sent.
    #[error("traces: {0}; correct `telemetry.traces.endpoint` or the OTEL_EXPORTER_OTLP_* variables")]
    Traces(#[from] TracingError),
    /// Calls cannot be recorded.
    #[error("recording: {0}")]
    Recording(String),
    /// A token of the admin listener cannot be read.
    #[error("admin: {0}")]
    Token(SecretError),
    /// An address cannot be listened on.
    #[error("cannot listen on {address} for {role}: {error}; {remedy}")]
    Listen {
        /// The address.
        address: String,
        /// For whom.
        role: &'static str,
        /// What the system says.
        error: io::Error,
        /// What to do.
        remedy: &'static str,
    },
    /// The state folder cannot be used.
    #[error("the state folder {} cannot be used: {error}; name another with --state-dir", path.display())]
    State {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// A server ended.
    #[error("the {role} listener ended: {error}")]
    Serve {
        /// Which one.
        role: &'static str,
        /// What it says.
        error: String,
    },
}

impl App {
    /// Compiles the rules and binds every listener.
    pub async fn bind(loaded: Loaded, environment: &Environment) -> Result<Self, AppError> {
        let Loaded { settings, file, base, rules: source, state, .. } = loaded;
        let (changes, drift) = Changes::of(&settings, &base, file, environment);
        let readiness = Readiness::default();
        let context = Context::of(&settings, &base, environment);
        let reach = Arc::clone(&context.reach);
        let shared = reach.shared.clone();
        let about = Arc::new(About::of(&settings, &source));
        let (live, reloads, rules) = rules::begin(source, context, environment, &readiness).await?;
        let rules_hash = live.current().hash.clone();
        let told_apart = &settings.telemetry.metrics;
        let models = Models::new(&told_apart.models, told_apart.most_models as usize);
        let metrics = Arc::new(Metrics::new(models, Box::new(move || reach.circuits())));
        let activity = match &shared {
            Some(_) => Activity::default().of_replica(&replica()),
            None => Activity::default(),
        };
        let activity = Arc::new(activity);
        let redactor = Arc::new(settings.recording.redactor().map_err(AppError::Recording)?);
        let journal = Arc::new(Journal::new(Arc::clone(&metrics), Arc::clone(&activity), Arc::clone(&redactor)));
        let (drain, draining) = Drain::new();
        let (late, left) = extproc::late();
        let (records, recorder) = Records::open(&settings, (&base, environment), &state, redactor, &metrics)?;
        let tracing = Arc::new(trace(&settings, environment)?);
        let links = Links {
            journal: Arc::clone(&journal),
            tracing: Arc::clone(&tracing),
            recorder: Some(recorder),
            draining,
            late,
        };
        let gateway = Gateway::new(settings.clone(), &base, environment, Arc::<Live<Rules>>::clone(&live), links)?;
        let sockets = socket_dir(&state).map_err(|error| AppError::State { path: state.clone(), error })?;
        let (extproc, extproc_address) = bind_extproc(&settings, sockets.path()).await?;
        let control = bind_control(&extproc_address, sockets.path()).await?;
        let admin =
            bind_tcp(&settings.admin.listen, "the admin listener", "set LUTHIEN_ADMIN_PORT to another port").await?;
        let admin_address = local_address(&admin, &settings.admin.listen)?;
        let probe = match &settings.probe {
            Some(probe) => Some(bind_tcp(&probe.listen, "probes", "change `probe.listen`").await?),
            None => None,
        };
        let secret = |source: &SecretSource| LiveSecret::new(source, &base, environment).map_err(AppError::Token);
        let access = match &settings.admin.token {
            Some(token) => {
                Access::tokens(secret(token)?, settings.admin.viewer_token.as_ref().map(secret).transpose()?)
            }
            None => Access::loopback(),
        };
        let admin_state = AdminState {
            readiness: readiness.clone(),
            rules: reloads.clone(),
            drift,
            live,
            metrics,
            activity,
            store: records.store(),
            room: records.room(),
            about,
        };
        Ok(Self {
            readiness,
            settings,
            extproc_address,
            admin_address,
            sockets,
            rules_hash,
            extproc,
            control,
            admin,
            probe,
            gateway: Arc::new(gateway),
            left,
            journal,
            tracing,
            records,
            shared,
            admin_state,
            access,
            rules,
            changes,
            reloads,
            drain,
        })
    }

    /// Runs until `stop` is asked for; then calls in flight get their time to end, unless it is asked for again. `beside`
    /// runs for as long. `empty` comes first at the end: it may wait for calls, at most for that time, while new ones are
    /// still served.
    pub async fn run(
        self,
        mut stop: Stop,
        beside: impl Future<Output = Result<(), AppError>>,
        empty: impl AsyncFnOnce(Duration),
    ) -> Result<Ended, AppError> {
        let Self {
            readiness,
            settings,
            sockets,
            extproc,
            control,
            admin,
            probe,
            gateway,
            left,
            journal,
            tracing,
            records,
            shared,
            admin_state,
            access,
            rules,
            changes,
            reloads,
            drain,
            ..
        } = self;
        let _sockets = sockets;
        let limit = settings.timeouts.drain.get();
        let identity = if let Listener::Tls(_, identity) = &extproc { Some(Arc::clone(identity)) } else { None };
        let changes = changes.follow(&admin_state, &settings, shared.clone(), identity);
        let extproc = extproc::serve(extproc, Arc::clone(&gateway));
        let admin = admin::serve(admin, router(admin_state.clone(), access));
        let probe = async {
            match probe {
                Some(listener) => admin::serve(listener, probe_router(admin_state.clone())).await,
                None => pending().await,
            }
        };
        // Ends with the last call.
        let late = async {
            extproc::decide_late(left, journal).await;
            pending::<()>().await;
        };
        let bridge = async {
            match shared {
                Some(shared) => Box::pin(bridge(Arc::clone(&admin_state.activity), shared)).await,
                None => pending().await,
            }
        };
        let ending = async {
            stop.requested().await;
            readiness.pending("process", "is shutting down").leave();
            let ending = Ending::within(limit);
            let ended = async {
                empty(limit).await;
                // Nobody new comes, and whoever is there gets what is left of the time that is configured.
                drain.begin(ending);
                // The calls themselves end when the time is over; they need a moment to say so.
                let _ = tokio::time::timeout_at(ending.at() + LAST_WORDS, gateway.idle()).await;
            };
            tokio::select! {
                () = ended => Ended::Well,
                () = stop.requested() => {
                    tracing::warn!("asked to stop again: calls in flight are cut off");
                    Ended::AtOnce
                }
            }
        };
        let ended = |role, result: Result<(), String>| {
            Err(AppError::Serve { role, error: result.err().unwrap_or_else(|| "no reason given".to_owned()) })
        };
        let serving = async {
            tokio::select! {
            ended = ending => Ok(ended),
            result = extproc => ended("ext_proc", result.map_err(|error| error.to_string())),
            never = admin => match never {},
            never = probe => match never {},
            () = late => Ok(Ended::Well),
            () = bridge => Ok(Ended::Well),
            () = control::serve(control, &drain) => Ok(Ended::Well),
            () = Box::pin(rules.follow()) => ended("rules", Ok(())),
            () = changes => ended("files", Ok(())),
            () = rules::tell(reloads, &admin_state) => Ok(Ended::Well),
            result = beside => result.map(|()| Ended::Well),
            }
        };
        let (no_more, last) = watch::channel(false);
        let mut recording = Box::pin(records.run(last));
        // What calls drafted last is recorded when none of them is left.
        let result = tokio::select! {
            result = Box::pin(serving) => result,
            () = &mut recording => return ended("recording", Ok(())),
        };
        drop(gateway);
        let _ = no_more.send(true);
        recording.await;
        tracing.finish().await;
        result
    }
}

/// How this replica is told from others: by its host, which in Kubernetes is its pod.
fn replica() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Where traces go.
fn trace(settings: &Settings, environment: &Environment) -> Result<Tracing, AppError> {
    let collector = settings.telemetry.traces.collector(environment).map_err(AppError::Collector)?;
    let Some(collector) = collector else { return Ok(Tracing::default()) };
    let asked = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
    if let Some(protocol) = asked.iter().find_map(|name| environment.get(name)).filter(|protocol| *protocol != "grpc") {
        tracing::warn!(protocol, "traces are sent over OTLP gRPC only; name the collector's port for gRPC, as 4317");
    }
    policies::http::choose_cryptography();
    let resource = vec![("service.version", env!("CARGO_PKG_VERSION").to_owned()), ("service.instance.id", replica())];
    tracing::info!(endpoint = collector.endpoint, content = collector.content, "calls are traced");
    Ok(Tracing::to(Collector { resource, ..collector })?)
}
