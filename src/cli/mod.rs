//! What the subcommands of `luthien` do and print, without the process around them.

pub mod check;
pub mod demo_provider;
pub mod envoy_config;
pub mod exec_envoy;
pub mod explain;

use std::path::{Path, PathBuf};

use crate::config::{
    environment::Environment,
    load::{Draft, draft},
    overlay::Override,
    quickstart::quickstart_draft,
    report::{Report, Style},
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
