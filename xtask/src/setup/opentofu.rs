//! Builds OpenTofu from its Go module, because no registry has the program.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use super::bound::bound;
use crate::narrate::Narrator;

/// The version that `engines/opentofu/go.mod` names.
pub(super) const VERSION: &str = "1.12.6";
const MODULE: &str = include_str!("../../engines/opentofu/go.mod");
const SUMS: &str = include_str!("../../engines/opentofu/go.sum");

/// Returns OpenTofu's program in the cache. Builds it if it is missing (five minutes on two cores).
pub(super) fn ensure(cache: &Path, go: &Path, narrator: &Narrator) -> Result<PathBuf> {
    let program = program(cache);
    if answers(&program) {
        return Ok(program);
    }
    narrator.say(&format!("building OpenTofu {VERSION} from its Go module (some minutes, once)"));
    let began = Instant::now();
    build(cache, go, &program)?;
    if !answers(&program) {
        bail!("the OpenTofu that was just built does not answer as version {VERSION}: {}", program.display());
    }
    narrator.say(&format!("OpenTofu {VERSION} is built ({:.0} s)", began.elapsed().as_secs_f32()));
    Ok(program)
}

fn program(cache: &Path) -> PathBuf {
    cache.join(format!("opentofu-{VERSION}/tofu"))
}

fn build(cache: &Path, go: &Path, program: &Path) -> Result<()> {
    let directory = program.parent().context("the cache has no directory for OpenTofu")?;
    fs::create_dir_all(directory).with_context(|| format!("creating {}", directory.display()))?;
    let work = Work::create(cache)?;
    let unfinished = directory.join("tofu.unfinished");
    let mut command = bound(go);
    if go.starts_with(cache) {
        // A Go from the cache is only used here, so its caches are removed with the build.
        command.env("GOMODCACHE", work.0.join("modules")).env("GOCACHE", work.0.join("build"));
    }
    let output = command
        .current_dir(work.sources())
        .env("GOTMPDIR", work.temporary())
        .env("CGO_ENABLED", "0")
        .env("GOFLAGS", "-mod=readonly -modcacherw")
        .env("GOWORK", "off")
        .args(["build", "-ldflags", "-s -w -X github.com/opentofu/opentofu/version.dev=no", "-o"])
        .arg(&unfinished)
        .arg("github.com/opentofu/opentofu/cmd/tofu")
        .output()
        .context("starting go build")?;
    if !output.status.success() {
        bail!("building OpenTofu failed:\n{}", last_lines(&String::from_utf8_lossy(&output.stderr)));
    }
    fs::rename(&unfinished, program).with_context(|| format!("moving OpenTofu to {}", program.display()))?;
    fs::remove_dir_all(&work.0).with_context(|| format!("removing {}", work.0.display()))
}

/// The directory of a build. An interrupted build leaves its downloads to the next one.
struct Work(PathBuf);

impl Work {
    fn create(cache: &Path) -> Result<Self> {
        let work = Self(cache.join("go-work"));
        for directory in [work.sources(), work.temporary()] {
            fs::create_dir_all(&directory).with_context(|| format!("creating {}", directory.display()))?;
        }
        for (name, text) in [("go.mod", MODULE), ("go.sum", SUMS)] {
            let path = work.sources().join(name);
            fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        }
        Ok(work)
    }

    fn sources(&self) -> PathBuf {
        self.0.join("sources")
    }

    fn temporary(&self) -> PathBuf {
        self.0.join("temporary")
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
