//! The commands for work on this repository: `cargo xtask --help`.

mod appliance;
mod artifacts;
mod bench;
mod codegen;
mod demo;
mod docs;
mod explore;
mod lines;
mod lint;
mod narrate;
mod setup;
mod sim;
mod simulate;
mod test;

use std::ffi::OsString;
use std::path::PathBuf;

use ::sim_pve::Line;
use anyhow::Result;
use clap::{Args, Parser, Subcommand};

use crate::narrate::Narrator;
use crate::setup::Purpose;

/// The commands of this repository.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Shows the life of a farm on the simulators, from `apply` to a destroyed VM.
    Demo(Simulated),
    /// Starts both simulators for experiments, and a page that shows their contents.
    Sim(sim::Options),
    /// Runs the dispatcher against both simulators in one process on virtual time, with faults, and prints a digest.
    Simulate(simulate::Options),
    /// Runs the linters, all tests and the demo.
    Test {
        #[command(flatten)]
        simulated: Simulated,
        /// Runs only the tests with such guests, which are slow.
        #[arg(long, value_enum)]
        guests: Option<test::Guests>,
    },
    /// Starts a test program for `cargo xtask test`.
    #[command(name = test::RUN_COMMAND, hide = true)]
    RunTestProgram {
        /// The program and its arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<OsString>,
    },
    /// Installs and builds everything that the demo and the tests need.
    Setup,
    /// Builds the dispatcher's appliance and prints its path.
    Appliance,
    /// Replays recorded answers of a real server against the PVE simulator.
    Conformance {
        /// Directory with `world.json` and the recordings.
        directory: PathBuf,
        /// Compares a real server instead of the simulator. ENV is the prefix of the environment variables that name
        /// the server.
        #[arg(long, value_name = "ENV")]
        against: Option<String>,
    },
    /// Regenerates the protocol code from `proto/`.
    Codegen {
        /// Fails if the checked-in code is not up to date; writes nothing.
        #[arg(long)]
        check: bool,
    },
    /// Regenerates the reference pages below `docs/` from the provider's schema and `examples/`.
    Docs {
        /// Fails if the pages are not up to date; writes nothing.
        #[arg(long)]
        check: bool,
    },
    /// Measures providers and simulators, with targets, and compares with the same provider in Go.
    Bench(bench::Options),
    /// Explores the dispatcher's decisions in a small world for as long as it takes.
    Explore(explore::Options),
    /// Runs the linters: formatting, links, shell scripts, licences, clippy.
    Lint,
    /// Counts the lines of code of the product and of the simulators.
    Lines,
}

/// Options of the simulated Proxmox VE.
#[derive(Debug, Args)]
struct Simulated {
    /// Line of Proxmox VE: 8 or 9. Default: `PXCI_ACC_PVE_LINE`, else 9.
    #[arg(long)]
    pve: Option<Line>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let narrator = Narrator::start();
    match Arguments::parse().command {
        Command::Demo(Simulated { pve }) => {
            let ready = setup::run(&narrator, Purpose::Demo)?;
            demo::run(&narrator, &ready, pve).await
        }
        Command::Sim(options) => sim::run(narrator, &options).await,
        Command::Simulate(options) => simulate::run(&options),
        Command::Test { simulated: Simulated { pve }, guests: None } => {
            let ready = setup::run(&narrator, Purpose::Tests)?;
            test::run(&narrator, &ready, pve)
        }
        Command::Test { simulated: Simulated { pve }, guests: Some(test::Guests::Qemu) } => {
            let ready = setup::run(&narrator, Purpose::Machines)?;
            test::run_with_machines(&narrator, &ready, pve)
        }
        Command::RunTestProgram { words } => test::become_program(&words),
        Command::Setup => setup::run(&narrator, Purpose::Tests).map(drop),
        Command::Appliance => {
            println!("{}", artifacts::appliance()?.display());
            Ok(())
        }
        Command::Conformance { directory, against } => test::conformance(&directory, against.as_deref()).await,
        Command::Explore(options) => explore::run(&options),
        Command::Lines => lines::run(&narrator),
        Command::Codegen { check } => codegen::run(check),
        Command::Docs { check } => docs::run(check),
        Command::Bench(options) => {
            let ready = setup::run(&narrator, Purpose::Demo)?;
            bench::run(&narrator, &ready, &options).await
        }
        Command::Lint => {
            let ready = setup::run(&narrator, Purpose::Tests)?;
            test::lint(&narrator, &ready)
        }
    }
}
