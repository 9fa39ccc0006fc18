//! The `luthien` program.

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use luthien::cli::{demo_provider, exec_envoy};

#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    DemoProvider(demo_provider::DemoProviderArgs),
    #[command(hide = true)]
    ExecEnvoy(exec_envoy::ExecEnvoyArgs),
}

fn main() -> ExitCode {
    let ended: Result<(), Box<dyn std::error::Error>> = match Cli::parse().command {
        Command::DemoProvider(args) => tokio::runtime::Runtime::new()
            .map_err(Into::into)
            .and_then(|runtime| Ok(runtime.block_on(demo_provider::run(&args, &mut std::io::stdout()))?)),
        Command::ExecEnvoy(args) => match exec_envoy::run(args) {
            Ok(never) => match never {},
            Err(error) => Err(error.into()),
        },
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to do if standard error is closed.
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}
