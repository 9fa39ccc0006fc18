//! The `luthien` program: arguments, runtime, exit codes.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use luthien::{
    cli::{
        self, Failed, Surroundings,
        check::{CheckArgs, check},
        client_env::{ClientEnvArgs, client_env},
        crd,
        demo_provider::{self, DemoProviderArgs},
        doctor::{DoctorArgs, doctor},
        drain::{self, DrainArgs},
        envoy_config::{self, EnvoyConfigArgs},
        exec_envoy::{self, ExecEnvoyArgs},
        explain::{ExplainArgs, explain},
        healthcheck::{self, HealthcheckArgs},
        serve::{ServeArgs, serve},
        test_policy::{TestPolicyArgs, test_policy},
        up::{UpArgs, up},
    },
    config::{environment::Environment, report::Style, settings::LogFormat},
    policies,
    telemetry::log,
};

/// Gives what was let go back to the system, which the C library keeps for each of its threads.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Programmable policy between any AI client and any LLM provider
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Up(UpArgs),
    Serve(ServeArgs),
    /// Check the settings and the rules, and report every problem at once
    Check(CheckArgs),
    /// Say which upstream and which policies a call would get, and why
    Explain(ExplainArgs),
    /// Run rules over a recorded answer, and show what the client gets
    TestPolicy(TestPolicyArgs),
    EnvoyConfig(EnvoyConfigArgs),
    /// Print the definition of the custom resource LuthienPolicy, for `kubectl apply --server-side -f -`
    Crd,
    /// Say what is wrong with an Envoy configuration for LLM traffic, every problem at once
    Doctor(DoctorArgs),
    ClientEnv(ClientEnvArgs),
    DemoProvider(DemoProviderArgs),
    Healthcheck(HealthcheckArgs),
    Drain(DrainArgs),
    #[command(hide = true)]
    ExecEnvoy(ExecEnvoyArgs),
}

fn main() -> ExitCode {
    let command = Cli::parse().command;
    let environment = Environment::of_process();
    let style = Style::of(&io::stderr(), &environment);
    match run(command, &environment, style) {
        Ok(code) => ExitCode::from(code),
        Err(error) => failed(&error, style),
    }
}

fn run(command: Command, environment: &Environment, style: Style) -> Result<u8, Failed> {
    let folder = std::env::current_dir()?;
    let surroundings = Surroundings { environment, folder: &folder, style };
    let out = &mut io::stdout();
    match command {
        Command::Check(args) => Ok(check(&args, policies::all(), surroundings, out)?),
        Command::Explain(args) => Ok(explain(&args, policies::all(), surroundings, out)?),
        Command::TestPolicy(args) => {
            let is_coloured = Style::of(out, environment) == Style::Graphical;
            runtime()?.block_on(test_policy(&args, policies::all(), surroundings, is_coloured, out))
        }
        Command::EnvoyConfig(args) => {
            let loaded = cli::settings(args.config.as_ref(), &[], surroundings)?.finish(environment)?;
            envoy_config::run(&args, &loaded.settings, &loaded.state, environment, out)?;
            Ok(0)
        }
        Command::Crd => Ok(crd::print(out).map(|()| 0)?),
        Command::Doctor(args) => runtime()?.block_on(doctor(&args, surroundings, out)),
        Command::ClientEnv(args) => client_env(&args, surroundings, out).map(|()| 0),
        Command::Up(args) => {
            begin_log(args.config.as_ref(), surroundings);
            runtime()?.block_on(up(&args, surroundings, out)).map(|()| 0)
        }
        Command::Serve(args) => {
            begin_log(args.config.as_ref(), surroundings);
            runtime()?.block_on(serve(&args, surroundings)).map(|()| 0)
        }
        Command::DemoProvider(args) => Ok(runtime()?.block_on(demo_provider::run(&args, out)).map(|()| 0)?),
        Command::Healthcheck(args) => Ok(runtime()?.block_on(healthcheck::run(args)).map(|()| 0)?),
        Command::Drain(args) => Ok(runtime()?.block_on(drain::run(&args, out)).map(|()| 0)?),
        // Becomes Envoy: no runtime has started, so there is no other thread.
        Command::ExecEnvoy(args) => match exec_envoy::run(args) {
            Ok(never) => match never {},
            Err(error) => Err(Failed::Sentence(error.to_string())),
        },
    }
}

/// Begins to log as the settings say; wrong settings are reported when they are loaded.
fn begin_log(config: Option<&std::path::PathBuf>, surroundings: Surroundings<'_>) {
    let settings = cli::settings(config, &[], surroundings).and_then(|draft| draft.finish(surroundings.environment));
    let (format, level) = match &settings {
        Ok(loaded) if loaded.settings.log.format == LogFormat::Json => (log::Format::Json, &*loaded.settings.log.level),
        Ok(loaded) => (log::Format::Pretty, &*loaded.settings.log.level),
        Err(_) => (log::Format::Pretty, "info"),
    };
    log::begin(format, level);
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Runtime::new()
}

/// Says why, on standard error, and returns the exit code.
fn failed(error: &Failed, style: Style) -> ExitCode {
    let err = &mut io::stderr();
    // Nothing is left to do if standard error is closed.
    let _ =
        if let Failed::Report(report) = error { report.render(style, err) } else { writeln!(err, "error: {error}") };
    ExitCode::FAILURE
}
