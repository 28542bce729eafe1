//! The system that simulated guests are layered on: a real Debian user land, made once with `mmdebstrap`.
//!
//! It comes from the archives that this machine's own apt uses. It holds what an image's scripts call (systemd's
//! programs without a booted systemd, sudo, apt with its lists, Python, git, compilers), so that their own
//! `apt-get install` finds most of it there. The guest agent is *not* installed, only its package downloaded: an image that
//! forgets it has none, as on real hardware.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::bootstrap::{Bootstrap, LEFT_OUT, codename, in_directory, lock, remove};
use super::host;

/// Raise it when the recipe changes in a way that the package lists do not show.
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

/// Packages that wait, downloaded, for an image to install them.
const DOWNLOADED: &str = "openssh-server qemu-guest-agent";

/// Keeps packages from starting their services: a guest has no service manager, and shares the host's network.
const POLICY: &str = "#!/bin/sh\nexit 101\n";

/// Why the base system could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BaseError {
    /// The cache directory cannot be used.
    #[error("unable to use {path}")]
    Directory {
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A program of the host could not be started.
    #[error("unable to start {program} (Debian package {package})")]
    Program {
        /// The program.
        program: &'static str,
        /// Where it comes from.
        package: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// This machine's apt names no archive of its own release.
    #[error("the apt sources of this machine name no archive of its release {codename:?}: guests are made from it")]
    NoSources {
        /// The release that was looked for.
        codename: String,
    },
    /// Making or unpacking the system failed.
    #[error("{step} failed: {detail}")]
    Failed {
        /// The operation that failed.
        step: &'static str,
        /// The end of what it wrote to its standard error.
        detail: String,
    },
}

/// Returns the directory with the base system below `cache`, made there when missing (about a minute, some 600 MB).
///
/// Several callers at once wait for one another. The directory's name carries a digest of the recipe, so a newer recipe makes a
/// new one beside it. Files belong to the mapped users of [`host`] where the caller is not root.
///
/// # Errors
/// See [`BaseError`].
pub fn build(cache: &Path) -> Result<PathBuf, BaseError> {
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

fn forbid_services(base: &Path) -> Result<(), BaseError> {
    let policy = base.join("usr/sbin/policy-rc.d");
    fs::write(&policy, POLICY).map_err(in_directory(&policy))?;
    fs::set_permissions(&policy, Permissions::from_mode(0o755)).map_err(in_directory(&policy))
}
