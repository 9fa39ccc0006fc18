//! `luthien serve`: the external processor and the admin listener, for an Envoy that is run by others.

use std::path::PathBuf;

use super::{Failed, Surroundings, load_settings};
use crate::{app::App, lifecycle::Stop};

/// Serve the external processor and the admin listener; Envoy is run by others
#[derive(Debug, Clone, clap::Args)]
pub struct ServeArgs {
    /// The settings file [default: the built-in settings].
    #[arg(long, short, value_name = "FILE", env = "LUTHIEN_CONFIG")]
    pub config: Option<PathBuf>,
    /// The folder for the socket and other state [default: `.luthien` beside the settings file].
    #[arg(long, value_name = "DIR", env = "LUTHIEN_STATE_DIR")]
    pub state_dir: Option<PathBuf>,
}

/// Runs `luthien serve` until the process is asked to stop.
pub async fn serve(args: &ServeArgs, surroundings: Surroundings<'_>) -> Result<(), Failed> {
    let stop = Stop::listen()?;
    let loaded = load_settings(args.config.as_ref(), args.state_dir.as_ref(), surroundings)?;
    let app = App::bind(loaded, surroundings.environment).await?;
    tracing::info!(ext_proc = %app.extproc_address, admin = %app.admin_address, rules = app.rules_hash, "serving");
    // Whoever runs Envoy empties it first: `luthien drain`.
    app.run(stop, std::future::pending(), async |_| {}).await?;
    Ok(())
}
