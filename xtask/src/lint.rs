//! Formatting and lints, as strict as a review.

use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// `cargo fmt --check`, then clippy with warnings as errors.
pub(crate) fn run() -> Result<()> {
    cargo(&["fmt", "--all", "--check"])?;
    cargo(&["clippy", "--workspace", "--all-targets", "--locked", "--", "--deny", "warnings"])
}

fn cargo(words: &[&str]) -> Result<()> {
    let status = Command::new("cargo").args(words).status().context("starting cargo")?;
    if status.success() {
        return Ok(());
    }
    bail!("`cargo {}` failed", words.join(" "))
}
