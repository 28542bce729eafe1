//! Makes a Debian system from packages with `mmdebstrap`, without root. The packages come from the archives that this
//! machine's own apt uses.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rustix::fs::{FlockOperation, flock};

use super::host;
use super::lifeline::Bound;

/// Files that a guest never reads.
pub(super) const LEFT_OUT: &[&str] =
    &["/usr/share/doc/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/man/*"];

/// Reason why a system cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// The cache directory cannot be used.
    #[error("unable to use {path}")]
    Directory {
        /// File or directory.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// A program of the host cannot be started.
    #[error("unable to start {program} (Debian package {package})")]
    Program {
        /// The program.
        program: &'static str,
        /// Debian package of the program.
        package: &'static str,
        /// Cause.
        source: io::Error,
    },
    /// This machine's apt has no archive of its own release.
    #[error("the apt sources of this machine name no archive of its release {codename:?}, from which guests are made")]
    NoSources {
        /// Code name of the release.
        codename: String,
    },
    /// Making or unpacking the system failed.
    #[error("{step} failed: {detail}")]
    Failed {
        /// Operation that failed.
        step: &'static str,
        /// End of its error output.
        detail: String,
    },
}

/// The parts of a system.
#[derive(Debug)]
pub(super) struct Bootstrap<'a> {
    /// Installed packages beyond those that apt itself needs.
    pub(super) packages: &'a [&'a str],
    /// Hooks at the end, in the form of `mmdebstrap`: a line of shell with the root as `$1`, or `copy-in FILE...
    /// DIRECTORY`.
    pub(super) hooks: &'a [OsString],
}

impl Bootstrap<'_> {
    /// Makes the system of the release `codename` in the empty directory `target`. `scratch` is a directory for
    /// temporary files.
    ///
    /// # Errors
    /// See [`BootstrapError`].
    pub(super) fn unpack(&self, scratch: &Path, codename: &str, target: &Path) -> Result<(), BootstrapError> {
        let sources = write_sources(scratch, codename)?;
        let settings = write_apt_settings(scratch)?;
        let log = scratch.join("mmdebstrap.log");
        let mut maker = Command::new("mmdebstrap");
        maker.args(["--quiet", "--variant=apt", "--format=tar", "--skip=cleanup/apt/lists,cleanup/apt/cache"]);
        maker.arg(prefixed("--aptopt=", settings.as_os_str())).arg(format!("--include={}", self.packages.join(",")));
        maker.args(LEFT_OUT.iter().map(|pattern| format!("--dpkgopt=path-exclude={pattern}")));
        maker.args(self.hooks.iter().map(|hook| prefixed("--customize-hook=", hook)));
        maker.arg(codename).arg("-").args(sources);
        maker.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(File::create(&log).map_err(in_directory(&log))?);
        let not_started = |source| BootstrapError::Program { program: "mmdebstrap", package: "mmdebstrap", source };
        let mut maker = Bound::start(&mut maker).map_err(not_started)?;
        let archive = maker.output();

        // Device files cannot be made in a user namespace, and every guest gets its own /dev.
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
            return Err(BootstrapError::Failed {
                step: "mmdebstrap",
                detail: last_lines(&fs::read_to_string(&log).unwrap_or_default()),
            });
        }
        unpacked.map(drop)
    }
}

/// Returns the release of this machine, or `stable` if it is not known.
pub(super) fn codename() -> String {
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .map_or_else(|| "stable".to_owned(), |name| name.trim_matches('"').to_owned())
}

/// Writes this machine's settings for apt's downloads (proxies, date checks), which guests use too.
fn write_apt_settings(scratch: &Path) -> Result<PathBuf, BootstrapError> {
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

/// Copies the entries of this machine's own release from its apt sources, without the archives of other vendors.
fn write_sources(scratch: &Path, codename: &str) -> Result<Vec<PathBuf>, BootstrapError> {
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
        return Err(BootstrapError::NoSources { codename: codename.to_owned() });
    }
    Ok(written)
}

/// Returns true if `suite` is the release, or the release with `-updates`, `-security` or `/updates`.
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

/// Waits for the lock at `path` and takes it. The lock is held until the file is dropped.
pub(super) fn lock(path: &Path) -> Result<File, BootstrapError> {
    let file = File::create(path).map_err(in_directory(path))?;
    flock(file.as_fd(), FlockOperation::LockExclusive).map_err(|error| in_directory(path)(error.into()))?;
    Ok(file)
}

/// Removes a directory with files of mapped users. Succeeds if the directory does not exist.
pub(super) fn remove(path: &Path) -> Result<(), BootstrapError> {
    output("unshare", "util-linux", host::as_root(["rm", "-rf"]).arg(path)).map(drop)
}

pub(super) fn output(
    program: &'static str,
    package: &'static str,
    command: &mut Command,
) -> Result<Output, BootstrapError> {
    let output = command.output().map_err(|source| BootstrapError::Program { program, package, source })?;
    if output.status.success() {
        return Ok(output);
    }
    Err(BootstrapError::Failed { step: program, detail: last_lines(&String::from_utf8_lossy(&output.stderr)) })
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.trim().lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}

pub(super) fn in_directory(path: &Path) -> impl FnOnce(io::Error) -> BootstrapError + '_ {
    move |source| BootstrapError::Directory { path: path.to_owned(), source }
}

fn prefixed(prefix: &str, value: &OsStr) -> OsString {
    let mut argument = OsString::from(prefix);
    argument.push(value);
    argument
}

#[cfg(test)]
mod tests {
    use super::{lines_of, stanzas_of};

    #[test]
    fn only_sources_of_the_own_release_are_copied() {
        let text = "Types: deb\n# dated\nURIs: mirror:/a\nSuites: bookworm bookworm-updates\n\nTypes: deb\nURIs: mirror:/b\nSuites: nodistro\n";
        assert_eq!(stanzas_of(text, "bookworm"), "Types: deb\nURIs: mirror:/a\nSuites: bookworm bookworm-updates\n\n");
        let lines = "deb mirror:/a bookworm-security main\ndeb-src mirror:/a bookworm main\ndeb mirror:/c cloud-sdk-bookworm main\n";
        assert_eq!(lines_of(lines, "bookworm"), "deb mirror:/a bookworm-security main\n");
    }
}
