//! What Luthien costs: Envoy alone, Envoy with an echo, and Luthien with several policies, side by side on loopback.
//!
//! `make bench` runs all of it and writes `target/bench.json` and the tables of `docs/performance.md`. The provider and the
//! echo are this program again, as processes of their own, so that the system says what each of them costs.

// It always holds here, and tells clippy that this is no part of the product.
#![cfg(test)]

mod echo;
mod load;
mod plan;
mod process;
mod provider;
mod report;
mod round;
#[path = "../common/streams.rs"]
mod streams;
mod subject;

use std::{net::SocketAddr, path::PathBuf};

use clap::{Parser, Subcommand};

/// Measure what Luthien costs, beside Envoy alone and Envoy with an echo
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    role: Option<Role>,
    /// How often each load is put on each subject, in turn.
    #[arg(long, default_value_t = 5, env = "BENCH_ROUNDS")]
    rounds: usize,
    /// Only loads whose name contains this.
    #[arg(long, default_value = "", env = "BENCH_LOAD")]
    load: String,
    /// Only subjects whose name contains one of these, separated by commas; those that the others are compared with run
    /// anyway.
    #[arg(long, default_value = "", env = "BENCH_SUBJECT")]
    subject: String,
    /// The program to measure, in place of the one that was built with this.
    #[arg(long, value_name = "FILE", env = "MEASURED_PROGRAM")]
    program: Option<PathBuf>,
    /// Write the tables into `docs/performance.md`.
    #[arg(long)]
    write: bool,
    /// What `cargo bench` adds.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Subcommand)]
enum Role {
    /// The provider's part.
    Provider { listen: SocketAddr },
    /// The echo's part.
    Echo { socket: PathBuf },
}

fn main() {
    let args = Args::parse();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    match args.role {
        Some(Role::Provider { listen }) => runtime.block_on(provider::serve(listen)),
        Some(Role::Echo { socket }) => runtime.block_on(echo::serve(&socket)),
        None => runtime.block_on(run(&args)),
    }
}

async fn run(args: &Args) {
    let program = args.program.clone().unwrap_or_else(|| env!("CARGO_BIN_EXE_luthien").into());
    let plan = plan::Plan::new(&args.load, &args.subject, args.rounds);
    let rounds = round::run(&plan, &program).await;
    report::write(&plan, &rounds, args.write);
}
