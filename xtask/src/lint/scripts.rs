//! Checks shell scripts with ShellCheck.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::{files, output};

/// Checks all shell scripts, with or without a suffix. Scripts without a first line that names a shell are POSIX shell.
pub(super) fn check(root: &Path) -> Result<()> {
    let mut plain = Vec::new();
    let mut named = Vec::new();
    for name in files(root, "")? {
        match shell(root, &name)? {
            Shell::Named => named.push(name),
            Shell::Posix => plain.push(name),
            Shell::None => {}
        }
    }
    shellcheck(root, &["--severity=warning"], &named)?;
    shellcheck(root, &["--severity=warning", "--shell=sh"], &plain)
}

enum Shell {
    Named,
    Posix,
    None,
}

/// Distinguishes shell scripts from other files. The fuzzer's corpus has inputs, not programs.
fn shell(root: &Path, name: &str) -> Result<Shell> {
    if name.starts_with("fuzz/corpus/") || !root.join(name).is_file() {
        return Ok(Shell::None);
    }
    let content = std::fs::read(root.join(name)).with_context(|| format!("reading {name}"))?;
    let first_line = content.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let first_line = String::from_utf8_lossy(first_line);
    Ok(match first_line.strip_prefix("#!") {
        Some(program) if program.trim_end().ends_with("sh") => Shell::Named,
        None if name.ends_with(".sh") => Shell::Posix,
        _ => Shell::None,
    })
}

fn shellcheck(root: &Path, options: &[&str], names: &[String]) -> Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    output(Command::new("shellcheck").args(options).args(names).current_dir(root))
}
