//! The long exploration of the fleet: the tests that end early in the ordinary run go on here.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// Options of the exploration.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Random runs over a larger world.
    #[arg(long, default_value_t = 20_000)]
    seeds: u64,
}

/// Explores until all states are known or a limit is reached, with optimisations, and prints the number of states.
pub(crate) fn run(options: &Options) -> Result<()> {
    let status = Command::new("cargo")
        .args(["test", "--quiet", "--locked", "--release", "--package", "pxci-fleet", "--lib", "--"])
        .args(["--nocapture", "tests::exploration", "tests::simulation"])
        .env("PXCI_EXPLORATION", "whole")
        .env("PXCI_SEEDS", options.seeds.to_string())
        .status()
        .context("starting cargo")?;
    ensure!(status.success(), "the exploration failed");
    Ok(())
}
