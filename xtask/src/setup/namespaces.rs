//! Checks that simulated guests can have their own namespaces.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// Tries the namespaces that guests need. The error names the setting that an administrator must allow.
pub(super) fn check() -> Result<()> {
    let is_root = rustix::process::geteuid().is_root();
    let mut command = Command::new("unshare");
    if !is_root {
        command.args(["--map-root-user", "--map-auto"]);
    }
    command.args(["--user", "--mount", "--pid", "--net", "--uts", "--ipc", "--fork", "--", "true"]);
    let output = command.stdin(Stdio::null()).output().context("starting unshare (Debian package util-linux)")?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    if is_root {
        bail!(
            "simulated guests need user, mount, process and network namespaces, which this system refuses even to root (a container may have to be a privileged one): {}",
            said.trim()
        );
    }
    bail!(
        "simulated guests need user namespaces with a range of user and group numbers, which this system refuses: {}\n\
         As root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 \"{}\"; and where it is 0: sysctl kernel.unprivileged_userns_clone=1",
        said.trim(),
        std::env::var("USER").unwrap_or_else(|_| "your-user".to_owned()),
    );
}
