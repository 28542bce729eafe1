//! Builds and runs test programs through cargo, which starts each with `cargo xtask run-test-program`.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Lines};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::event;
use super::report::Report;
use crate::artifacts;
use crate::narrate::Narrator;

/// Longest time without a line on the screen.
const HEARTBEAT: Duration = Duration::from_secs(30);
/// Command of this program that starts a test program.
pub(crate) const RUN_COMMAND: &str = "run-test-program";

/// The selection of tests, and their environment.
#[derive(Debug)]
pub(super) struct Programs<'a> {
    /// Cargo's arguments for the packages whose examples tests start. None are built if empty.
    pub(super) examples: &'a [&'a str],
    /// Cargo's arguments for the programs.
    pub(super) which: &'a [&'a str],
    /// Names of tests; all if empty.
    pub(super) names: &'a [&'a str],
    /// Variables of the tests' environment.
    pub(super) environment: &'a [(&'static str, PathBuf)],
}

impl Programs<'_> {
    /// Builds the programs and counts their tests.
    ///
    /// # Errors
    /// Fails if a program does not build.
    pub(super) fn count(&self) -> Result<usize> {
        self.build_examples()?;
        let mut command = self.cargo(&["--list", "--format=terse"])?;
        let output = command.stderr(Stdio::inherit()).output().context("starting cargo")?;
        if !output.status.success() {
            bail!("a test program does not build");
        }
        Ok(String::from_utf8_lossy(&output.stdout).lines().filter(|line| line.ends_with(": test")).count())
    }

    fn build_examples(&self) -> Result<()> {
        if self.examples.is_empty() {
            return Ok(());
        }
        let words = ["build", "--examples", "--locked", "--quiet"];
        let status = Command::new("cargo").args(words).args(self.examples).status().context("starting cargo")?;
        if status.success() {
            return Ok(());
        }
        bail!("an example does not build");
    }

    /// Runs the programs one after the other.
    ///
    /// # Errors
    /// Fails if cargo cannot be started or its output cannot be read.
    pub(super) fn run(&self, report: &mut Report, narrator: &Narrator) -> Result<()> {
        let failed_before = report.failed();
        let mut command = self.cargo(&["-Zunstable-options", "--format=json", "--report-time", "--show-output"])?;
        let mut child = command.stdout(Stdio::piped()).spawn().context("starting cargo test")?;
        let output = child.stdout.take().context("cargo test has no standard output")?;
        let (sender, lines) = channel();
        std::thread::spawn(move || pass_on(BufReader::new(output).lines(), &sender));
        loop {
            match lines.recv_timeout(HEARTBEAT) {
                Ok(line) => report.read(&line.context("reading the tests' output")?, narrator),
                Err(RecvTimeoutError::Timeout) => report.heartbeat(narrator),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        report.end_program(narrator);
        let status = child.wait().context("waiting for cargo test")?;
        if !status.success() && report.failed() == failed_before {
            report.fail("cargo test", &format!("it ended with {status} and without a failed test"), narrator);
        }
        Ok(())
    }

    fn cargo(&self, harness: &[&str]) -> Result<Command> {
        // Cargo may have replaced the file of this process, so the process does not know its own path.
        let program = artifacts::target_directory()?.join("debug/xtask");
        let runner = serde_json::json!([program, RUN_COMMAND]);
        let mut command = Command::new("cargo");
        command
            .args(["--config", &format!("target.\"cfg(all())\".runner = {runner}"), "test"])
            .args(self.which)
            .args(["--locked", "--no-fail-fast", "--quiet", "--"])
            .args(harness)
            .args(self.names)
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        Ok(command)
    }
}

fn pass_on(lines: Lines<BufReader<ChildStdout>>, to: &Sender<std::io::Result<String>>) {
    for line in lines {
        if to.send(line).is_err() {
            return;
        }
    }
}

/// Replaces this process by a test program, after a line that announces it.
///
/// The variable makes libtest accept its JSON format. Cargo must not see it, because build scripts look at it.
///
/// # Errors
/// Fails if the program cannot be started.
pub(crate) fn become_program(words: &[OsString]) -> Result<()> {
    let (program, arguments) = words.split_first().context("no test program is named")?;
    if arguments.iter().any(|argument| argument == "--format=json") {
        println!("{}", event::announce(&display_name(Path::new(program))));
    }
    let error = Command::new(program).args(arguments).env("RUSTC_BOOTSTRAP", "1").exec();
    Err(error).with_context(|| format!("starting {}", Path::new(program).display()))
}

/// Returns a test program's name without the hash that cargo appends.
fn display_name(program: &Path) -> String {
    let stem = program.file_stem().unwrap_or_default().to_string_lossy();
    match stem.rsplit_once('-') {
        Some((name, hash)) if hash.len() == 16 => name.to_owned(),
        _ => stem.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_shown_without_its_hash() {
        assert_eq!(display_name(Path::new("/target/debug/deps/pve_api-0123456789abcdef")), "pve_api");
        assert_eq!(display_name(Path::new("/target/debug/examples/container")), "container");
    }
}
