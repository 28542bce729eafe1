//! The base system of simulated guests: a real Debian user land, made once with `mmdebstrap`.
//!
//! Its packages come from the archives that this machine's own apt uses. It contains the programs that an image's scripts call
//! (systemd's programs without a booted systemd, sudo, apt with its lists, Python, git, compilers), so most packages of
//! their `apt-get install` are installed already. The guest agent is *not* installed. Only its package is downloaded,
//! so an image that does not install it has no agent, as on real hardware.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::bootstrap::{Bootstrap, BootstrapError, LEFT_OUT, codename, in_directory, lock, remove};
use super::host;

/// Number of the recipe. Raise it if the recipe changes in a way that the package lists do not show.
const RECIPE: u32 = 1;

/// Installed packages beyond those that apt itself needs.
const PACKAGES: &[&str] = &[
    "build-essential",
    "ca-certificates",
    "cloud-init",
    "curl",
    "git",
    "iproute2",
    "jq",
    "openssh-client",
    "openssh-sftp-server",
    "procps",
    "python3",
    "sudo",
    "systemd",
    "systemd-sysv",
    "unzip",
    "xz-utils",
    "zstd",
];

/// Packages that are downloaded, so that an image can install them.
const DOWNLOADED: &str = "openssh-server qemu-guest-agent";

/// Prevents packages from starting their services, because a guest has no service manager and shares the host's
/// network.
const POLICY: &str = "#!/bin/sh\nexit 101\n";

/// Returns the directory with the base system below `cache`. Makes it if it does not exist, which takes about a minute
/// and 600 MB.
///
/// Concurrent callers wait for one another. The directory's name contains a digest of the recipe, so a newer recipe
/// makes a new directory next to it. If the caller is not root, files belong to the mapped users of [`host`].
///
/// # Errors
/// See [`BootstrapError`].
pub fn build(cache: &Path) -> Result<PathBuf, BootstrapError> {
    let codename = codename();
    let base = cache.join(format!("guest-base-{codename}-{}", recipe_digest()));
    if base.is_dir() {
        return Ok(base);
    }
    fs::create_dir_all(cache).map_err(in_directory(cache))?;
    let _lock = lock(&cache.join("guest-base.lock"))?;
    if base.is_dir() {
        return Ok(base);
    }
    let scratch =
        tempfile::Builder::new().prefix("guest-base-").tempdir().map_err(in_directory(&std::env::temp_dir()))?;
    let unfinished = base.with_extension("unfinished");
    remove(&unfinished)?;
    fs::create_dir(&unfinished).map_err(in_directory(&unfinished))?;
    let download =
        format!("chroot \"$1\" sh -c 'apt-get clean && apt-get -qq install --yes --download-only {DOWNLOADED}'");
    let system = Bootstrap { packages: PACKAGES, hooks: &[download.into()] };
    system.unpack(scratch.path(), &codename, &unfinished)?;
    forbid_services(&unfinished)?;
    fs::rename(&unfinished, &base).map_err(in_directory(&base))?;
    Ok(base)
}

fn recipe_digest() -> String {
    let mut digest = Sha256::new();
    digest.update(format!("{RECIPE} {PACKAGES:?} {DOWNLOADED} {LEFT_OUT:?} {}", host::is_root()));
    hex::encode(&digest.finalize()[..4])
}

fn forbid_services(base: &Path) -> Result<(), BootstrapError> {
    let policy = base.join("usr/sbin/policy-rc.d");
    fs::write(&policy, POLICY).map_err(in_directory(&policy))?;
    fs::set_permissions(&policy, Permissions::from_mode(0o755)).map_err(in_directory(&policy))
}
