//! `luthien exec-envoy`: the hidden step in which a fresh process ties its life to Luthien's and becomes Envoy.

use std::convert::Infallible;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use crate::{
    config::environment::Environment,
    envoy::{ExecError, ExecPlan, INHERITED, exec_envoy},
};

/// Become Envoy, and end when the process that asked for it ends (internal)
#[derive(Debug, Clone, Args)]
pub struct ExecEnvoyArgs {
    /// The process that asks.
    #[arg(long, value_name = "PID")]
    pub parent: u32,
    /// The Envoy binary.
    #[arg(value_name = "ENVOY")]
    pub envoy: PathBuf,
    /// Its arguments.
    #[arg(value_name = "ARGS", trailing_var_arg = true, allow_hyphen_values = true)]
    pub args: Vec<OsString>,
}

/// Becomes Envoy. Returns only when that fails. Nothing else should have been started in this process.
pub fn run(args: ExecEnvoyArgs) -> Result<Infallible, ExecError> {
    let ours = Environment::of_process();
    let environment = INHERITED.iter().filter_map(|name| Some(((*name).to_owned(), ours.get(name)?.to_owned())));
    exec_envoy(&ExecPlan {
        parent: args.parent,
        envoy: args.envoy,
        args: args.args,
        environment: environment.collect(),
    })
}
