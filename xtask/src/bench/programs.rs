//! The measured programs, built as for a release.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::artifacts;

/// Paths of the providers' programs.
pub(super) struct Programs {
    pub(super) shelf: PathBuf,
    pub(super) paper: PathBuf,
    pub(super) go: PathBuf,
    pub(super) pxci: PathBuf,
}

impl Programs {
    /// Builds the programs.
    pub(super) fn build(go: &Path) -> Result<Self> {
        let release = artifacts::target_directory()?.join("release");
        cargo(&["--package", "pxci-tf-provider", "--examples"])?;
        let pxci = pxci()?;
        let program = release.join("comparison/terraform-provider-paper");
        build_go(go, &artifacts::repository()?.join("crates/tf-provider/comparison/go"), &program)?;
        Ok(Self { shelf: release.join("examples/shelf"), paper: release.join("examples/paper"), go: program, pxci })
    }
}

/// Builds the provider, and returns its program.
pub(super) fn pxci() -> Result<PathBuf> {
    cargo(&["--package", "terraform-provider-pxci"])?;
    Ok(artifacts::target_directory()?.join("release/terraform-provider-pxci"))
}

/// Builds the program that measures the simulators, and returns its path.
pub(super) fn simulators() -> Result<PathBuf> {
    cargo(&["--package", "pxci-sim", "--example", "measure"])?;
    Ok(artifacts::target_directory()?.join("release/examples/measure"))
}

/// Builds the dispatcher and what measures it. Returns the program that makes passes of a large fleet, the measuring program of
/// the simulation, and the dispatcher.
pub(super) fn dispatcher() -> Result<(PathBuf, PathBuf, PathBuf)> {
    let packages = ["--package", "pxci-fleet", "--package", "pxci-simulate", "--package", "pxci-dispatcher"];
    // One command, so that all use the same builds of other packages.
    cargo(&[&packages[..], &["--example", "passes", "--example", "measure", "--bin", "pxci-dispatcher"]].concat())?;
    let release = artifacts::target_directory()?.join("release");
    Ok((release.join("examples/passes"), release.join("examples/measure"), release.join("pxci-dispatcher")))
}

fn cargo(words: &[&str]) -> Result<()> {
    let status = Command::new("cargo").args(["build", "--quiet", "--locked", "--release"]).args(words).status();
    if status.context("starting cargo")?.success() {
        return Ok(());
    }
    bail!("`cargo build --release {}` failed", words.join(" "))
}

/// Builds the Go program stripped, as Go providers are published.
fn build_go(go: &Path, sources: &Path, program: &Path) -> Result<()> {
    let output = Command::new(go)
        .current_dir(sources)
        .envs([("GOFLAGS", "-mod=readonly"), ("GOTOOLCHAIN", "local"), ("GOWORK", "off"), ("CGO_ENABLED", "0")])
        .args(["build", "-ldflags", "-s -w", "-o"])
        .arg(program)
        .output()
        .with_context(|| format!("starting {}", go.display()))?;
    if output.status.success() {
        return Ok(());
    }
    bail!("go build failed:\n{}", String::from_utf8_lossy(&output.stderr).trim())
}
