//! OpenTofu, built from its Go module: no registry offers it as a program.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use super::{bound, go};
use crate::narrate::Narrator;

/// The version that `engines/opentofu/go.mod` names.
pub(super) const VERSION: &str = "1.12.6";
const MODULE: &str = include_str!("../../engines/opentofu/go.mod");
const SUMS: &str = include_str!("../../engines/opentofu/go.sum");

/// OpenTofu's program in the cache, built there when missing (five minutes on two cores).
pub(super) fn ensure(cache: &Path, narrator: &Narrator) -> Result<PathBuf> {
    let program = program(cache);
    if answers(&program) {
        return Ok(program);
    }
    let go = go::ensure(cache, narrator)?;
    narrator.say(&format!("building OpenTofu {VERSION} from its Go module (some minutes, once)"));
    let began = Instant::now();
    build(cache, &go, &program)?;
    if !answers(&program) {
        bail!("the OpenTofu that was just built does not answer as version {VERSION}: {}", program.display());
    }
    narrator.say(&format!("OpenTofu {VERSION} is built ({:.0} s)", began.elapsed().as_secs_f32()));
    Ok(program)
}

/// Whether the cache holds a program that answers as this version.
pub(super) fn is_cached(cache: &Path) -> bool {
    answers(&program(cache))
}

fn program(cache: &Path) -> PathBuf {
    cache.join(format!("opentofu-{VERSION}/tofu"))
}

fn build(cache: &Path, go: &Path, program: &Path) -> Result<()> {
    let directory = program.parent().context("the cache has no directory for OpenTofu")?;
    fs::create_dir_all(directory).with_context(|| format!("creating {}", directory.display()))?;
    let sources = tempfile::tempdir().context("creating a build directory")?;
    fs::write(sources.path().join("go.mod"), MODULE)?;
    fs::write(sources.path().join("go.sum"), SUMS)?;
    let unfinished = directory.join("tofu.unfinished");
    let work = cache.join("go-work");
    let mut command = bound(go);
    if go.starts_with(cache) {
        // Whoever has no Go of their own has no use for its caches afterwards.
        command.env("GOMODCACHE", work.join("modules")).env("GOCACHE", work.join("build"));
    }
    let output = command
        .current_dir(sources.path())
        .env("CGO_ENABLED", "0")
        .env("GOFLAGS", "-mod=readonly -modcacherw")
        .env_remove("GOWORK")
        .args(["build", "-ldflags", "-s -w -X github.com/opentofu/opentofu/version.dev=no", "-o"])
        .arg(&unfinished)
        .arg("github.com/opentofu/opentofu/cmd/tofu")
        .output()
        .context("starting go build")?;
    if !output.status.success() {
        bail!("building OpenTofu failed:\n{}", last_lines(&String::from_utf8_lossy(&output.stderr)));
    }
    fs::rename(&unfinished, program).with_context(|| format!("moving OpenTofu to {}", program.display()))?;
    match fs::remove_dir_all(&work) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", work.display()))
        }
        _ => Ok(()),
    }
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

fn answers(program: &Path) -> bool {
    let Ok(output) = Command::new(program).args(["version"]).env_remove("TF_CLI_CONFIG_FILE").output() else {
        return false;
    };
    String::from_utf8_lossy(&output.stdout).lines().any(|line| line == format!("OpenTofu v{VERSION}"))
}
