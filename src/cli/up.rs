//! `luthien up`: everything on one machine. Envoy as a supervised child, the external processor, the admin listener, and
//! the demo provider where an upstream wants it.

use std::{
    fs::{self, DirBuilder},
    future::pending,
    io::{self, Write},
    net::SocketAddr,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::net::TcpListener;

use super::{Failed, Surroundings, address, envoy_config, envoy_config::EnvoyConfigError, load_settings};
use crate::{
    app::{App, AppError, Ended},
    config::{load::Loaded, settings::Settings, source::RulesSource},
    demo,
    envoy::{
        AdminClient, Launch, Patience, Placement, Supervisor, Tracer, default_concurrency, empty, ensure_free,
        find_envoy, secret_files, to_yaml, tool_folders,
    },
    lifecycle::Stop,
};

/// How long Envoy may take to be ready.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// How long Envoy may take to end.
const ENVOY_GRACE: Duration = Duration::from_secs(5);

/// Run everything on this machine: Envoy, the policy service, and a demo provider where no key is set
#[derive(Debug, Clone, clap::Args)]
pub struct UpArgs {
    /// The settings file [default: built-in settings: real providers where `OPENAI_API_KEY` or `ANTHROPIC_API_KEY` is
    /// set, otherwise the demo provider].
    #[arg(long, short, value_name = "FILE", env = "LUTHIEN_CONFIG")]
    pub config: Option<PathBuf>,
    /// The folder for sockets, logs and other state [default: `.luthien` beside the settings file].
    #[arg(long, value_name = "DIR", env = "LUTHIEN_STATE_DIR")]
    pub state_dir: Option<PathBuf>,
}

/// Runs `luthien up` until the process is asked to stop, or Envoy ends.
pub async fn up(args: &UpArgs, surroundings: Surroundings<'_>, out: &mut dyn Write) -> Result<(), Failed> {
    let stop = Stop::listen()?;
    let loaded = load_settings(args.config.as_ref(), args.state_dir.as_ref(), surroundings)?;
    let tools = tool_folders(surroundings.folder, std::env::current_exe().ok().as_deref());
    let envoy = find_envoy(surroundings.environment.get("LUTHIEN_ENVOY").map(Path::new), &tools)?;
    let listen = address(&loaded.settings.listen)?;
    ensure_free(listen, "clients", "LUTHIEN_PORT")?;
    ensure_free(address(&loaded.settings.admin.listen)?, "the admin listener", "LUTHIEN_ADMIN_PORT")?;
    if let Some(stats) = &loaded.settings.telemetry.metrics.envoy_listen {
        ensure_free(address(stats)?, "Envoy's metrics", "LUTHIEN_TELEMETRY_METRICS_ENVOY_LISTEN")?;
    }
    let state = std::path::absolute(&loaded.state)?;
    let (rules, mut summary) = (rules_name(&loaded), Vec::new());
    let app = App::bind(loaded, surroundings.environment).await?;
    // Records, the spool and sockets are in it.
    let made = DirBuilder::new().recursive(true).mode(0o700).create(&state);
    made.map_err(|error| AppError::State { path: state.clone(), error })?;

    let wants_demo = app.settings.upstreams.iter().any(|upstream| upstream.url == "demo");
    let demo = if wants_demo { Some(TcpListener::bind("127.0.0.1:0").await?) } else { None };
    let demo_address = demo.as_ref().map(TcpListener::local_addr).transpose()?;
    let tracer = Tracer::of(&app.settings, surroundings.environment).map_err(EnvoyConfigError::from)?;
    let placement = Placement { tracer, ..placement(&app, &state, demo_address) };
    let config = write_config(&app, &state, &placement)?;
    describe(&app, &rules, &state, &mut summary)?;

    let starting = app.readiness.pending("envoy", "is starting");
    let admin = AdminClient::new(placement.admin.clone());
    let launch = Launch {
        through: vec![std::env::current_exe()?, "exec-envoy".into()],
        envoy,
        config,
        log: state.join("envoy.log"),
        admin: placement.admin,
        concurrency: default_concurrency(),
        ready_within: READY_WITHIN,
    };
    let mut died = None;
    let mut running = None;
    let demo = async {
        match demo {
            Some(listener) => demo::serve(listener).await,
            None => pending().await,
        }
    };
    let envoy = async {
        let supervisor = match Supervisor::start(launch).await {
            Ok(supervisor) => running.insert(supervisor),
            Err(error) => {
                died = Some(error.to_string());
                return Ok(());
            }
        };
        starting.ready();
        // A closed standard output is no reason to end.
        let _ = out.write_all(&summary).and_then(|()| out.flush());
        let death = supervisor.wait().await;
        died = Some(format!("Envoy ended. {death}"));
        Ok(())
    };
    let beside = async {
        tokio::select! {
            result = envoy => result,
            result = demo => result.map_err(|error| AppError::Serve { role: "demo", error: error.to_string() }),
        }
    };
    let empty = async |wait| {
        if let Err(error) = empty(&admin, Patience { notice: Duration::ZERO, wait }).await {
            tracing::warn!(%error, "calls in flight are not waited for");
        }
    };
    let outcome = app.run(stop, beside, empty).await;
    if let Some(supervisor) = running
        && died.is_none()
    {
        if matches!(outcome, Ok(Ended::Well)) {
            // An Envoy that is asked to end drops what it has not sent.
            empty(ENVOY_GRACE).await;
        }
        supervisor.stop(ENVOY_GRACE).await;
    }
    match died {
        Some(reason) => Err(Failed::Sentence(reason)),
        None => Ok(outcome.map(drop)?),
    }
}

fn placement(app: &App, state: &Path, demo: Option<SocketAddr>) -> Placement {
    let said = app.settings.extproc.envoy.as_ref().and_then(|envoy| envoy.address.as_ref()?.parse().ok());
    Placement {
        extproc: said.unwrap_or_else(|| app.extproc_address.clone().reachable()),
        demo: demo.map(Into::into),
        secrets: Some(state.to_owned()),
        ..Placement::local(app.sockets.path(), state)
    }
}

/// Writes Envoy's configuration into the state folder.
fn write_config(app: &App, state: &Path, placement: &Placement) -> Result<PathBuf, Failed> {
    for (path, secret) in secret_files(&app.settings, placement) {
        fs::write(path, to_yaml(&secret).map_err(|error| Failed::Sentence(error.to_string()))?)?;
    }
    let text = envoy_config::document(&app.settings, placement, false)?;
    let path = state.join("envoy.yaml");
    fs::write(&path, text)?;
    Ok(path)
}

fn rules_name(loaded: &Loaded) -> String {
    match &loaded.rules {
        RulesSource::File(path) => format!("{} (reloaded when it changes)", path.display()),
        RulesSource::Embedded => "none: every call passes unchanged".to_owned(),
        RulesSource::ConfigMap(_) | RulesSource::Crd(_) => format!("{} (watched)", loaded.rules.name()),
    }
}

/// What is printed once clients can connect.
fn describe(app: &App, rules: &str, state: &Path, out: &mut Vec<u8>) -> io::Result<()> {
    let Settings { listen, tls, upstreams, .. } = &app.settings;
    let url = format!("{}://{listen}", if tls.is_some() { "https" } else { "http" });
    writeln!(out, "Luthien is ready.\n")?;
    let log_in = if app.settings.admin.token.is_some() { "; log in with the token" } else { "" };
    writeln!(out, "  clients    {url}")?;
    writeln!(out, "  admin      http://{} (open it in a browser{})", app.admin_address, log_in)?;
    writeln!(out, "  rules      {rules}")?;
    for upstream in upstreams {
        let target = if upstream.url == "demo" { "the built-in demo provider" } else { &upstream.url };
        writeln!(out, "  {:<10} {target}", upstream.name)?;
    }
    writeln!(out, "  state      {}\n\nTry:\n", state.display())?;
    let json = "-H 'content-type: application/json'";
    let has_demo = upstreams.iter().any(|upstream| upstream.url == "demo");
    let (gpt, claude) = if has_demo { ("gpt-demo", "claude-demo") } else { ("MODEL", "MODEL") };
    writeln!(
        out,
        "  curl -N {url}/v1/chat/completions {json} \\\n    -d '{{\"model\":\"{gpt}\",\"stream\":true,\"messages\":[{{\"role\":\"user\",\"content\":\"hello\"}}]}}'"
    )?;
    writeln!(
        out,
        "  curl -N {url}/v1/messages {json} -H 'anthropic-version: 2023-06-01' \\\n    -d '{{\"model\":\"{claude}\",\"stream\":true,\"max_tokens\":100,\"messages\":[{{\"role\":\"user\",\"content\":\"tell me a secret\"}}]}}'"
    )?;
    writeln!(
        out,
        "  curl -N {url}/v1/responses {json} \\\n    -d '{{\"model\":\"{gpt}\",\"stream\":true,\"store\":false,\"input\":\"call a tool\"}}'"
    )?;
    writeln!(out, "  curl {url}/v1/models\n")?;
    if has_demo {
        writeln!(out, "Words that the demo provider understands:\n\n{}", demo::words_table())?;
    }
    writeln!(out, "Ctrl-C ends everything.")
}
