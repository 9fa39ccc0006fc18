//! What the subcommands of `luthien` do and print, without the process around them.

pub mod call;
pub mod check;
pub mod client_env;
pub mod crd;
pub mod demo_provider;
pub mod doctor;
pub mod drain;
pub mod envoy_config;
pub mod exec_envoy;
pub mod explain;
pub mod healthcheck;
pub mod serve;
pub mod test_policy;
pub mod up;

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use crate::{
    app::AppError,
    config::{
        environment::Environment,
        load::{Draft, Loaded, draft},
        overlay::Override,
        quickstart::quickstart_draft,
        report::{Report, Style},
    },
    envoy::{FindError, PortError},
};

/// What a subcommand needs from the process that it runs in.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'s> {
    /// The environment variables.
    pub environment: &'s Environment,
    /// The working directory.
    pub folder: &'s Path,
    /// How reports look.
    pub style: Style,
}

/// The settings in `config`, or in the file that `LUTHIEN_CONFIG` names, or the built-in ones.
pub fn settings(
    config: Option<&PathBuf>,
    overrides: &[Override],
    surroundings: Surroundings<'_>,
) -> Result<Draft, Report> {
    let Surroundings { environment, folder, .. } = surroundings;
    match config.map(PathBuf::as_path).or_else(|| environment.get("LUTHIEN_CONFIG").map(Path::new)) {
        Some(file) if file == Path::new("-") => draft(file, overrides, environment),
        Some(file) => draft(&folder.join(file), overrides, environment),
        None => quickstart_draft(folder, overrides, environment),
    }
}

/// Why a subcommand ends with an error.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// The configuration is wrong; every problem is in the report.
    #[error("the configuration is wrong")]
    Report(Report),
    /// The process cannot be put together, or a part of it ended.
    #[error(transparent)]
    App(AppError),
    /// There is no Envoy.
    #[error(transparent)]
    Envoy(#[from] FindError),
    /// A port is taken.
    #[error(transparent)]
    Port(#[from] PortError),
    /// Envoy's configuration cannot be made.
    #[error(transparent)]
    EnvoyConfig(#[from] envoy_config::EnvoyConfigError),
    /// The demo provider ended.
    #[error(transparent)]
    Demo(#[from] demo_provider::DemoProviderError),
    /// Calls may be cut off.
    #[error(transparent)]
    Drain(#[from] drain::DrainError),
    /// What was asked for its health is not healthy.
    #[error(transparent)]
    Unhealthy(#[from] healthcheck::HealthcheckError),
    /// The system refuses something.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Anything else, said whole.
    #[error("{0}")]
    Sentence(String),
}

impl From<Report> for Failed {
    fn from(report: Report) -> Self {
        Self::Report(report)
    }
}

impl From<AppError> for Failed {
    fn from(error: AppError) -> Self {
        if let AppError::Rules(report) = error { Self::Report(report) } else { Self::App(error) }
    }
}

/// A listener's address, as the settings have it.
fn address(listen: &str) -> Result<SocketAddr, Failed> {
    listen.parse().map_err(|_| Failed::Sentence(format!("`{listen}` is not an address; write it as 127.0.0.1:8080")))
}

/// The settings of a process that runs, with warnings logged.
fn load_settings(
    config: Option<&PathBuf>,
    state: Option<&PathBuf>,
    surroundings: Surroundings<'_>,
) -> Result<Loaded, Report> {
    let mut loaded = settings(config, &[], surroundings)?.finish(surroundings.environment)?;
    if let Some(state) = state {
        loaded.state.clone_from(state);
    }
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    Ok(loaded)
}
