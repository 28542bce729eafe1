//! The simulation of the dispatcher, which is a program of its own: it contains the dispatcher, which no other command
//! needs.

use std::process::Command;

use anyhow::{Context as _, Result, bail};
use clap::Args;

/// Settings of a run.
#[derive(Debug, Args)]
pub(crate) struct Options {
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

/// Builds the simulation and runs it.
pub(crate) fn run(options: &Options) -> Result<()> {
    let mut command = Command::new("cargo");
    command.args(["run", "--release", "--quiet", "--locked", "--package", "pxci-simulate", "--"]);
    command.args(["--jobs", &options.jobs.to_string(), "--seed", &options.seed.to_string()]);
    if options.calm {
        command.arg("--calm");
    }
    let status = command.status().context("starting cargo")?;
    if !status.success() {
        bail!("the simulation failed ({status})");
    }
    Ok(())
}
