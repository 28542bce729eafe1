//! Installs system packages from Debian's archive.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::narrate::Narrator;

/// Names of packages, each with the reason.
const PACKAGES: &[&str] = &[
    "busybox-static",  // the appliance's init and network set-up
    "ca-certificates", // the registries' own TLS
    "curl",            // the replacement of GitHub's runner program
    "dnsmasq-base",    // DHCP for simulated containers
    "gcc",             // C parts of two crates
    "iproute2",        // network cards of simulated containers
    "jq",
    "libc6-dev",
    "mmdebstrap", // the guests' base system
    "mount",      // the guests' file systems
    "musl-tools", // C parts of the static dispatcher
    "openssh-client",
    "socat",   // the way from simulated containers to the simulators
    "uidmap",  // namespaces for users other than root
    "xorriso", // Packer's seed images, and the independent reader of ours
];

/// Installs missing packages, as root or through `sudo`. Without either, the error names the command to run.
///
/// `extra` names packages beyond those that every run needs.
pub(super) fn install(extra: &[&str], narrator: &Narrator) -> Result<()> {
    let missing: Vec<&str> = PACKAGES.iter().chain(extra).copied().filter(|package| !is_installed(package)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let by_hand = format!("apt-get update && apt-get install --no-install-recommends {}", missing.join(" "));
    if program("apt-get").is_none() {
        bail!(
            "this set-up installs Debian packages and found no apt-get. Install these packages in another way and run again: {}",
            missing.join(" ")
        );
    }
    let prefix = elevation().with_context(|| {
        format!("installing system packages needs root. Run as root, or install them by hand: {by_hand}")
    })?;
    narrator.say(&format!("installing system packages: {}", missing.join(" ")));
    apt(&prefix, &["update"])?;
    let mut arguments = vec!["install", "--yes", "--no-install-recommends"];
    arguments.extend(missing);
    apt(&prefix, &arguments).with_context(|| format!("by hand: {by_hand}"))
}

fn apt(prefix: &[&str], arguments: &[&str]) -> Result<()> {
    let mut words = prefix.to_vec();
    words.extend(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "-o=Dpkg::Use-Pty=0"]);
    words.extend(arguments);
    let output = Command::new(words[0]).args(&words[1..]).stdin(Stdio::null()).output().context("starting apt-get")?;
    if output.status.success() {
        return Ok(());
    }
    bail!("apt-get {} failed:\n{}", arguments.first().unwrap_or(&""), String::from_utf8_lossy(&output.stderr).trim());
}

/// Returns the prefix of a command that runs it as root.
fn elevation() -> Result<Vec<&'static str>> {
    if rustix::process::geteuid().is_root() {
        return Ok(Vec::new());
    }
    if succeeds("sudo", &["-n", "true"]) {
        return Ok(vec!["sudo", "-n"]);
    }
    if program("sudo").is_some() && rustix::termios::isatty(std::io::stdin()) {
        return Ok(vec!["sudo"]);
    }
    bail!("neither root nor usable sudo");
}

fn is_installed(package: &str) -> bool {
    let output = Command::new("dpkg-query").args(["--show", "--showformat=${db:Status-Status}", package]).output();
    output.is_ok_and(|output| output.status.success() && output.stdout == b"installed")
}

/// Returns the name of this machine's release, as in `bookworm`; empty if it has none.
pub(super) fn codename() -> String {
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    name.unwrap_or_default().trim_matches('"').to_owned()
}

/// Returns the program of this name on `PATH`.
pub(super) fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(name)).find(|program| program.is_file())
}

/// Returns true if a command succeeds.
pub(super) fn succeeds(program: &str, arguments: &[&str]) -> bool {
    let status =
        Command::new(program).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}
