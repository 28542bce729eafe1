//! `pxci-simulate`: runs one simulation and prints its report. `cargo xtask simulate` starts it.

use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

/// Runs the dispatcher against the simulators on virtual time.
#[derive(Debug, Parser)]
struct Arguments {
    /// Number of jobs.
    #[arg(long, default_value_t = 1000)]
    jobs: usize,
    /// Source of everything that is left to chance.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Lets nothing fail.
    #[arg(long)]
    calm: bool,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    if let Ok(filter) = EnvFilter::try_from_env("PXCI_LOG") {
        tracing_subscriber::fmt().with_env_filter(filter).without_time().with_writer(std::io::stderr).init();
    }
    let options = simulate::Options { jobs: arguments.jobs, seed: arguments.seed, is_disturbed: !arguments.calm };
    let report = simulate::run(&options)?;
    print!("seed: {}\n{report}", options.seed);
    Ok(if report.breaches.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
