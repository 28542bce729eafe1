//! Everything that is tested, in the order in which it fails cheapest, and a summary that hides nothing.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use sim::pve::Line;

use crate::artifacts;
use crate::narrate::Narrator;
use crate::setup::Ready;

/// Counts over all test programs, and what said that it was not run.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: u64,
    failed: u64,
    not_run: Vec<String>,
}

impl Tally {
    /// Takes in a line of a test program's output; whether a person should see it.
    fn read(&mut self, line: &str) -> bool {
        if let Some(reason) = line.trim().strip_prefix("not run: ") {
            if !self.not_run.iter().any(|known| known == reason) {
                self.not_run.push(reason.to_owned());
            }
            return false;
        }
        if let Some(counts) = line.strip_prefix("test result: ") {
            self.passed += count(counts, "passed");
            self.failed += count(counts, "failed");
            return false;
        }
        let noise = line.is_empty()
            || line.ends_with("... ok")
            || line.starts_with("running ")
            || line.starts_with("successes:");
        !noise
    }
}

/// The number before `word` in `ok. 12 passed; 0 failed; …`.
fn count(counts: &str, word: &str) -> u64 {
    let parts = counts.split(['.', ';']).map(str::trim);
    parts.filter_map(|part| part.strip_suffix(word)).find_map(|number| number.trim().parse().ok()).unwrap_or(0)
}

/// Guests that an ordinary run does without.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(crate) enum Guests {
    /// Whole machines, which QEMU runs.
    Qemu,
}

/// Runs what is tested with whole machines.
pub(crate) fn run_with_machines(narrator: &Narrator, ready: &Ready, line: Option<Line>) -> Result<()> {
    let mut tally = Tally::default();
    narrator.say("building the provider and the dispatcher's appliance");
    let mut environment = ready.environment();
    environment.extend([("PXCI_PROVIDER", artifacts::provider()?), ("PXCI_APPLIANCE", artifacts::appliance()?)]);
    environment.extend(line.map(|line| ("PXCI_ACC_PVE_LINE", PathBuf::from(line.to_string()))));
    environment.push(("PXCI_GUESTS", "qemu".into()));
    narrator.say("running machines without a system");
    // A test starts the example, and kills it.
    let machines = ["--package", "pxci-sim", "--test", "guest_qemu", "--example", "machine"];
    test_programs(&machines, &[], &environment, &mut tally)?;
    narrator.say("running a machine's whole life, from clone to reap");
    let acceptance = ["--package", "terraform-provider-pxci", "--test", "acceptance"];
    test_programs(&acceptance, &["machines::"], &environment, &mut tally)?;
    summary(narrator, &tally)
}

/// Runs formatting check, all test programs, recorded conformance and the demo.
pub(crate) fn run(narrator: &Narrator, ready: &Ready, line: Option<Line>) -> Result<()> {
    let mut tally = Tally::default();
    step(&mut tally, "formatting", formatting());

    narrator.say("building the provider and the dispatcher's appliance");
    let provider = artifacts::provider()?;
    let appliance = artifacts::appliance()?;
    let mut environment = ready.environment();
    environment.extend([("PXCI_PROVIDER", provider), ("PXCI_APPLIANCE", appliance)]);
    environment.extend(line.map(|line| ("PXCI_ACC_PVE_LINE", PathBuf::from(line.to_string()))));

    step(&mut tally, "the reference pages", itself(&["docs", "--check"], &environment));

    narrator.say("running the tests of all crates");
    test_programs(&["--workspace"], &[], &environment, &mut tally)?;
    narrator.say("running the demo");
    step(&mut tally, "the demo", itself(&["demo"], &environment));

    if std::env::var_os("PXCI_PACKER_PLUGIN").is_none() {
        tally.not_run.push(
            "shipped template with the current Packer plugin (set PXCI_PACKER and PXCI_PACKER_PLUGIN)".to_owned(),
        );
    }
    summary(narrator, &tally)
}

fn summary(narrator: &Narrator, tally: &Tally) -> Result<()> {
    narrator.say("done");
    for reason in &tally.not_run {
        println!("not run: {reason}");
    }
    println!("{} passed, {} failed", tally.passed, tally.failed);
    if tally.failed > 0 {
        bail!("{} failed", tally.failed);
    }
    Ok(())
}

fn step(tally: &mut Tally, name: &str, result: Result<()>) {
    match result {
        Ok(()) => tally.passed += 1,
        Err(error) => {
            println!("{name} failed: {error:#}");
            tally.failed += 1;
        }
    }
}

fn formatting() -> Result<()> {
    let status = Command::new("cargo")
        .args(["fmt", "--all", "--check"])
        .stdout(Stdio::null())
        .status()
        .context("starting cargo fmt")?;
    if status.success() {
        return Ok(());
    }
    bail!("`cargo fmt --all` would change files")
}

/// Runs the test programs that `which` chooses, and in them the tests that `names` does. One that does not get to its
/// result counts as failed.
fn test_programs(
    which: &[&str],
    names: &[&str],
    environment: &[(&'static str, PathBuf)],
    tally: &mut Tally,
) -> Result<()> {
    let failed_before = tally.failed;
    let passed = cargo_test(which, names, environment, tally)?;
    if !passed && tally.failed == failed_before {
        tally.failed += 1;
        println!("a test program did not build or ended before its result");
    }
    Ok(())
}

fn cargo_test(
    which: &[&str],
    names: &[&str],
    environment: &[(&'static str, PathBuf)],
    tally: &mut Tally,
) -> Result<bool> {
    let mut child = Command::new("cargo")
        .arg("test")
        .args(which)
        .args(["--locked", "--no-fail-fast", "--quiet", "--", "--show-output", "--format=pretty"])
        .args(names)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdout(Stdio::piped())
        .spawn()
        .context("starting cargo test")?;
    let output = child.stdout.take().context("cargo test has no standard output")?;
    let mut shown = Vec::new();
    for line in BufReader::new(output).lines() {
        let line = line.context("reading the tests' output")?;
        if tally.read(&line) {
            shown.push(line);
        }
    }
    let status = child.wait().context("waiting for cargo test")?;
    if !status.success() {
        shown.iter().for_each(|line| println!("{line}"));
    }
    Ok(status.success())
}

/// Another command of this program, in a process of its own: the tests may have built the program anew.
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

/// Replays the recordings in `directory` against the simulator, or the server that the environment names, and prints how
/// they compare.
pub(crate) async fn conformance(directory: &Path, against: Option<&str>) -> Result<()> {
    use sim::pve::conformance;
    let report = match against {
        Some(prefix) => conformance::against(directory, &conformance::Site::from_environment(prefix)?).await?,
        None => conformance::run(directory).await?,
    };
    println!("{report}");
    if report.is_conformant() {
        return Ok(());
    }
    bail!("the server differs from the recordings in ways that are not accepted")
}

#[cfg(test)]
mod tests {
    use super::Tally;

    #[test]
    fn results_of_all_programs_are_added_up() {
        let mut tally = Tally::default();
        assert!(
            !tally
                .read("test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 3 filtered out; finished in 0.01s")
        );
        assert!(!tally.read("test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured"));
        assert!(!tally.read("not run: recordings (no ../shared/pve)"));
        assert!(!tally.read("not run: recordings (no ../shared/pve)"));
        assert!(tally.read("thread 'x' panicked at"));
        assert_eq!(tally, Tally { passed: 14, failed: 1, not_run: vec!["recordings (no ../shared/pve)".to_owned()] });
    }
}
