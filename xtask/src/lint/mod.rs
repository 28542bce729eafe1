//! Linters for all files of the repository.

mod licences;
mod links;
mod scripts;

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::artifacts;
use crate::setup::Ready;

/// A linter: its name, and a function that fails with everything it found.
pub(crate) type Linter = (&'static str, fn(&Sources<'_>) -> Result<()>);

/// All linters, cheapest first.
pub(crate) const LINTERS: &[Linter] = &[
    ("formatting of Rust", |_| cargo(&["fmt", "--all", "--check"])),
    ("formatting of HCL", hcl),
    ("links between documents", |sources| links::check(sources.root)),
    ("shell scripts", |sources| scripts::check(sources.root)),
    ("licences of dependencies", |_| licences::check()),
    ("clippy", |_| {
        cargo(&["clippy", "--workspace", "--all-targets", "--locked", "--quiet", "--", "--deny", "warnings"])
    }),
];

/// The files for linters, and the programs that they need.
#[derive(Debug)]
pub(crate) struct Sources<'a> {
    root: &'a Path,
    tofu: &'a Path,
}

/// Runs all linters, and calls `report` with the name and result of each.
///
/// # Errors
/// Fails if the repository cannot be found.
pub(crate) fn run(ready: &Ready, mut report: impl FnMut(&'static str, Result<()>)) -> Result<()> {
    let root = artifacts::repository()?;
    let sources = Sources { root: &root, tofu: &ready.opentofu };
    for (name, linter) in LINTERS {
        report(name, linter(&sources));
    }
    Ok(())
}

fn cargo(words: &[&str]) -> Result<()> {
    output(Command::new("cargo").args(words))
}

fn hcl(sources: &Sources<'_>) -> Result<()> {
    output(Command::new(sources.tofu).args(["fmt", "-check", "-diff", "-recursive"]).current_dir(sources.root))
}

/// Runs a command. If the command fails, its output becomes the error.
fn output(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("starting {name}"))?;
    if output.status.success() {
        return Ok(());
    }
    bail!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Returns the repository's files whose names end with `ending`.
fn files(root: &Path, ending: &str) -> Result<Vec<String>> {
    let output = Command::new("git").args(["ls-files", "-z"]).current_dir(root).output().context("starting git")?;
    let names = String::from_utf8(output.stdout).context("a file's name is not UTF-8")?;
    Ok(names.split('\0').filter(|name| !name.is_empty() && name.ends_with(ending)).map(str::to_owned).collect())
}
