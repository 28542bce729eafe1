//! Runs all tests, the cheapest first, and prints a summary that hides nothing.

mod event;
mod programs;
mod report;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use sim_pve::Line;

use self::programs::Programs;
pub(crate) use self::programs::{RUN_COMMAND, become_program};
use self::report::Report;
use crate::artifacts;
use crate::lint;
use crate::narrate::Narrator;
use crate::setup::Ready;

/// Kinds of guests that an ordinary run does not use.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(crate) enum Guests {
    /// Whole machines, which QEMU runs.
    Qemu,
}

/// Runs the tests that need whole machines.
pub(crate) fn run_with_machines(narrator: &Narrator, ready: &Ready, line: Option<Line>) -> Result<()> {
    let mut report = Report::default();
    let mut environment = environment(narrator, ready, line)?;
    environment.push(("PXCI_GUESTS", "qemu".into()));
    narrator.say("running machines without a system");
    let machines = Programs {
        examples: &["--package", "pxci-sim-guest"],
        which: &["--package", "pxci-sim-guest", "--test", "guest_qemu"],
        names: &[],
        environment: &environment,
    };
    test_programs(&machines, &mut report, narrator);
    narrator.say("running the life of a machine, from clone to reap");
    let life = Programs {
        examples: &[],
        which: &["--package", "terraform-provider-pxci", "--test", "acceptance"],
        names: &["machines::"],
        environment: &environment,
    };
    test_programs(&life, &mut report, narrator);
    finish(narrator, &report)
}

/// Runs the linters alone.
pub(crate) fn lint(narrator: &Narrator, ready: &Ready) -> Result<()> {
    let mut report = Report::default();
    linters(&mut report, ready, narrator)?;
    finish(narrator, &report)
}

fn linters(report: &mut Report, ready: &Ready, narrator: &Narrator) -> Result<()> {
    lint::run(ready, |name, result| {
        narrator.say(&format!("linted: {name}"));
        report.step(name, result, narrator);
    })?;
    report.skip("security advisories of dependencies (no registry offers their database)");
    Ok(())
}

/// Runs the linters, all test programs, recorded conformance and the demo.
pub(crate) fn run(narrator: &Narrator, ready: &Ready, line: Option<Line>) -> Result<()> {
    let mut report = Report::default();
    linters(&mut report, ready, narrator)?;
    let environment = environment(narrator, ready, line)?;
    report.step("the reference pages", itself(&["docs", "--check"], &environment), narrator);
    let programs = Programs {
        examples: &["--workspace"],
        which: &["--workspace", "--lib", "--bins", "--tests"],
        names: &[],
        environment: &environment,
    };
    test_programs(&programs, &mut report, narrator);
    narrator.say("running the examples in documentation");
    report.step("the examples in documentation", documentation(), narrator);
    narrator.say("running the demo");
    report.step("the demo", itself(&["demo"], &environment), narrator);
    if std::env::var_os("PXCI_PACKER_PLUGIN").is_none() {
        report.skip("shipped template with the current Packer plugin (set PXCI_PACKER and PXCI_PACKER_PLUGIN)");
    }
    finish(narrator, &report)
}

fn environment(narrator: &Narrator, ready: &Ready, line: Option<Line>) -> Result<Vec<(&'static str, PathBuf)>> {
    narrator.say("building the provider and the dispatcher's appliance");
    let mut environment = ready.environment();
    environment.extend([("PXCI_PROVIDER", artifacts::provider()?), ("PXCI_APPLIANCE", artifacts::appliance()?)]);
    environment.extend(line.map(|line| ("PXCI_ACC_PVE_LINE", PathBuf::from(line.to_string()))));
    Ok(environment)
}

fn finish(narrator: &Narrator, report: &Report) -> Result<()> {
    narrator.say("done");
    print!("{}", report.summary());
    match report.failed() {
        0 => Ok(()),
        failed => bail!("{failed} failed"),
    }
}

/// Builds and runs test programs. Programs that do not build or start count as one failure.
fn test_programs(programs: &Programs<'_>, report: &mut Report, narrator: &Narrator) {
    narrator.say("building test programs");
    let result = programs.count().and_then(|count| {
        report.expected += count;
        narrator.say(&format!("running {count} tests"));
        programs.run(report, narrator)
    });
    if let Err(error) = result {
        report.fail("the test programs", &format!("{error:#}"), narrator);
    }
}

/// Tests the examples in documentation comments, whose harness belongs to rustdoc.
fn documentation() -> Result<()> {
    let output = Command::new("cargo").args(["test", "--workspace", "--doc", "--locked", "--quiet"]).output();
    let output = output.context("starting cargo")?;
    if output.status.success() {
        return Ok(());
    }
    bail!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Runs another command of this program in a process of its own, because the tests may have rebuilt the program.
fn itself(words: &[&str], environment: &[(&'static str, PathBuf)]) -> Result<()> {
    let command = Command::new("cargo")
        .args(["run", "--quiet", "--locked", "--package", "xtask", "--"])
        .args(words)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .status();
    let status = command.with_context(|| format!("starting `cargo xtask {}`", words.join(" ")))?;
    if status.success() {
        return Ok(());
    }
    bail!("it ended with {status}")
}

/// Replays the recordings in `directory` against the simulator, or the server that the environment names, and prints
/// how they compare.
pub(crate) async fn conformance(directory: &Path, against: Option<&str>) -> Result<()> {
    let report = match against {
        Some(prefix) => sim_replay::against(directory, &sim_replay::ForeignServer::from_environment(prefix)?).await?,
        None => sim_replay::run(directory).await?,
    };
    println!("{report}");
    if report.is_conformant() {
        return Ok(());
    }
    bail!("the server differs from the recordings in ways that are not accepted")
}
