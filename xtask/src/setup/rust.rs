//! Installs the static target of the dispatcher's appliance.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::narrate::Narrator;

/// Target triple of the appliance's program.
pub(super) const STATIC_TARGET: &str = "x86_64-unknown-linux-musl";

/// Adds the static target's standard library if it is missing.
pub(super) fn install_static_target(narrator: &Narrator) -> Result<()> {
    if has_standard_library()? {
        return Ok(());
    }
    narrator.say(&format!("adding Rust's standard library for {STATIC_TARGET}"));
    let status = Command::new("rustup").args(["--quiet", "target", "add", STATIC_TARGET]).status();
    let Ok(status) = status else {
        bail!(
            "Rust's standard library for {STATIC_TARGET} is missing and there is no rustup to add it. Install it by your distribution's means (Debian: libstd-rust-dev for that target) or use rustup"
        );
    };
    if !status.success() {
        bail!("`rustup target add {STATIC_TARGET}` failed: {status}");
    }
    Ok(())
}

fn has_standard_library() -> Result<bool> {
    let output = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", STATIC_TARGET])
        .output()
        .context("asking rustc for its library directory")?;
    Ok(Path::new(String::from_utf8_lossy(&output.stdout).trim()).join("self-contained").is_dir())
}
