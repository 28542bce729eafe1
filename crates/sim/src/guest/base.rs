//! The system that simulated guests are layered on: a real Debian user land, made once with `mmdebstrap`.
//!
//! It comes from the archives that this machine's own apt uses. It holds what an image's scripts call (systemd's
//! programs without a booted systemd, sudo, apt with its lists, Python, git, compilers), so that their own
//! `apt-get install` finds most of it there. The guest agent is *not* installed, only its package downloaded: an image that
//! forgets it has none, as on real hardware.

use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rustix::fs::{FlockOperation, flock};
use sha2::{Digest, Sha256};

use super::host;
use super::lifeline::Bound;

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

/// What a guest never reads.
const LEFT_OUT: &[&str] = &["/usr/share/doc/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/man/*"];

/// Why the base system could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BaseError {
    /// The cache directory cannot be used.
    #[error("unable to use {path}")]
    Directory {
        /// What was touched.
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
        /// What was being done.
        step: &'static str,
        /// The end of what it wrote to its standard error.
        detail: String,
    },
}

/// The directory with the base system below `cache`, made there when missing (about a minute, some 600 MB).
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
    let sources = write_sources(scratch.path(), &codename)?;
    let unfinished = base.with_extension("unfinished");
    remove(&unfinished)?;
    fs::create_dir(&unfinished).map_err(in_directory(&unfinished))?;
    bootstrap(scratch.path(), &codename, &sources, &unfinished)?;
    forbid_services(&unfinished)?;
    fs::rename(&unfinished, &base).map_err(in_directory(&base))?;
    Ok(base)
}

fn recipe_digest() -> String {
    let mut digest = Sha256::new();
    digest.update(format!("{RECIPE} {PACKAGES:?} {DOWNLOADED} {LEFT_OUT:?} {}", host::is_root()));
    hex::encode(&digest.finalize()[..4])
}

/// The release of this machine, `stable` where it does not say.
fn codename() -> String {
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .map_or_else(|| "stable".to_owned(), |name| name.trim_matches('"').to_owned())
}

/// Runs the bootstrap with its archive going straight into `target`.
fn bootstrap(scratch: &Path, codename: &str, sources: &[PathBuf], target: &Path) -> Result<(), BaseError> {
    let settings = write_apt_settings(scratch)?;
    let log = scratch.join("mmdebstrap.log");
    let mut maker = Command::new("mmdebstrap");
    maker.args(["--quiet", "--variant=apt", "--format=tar", "--skip=cleanup/apt/lists,cleanup/apt/cache"]);
    maker.arg(prefixed("--aptopt=", &settings)).arg(format!("--include={}", PACKAGES.join(",")));
    maker.args(LEFT_OUT.iter().map(|pattern| format!("--dpkgopt=path-exclude={pattern}")));
    maker.arg(format!(
        "--customize-hook=chroot \"$1\" sh -c 'apt-get clean && apt-get -qq install --yes --download-only {DOWNLOADED}'"
    ));
    maker.arg(codename).arg("-").args(sources);
    maker.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(File::create(&log).map_err(in_directory(&log))?);
    let not_started = |source| BaseError::Program { program: "mmdebstrap", package: "mmdebstrap", source };
    let mut maker = Bound::start(&mut maker).map_err(not_started)?;
    let archive = maker.output();

    // Device files cannot be made in a user namespace, and every guest gets a /dev of its own anyway.
    let mut unpacker = host::as_root([
        "tar",
        "--extract",
        "--numeric-owner",
        "--preserve-permissions",
        "--exclude=./dev/*",
        "--directory",
    ]);
    let unpacked = output("unshare", "util-linux", unpacker.arg(target).stdin(archive));
    let made = maker.wait().map_err(not_started)?;
    if !made.success() {
        return Err(BaseError::Failed {
            step: "mmdebstrap",
            detail: last_lines(&fs::read_to_string(&log).unwrap_or_default()),
        });
    }
    unpacked.map(drop)
}

fn forbid_services(base: &Path) -> Result<(), BaseError> {
    let policy = base.join("usr/sbin/policy-rc.d");
    fs::write(&policy, POLICY).map_err(in_directory(&policy))?;
    fs::set_permissions(&policy, Permissions::from_mode(0o755)).map_err(in_directory(&policy))
}

/// What this machine's apt was told about fetching (proxies, date checks) holds for guests as well.
fn write_apt_settings(scratch: &Path) -> Result<PathBuf, BaseError> {
    let mut text =
        output("apt-config", "apt", Command::new("apt-config").args(["dump", "--format", "%F \"%v\";%n", "Acquire"]))?
            .stdout;
    text.extend_from_slice(
        b"Acquire::GzipIndexes \"true\";\nAcquire::Languages \"none\";\nAPT::Install-Recommends \"false\";\n",
    );
    let path = scratch.join("apt.conf");
    fs::write(&path, text).map_err(in_directory(&path))?;
    Ok(path)
}

/// Copies the entries for this machine's own release out of its apt sources; other vendors' archives stay out.
fn write_sources(scratch: &Path, codename: &str) -> Result<Vec<PathBuf>, BaseError> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    if let Ok(entries) = fs::read_dir("/etc/apt/sources.list.d") {
        files.extend(entries.flatten().map(|entry| entry.path()));
    }
    files.sort();
    let mut written = Vec::new();
    for file in files {
        let Ok(text) = fs::read_to_string(&file) else { continue };
        let is_deb822 = file.extension().is_some_and(|extension| extension == "sources");
        let kept = if is_deb822 { stanzas_of(&text, codename) } else { lines_of(&text, codename) };
        if kept.is_empty() {
            continue;
        }
        let path = scratch.join(format!("{}.{}", written.len(), if is_deb822 { "sources" } else { "list" }));
        fs::write(&path, kept).map_err(in_directory(&path))?;
        written.push(path);
    }
    if written.is_empty() {
        return Err(BaseError::NoSources { codename: codename.to_owned() });
    }
    Ok(written)
}

/// Whether `suite` belongs to the release: itself, or `-updates`, `-security`, `/updates`.
fn is_of_release(suite: &str, codename: &str) -> bool {
    suite
        .strip_prefix(codename)
        .is_some_and(|rest| ["", "-updates", "-security", "/updates"].contains(&rest.trim_end_matches('/')))
}

fn stanzas_of(text: &str, codename: &str) -> String {
    let plain: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let is_kept = |stanza: &&str| {
        let field = |name: &str| stanza.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().to_owned();
        field("Types:").split_whitespace().any(|kind| kind == "deb")
            && field("Suites:").split_whitespace().any(|suite| is_of_release(suite, codename))
            && field("Enabled:").trim() != "no"
    };
    plain.join("\n").split("\n\n").map(str::trim).filter(is_kept).map(|stanza| format!("{stanza}\n\n")).collect()
}

fn lines_of(text: &str, codename: &str) -> String {
    let is_kept =
        |line: &&str| line.starts_with("deb ") && line.split_whitespace().any(|word| is_of_release(word, codename));
    text.lines().filter(is_kept).map(|line| format!("{line}\n")).collect()
}

fn lock(path: &Path) -> Result<File, BaseError> {
    let file = File::create(path).map_err(in_directory(path))?;
    flock(file.as_fd(), FlockOperation::LockExclusive).map_err(|error| in_directory(path)(error.into()))?;
    Ok(file)
}

fn remove(path: &Path) -> Result<(), BaseError> {
    output("unshare", "util-linux", host::as_root(["rm", "-rf"]).arg(path)).map(drop)
}

fn output(program: &'static str, package: &'static str, command: &mut Command) -> Result<Output, BaseError> {
    let output = command.output().map_err(|source| BaseError::Program { program, package, source })?;
    if output.status.success() {
        return Ok(output);
    }
    Err(BaseError::Failed { step: program, detail: last_lines(&String::from_utf8_lossy(&output.stderr)) })
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.trim().lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}

fn in_directory(path: &Path) -> impl FnOnce(io::Error) -> BaseError + '_ {
    move |source| BaseError::Directory { path: path.to_owned(), source }
}

fn prefixed(prefix: &str, path: &Path) -> OsString {
    let mut argument = OsString::from(prefix);
    argument.push(path);
    argument
}

#[cfg(test)]
mod tests {
    use super::{lines_of, stanzas_of};

    #[test]
    fn only_the_own_release_is_taken_from_the_sources() {
        let text = "Types: deb\n# dated\nURIs: mirror:/a\nSuites: bookworm bookworm-updates\n\nTypes: deb\nURIs: mirror:/b\nSuites: nodistro\n";
        assert_eq!(stanzas_of(text, "bookworm"), "Types: deb\nURIs: mirror:/a\nSuites: bookworm bookworm-updates\n\n");
        let lines = "deb mirror:/a bookworm-security main\ndeb-src mirror:/a bookworm main\ndeb mirror:/c cloud-sdk-bookworm main\n";
        assert_eq!(lines_of(lines, "bookworm"), "deb mirror:/a bookworm-security main\n");
    }
}
