//! Measurements of providers and simulators, with the target next to each number that has one.
//!
//! Programs are built as for a release. Compared programs are measured in turns in the same run, so that a busy machine
//! affects all of them. Absolute numbers of a shared machine are noisy; ratios are much less so.

mod applies;
mod configurations;
mod dispatcher;
mod fleet;
mod lines;
mod memory;
mod plans;
mod programs;
mod report;
mod simulators;
mod spread;
mod start;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use farm::harness::Core;

use crate::narrate::Narrator;
use crate::setup::Ready;
use programs::Programs;
use report::Report;

/// Options of the measurements.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// Parts to measure; default everything.
    #[arg(value_enum)]
    parts: Vec<Part>,
    /// Number of starts of each program.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    starts: u32,
    /// Number of runs of each plan.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Number of resources in plans and in measurements of memory.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    resources: u32,
    /// Number of VMs that an apply creates.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    vms: u32,
    /// Number of VM lives in the simulator.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    lives: u32,
    /// Writes all numbers to this file as well.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Fails if a target is missed.
    #[arg(long)]
    strict: bool,
}

/// A part of the measurements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Code lines of a minimal resource.
    Lines,
    /// Time from a provider's start to its handshake.
    Start,
    /// Duration of a plan.
    Plans,
    /// Duration of an apply of started VMs.
    Applies,
    /// Peak memory of providers.
    Memory,
    /// Start, requests and lives of the simulators.
    Simulators,
    /// The dispatcher: one pass of its decisions, bursts, commits, a lost ledger, memory and restarts.
    Fleet,
}

/// Builds the programs, measures, and prints the results.
pub(crate) async fn run(narrator: &Narrator, ready: &Ready, options: &Options) -> Result<()> {
    let wanted = |part| options.parts.is_empty() || options.parts.contains(&part);
    let opentofu = Core::probe(&ready.opentofu)?;
    let terraform = Core::probe(Path::new("terraform")).ok();
    let cores: Vec<Core> = std::iter::once(opentofu.clone()).chain(terraform).collect();
    let mut rows = Vec::new();
    if wanted(Part::Lines) {
        rows.extend(lines::measure()?);
    }
    if [Part::Start, Part::Plans, Part::Memory].into_iter().any(wanted) {
        narrator.say("building the providers as they are released, in Rust and in Go");
        let programs = Programs::build(&ready.go)?;
        if wanted(Part::Start) {
            narrator.say(&format!("starting each provider {} times", options.starts));
            rows.extend(start::measure(&programs, options.starts)?);
        }
        for core in cores.iter().filter(|_| wanted(Part::Plans)) {
            narrator.say(&format!("planning {} resources {} times with {core}", options.resources, options.rounds));
            rows.extend(plans::measure(core, &programs, options.resources, options.rounds).await?);
        }
        if wanted(Part::Memory) {
            narrator.say(&format!("reading the memory of each provider with {} resources", options.resources));
            rows.extend(memory::measure(&opentofu, &programs, options.resources).await?);
        }
    }
    if wanted(Part::Applies) {
        narrator.say(&format!("making {} VMs at the pace of a real server, several times", options.vms));
        rows.extend(applies::measure(&opentofu, &programs::pxci()?, options.vms).await?);
    }
    if wanted(Part::Simulators) {
        narrator.say("building and measuring the simulators");
        rows.extend(simulators::measure(&programs::simulators()?, options.lives)?);
    }
    if wanted(Part::Fleet) {
        narrator.say("building the dispatcher and its simulation, and measuring passes of the fleet");
        let (passes, measuring, program) = programs::dispatcher()?;
        rows.extend(fleet::measure(&passes)?);
        narrator.say("measuring the dispatcher");
        rows.extend(dispatcher::measure(&measuring, &program)?);
    }
    print(&Report::new(&cores, rows), options)
}

fn print(report: &Report, options: &Options) -> Result<()> {
    println!("\n{report}");
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(&report.json()).context("writing the numbers as JSON")?;
        fs::write(path, text + "\n").with_context(|| format!("writing {}", path.display()))?;
    }
    match report.missed() {
        0 => Ok(()),
        missed if options.strict => bail!("{missed} targets are missed"),
        _ => Ok(()),
    }
}

/// Names of the measured programs, the same in every table.
mod subject {
    pub(super) const SHELF: &str = "reference provider (examples/shelf)";
    pub(super) const PAPER: &str = "minimal provider (examples/paper)";
    pub(super) const GO: &str = "the same in Go (comparison/go)";
    pub(super) const PXCI: &str = "terraform-provider-pxci";
    pub(super) const BUILT_IN: &str = "terraform_data, built into the core";
}
