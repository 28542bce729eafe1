//! Finds or installs Packer 1.6, the last version in Debian, which contains the Proxmox builder.
//!
//! Debian 12 has a package. Debian 13 has none, so the package of Debian 12, which only needs a C library, is unpacked
//! into the cache. apt fetches it with separate directories: this changes nothing of the machine's apt, needs no root,
//! and checks the archive's signature.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, anyhow, bail};

use super::debian;
use crate::narrate::Narrator;

const VERSION: &str = "1.6.6";
/// Beginning of the version line of suitable programs.
const ANSWER: &str = "Packer v1.6.";
/// The newest release of Debian that has the package.
const RELEASE: &str = "bookworm";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// Archive with Debian's older releases, if this machine's archive only has newer ones.
const ARCHIVE: &str = "http://deb.debian.org/debian";

/// Returns the Debian packages that [`ensure`] needs.
pub(super) fn packages_needed() -> &'static [&'static str] {
    if on_path().is_none() && debian::codename() == RELEASE { &["packer"] } else { &[] }
}

/// Returns a Packer of that version: from `PATH`, otherwise from the cache, into which it is fetched if it is missing.
pub(super) fn ensure(cache: &Path, narrator: &Narrator) -> Result<PathBuf> {
    if let Some(program) = on_path() {
        return Ok(program);
    }
    let program = cache.join(format!("packer-{VERSION}/packer"));
    if answers(&program) {
        return Ok(program);
    }
    narrator.say(&format!(
        "fetching Packer {VERSION} from the archive of Debian's {RELEASE}: this release has no package of it"
    ));
    fetch(&program).with_context(|| format!("Packer {VERSION} is missing; put a program of that version on PATH, or let apt reach an archive with Debian's {RELEASE}"))?;
    if !answers(&program) {
        bail!("the Packer that was just fetched does not answer as version {VERSION}: {}", program.display());
    }
    Ok(program)
}

/// Returns a `PATH` on which `packer` is this program.
pub(super) fn search_path(program: &Path) -> OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if debian::program("packer").as_deref() == Some(program) {
        return path;
    }
    let own = program.parent().map(Path::to_owned);
    std::env::join_paths(own.into_iter().chain(std::env::split_paths(&path))).unwrap_or(path)
}

fn on_path() -> Option<PathBuf> {
    debian::program("packer").filter(|program| answers(program))
}

fn answers(program: &Path) -> bool {
    let Ok(output) = Command::new(program).arg("version").env("CHECKPOINT_DISABLE", "1").output() else { return false };
    String::from_utf8_lossy(&output.stdout).starts_with(ANSWER)
}

fn fetch(program: &Path) -> Result<()> {
    let mut archives = own_archives(&debian::codename())?;
    archives.push(ARCHIVE.to_owned());
    let mut failure = anyhow!("no archive is known");
    for archive in archives {
        match fetch_from(&archive, program) {
            Ok(()) => return Ok(()),
            Err(error) => failure = error.context(format!("fetching it from {archive}")),
        }
    }
    Err(failure)
}

/// Returns the archives from which this machine's apt gets its own release.
fn own_archives(codename: &str) -> Result<Vec<String>> {
    let output = Command::new("apt-get").args(["update", "--print-uris"]).output().context("starting apt-get")?;
    Ok(archives_of(&String::from_utf8_lossy(&output.stdout), codename))
}

/// Reads lines such as `'http://deb.debian.org/debian/dists/trixie/InRelease' deb.debian.org_… 0`.
fn archives_of(uris: &str, codename: &str) -> Vec<String> {
    let end = format!("/dists/{codename}/InRelease");
    let quoted = uris.lines().filter_map(|line| line.strip_prefix('\'')?.split('\'').next());
    quoted.filter_map(|uri| uri.strip_suffix(&end)).map(str::to_owned).collect()
}

fn fetch_from(archive: &str, program: &Path) -> Result<()> {
    let scratch = tempfile::tempdir().context("creating a directory")?;
    // For users other than root, apt needs existing directories.
    for directory in ["lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(scratch.path().join(directory)).context("creating a directory")?;
    }
    let apt = Apt { directory: scratch.path(), archive };
    apt.run(&["update"])?;
    apt.run(&["download", "packer"])?;
    let package = fs::read_dir(scratch.path())?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"));
    let package = package.context("apt-get downloaded nothing")?;
    let unpacked = scratch.path().join("unpacked");
    finish(Command::new("dpkg-deb").arg("--extract").arg(package).arg(&unpacked))?;
    keep(&unpacked.join("usr/bin/packer"), program)
}

/// Copies a program to the cache. An interrupted copy leaves no incomplete file under the name.
fn keep(found: &Path, program: &Path) -> Result<()> {
    let directory = program.parent().context("the cache has no directory for Packer")?;
    fs::create_dir_all(directory).with_context(|| format!("creating {}", directory.display()))?;
    let unfinished = program.with_extension("unfinished");
    fs::copy(found, &unfinished).with_context(|| format!("copying {} to {}", found.display(), unfinished.display()))?;
    fs::rename(&unfinished, program).with_context(|| format!("moving Packer to {}", program.display()))
}

/// An apt with separate lists and downloads, and one archive.
struct Apt<'a> {
    directory: &'a Path,
    archive: &'a str,
}

impl Apt<'_> {
    fn run(&self, words: &[&str]) -> Result<()> {
        let sources = self.directory.join("debian.sources");
        fs::write(
            &sources,
            format!("Types: deb\nURIs: {}\nSuites: {RELEASE}\nComponents: main\nSigned-By: {KEYRING}\n", self.archive),
        )?;
        let place = |name: &str| self.directory.join(name).display().to_string();
        let options = [
            format!("Dir::Etc::sourcelist={}", sources.display()),
            "Dir::Etc::sourceparts=-".to_owned(),
            format!("Dir::State::Lists={}", place("lists")),
            format!("Dir::Cache={}", place("cache")),
            "Acquire::Languages=none".to_owned(),
            // Only the caller can enter the directory, so apt's own user cannot be used.
            "APT::Sandbox::User=root".to_owned(),
        ];
        let mut command = Command::new("apt-get");
        command
            .current_dir(self.directory)
            .arg("-qq")
            .args(options.iter().flat_map(|option| ["-o", option]))
            .args(words);
        finish(&mut command)
    }
}

fn finish(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("starting {:?}", command.get_program()))?;
    if output.status.success() {
        return Ok(());
    }
    bail!("{:?} failed: {}", command.get_program(), String::from_utf8_lossy(&output.stderr).trim());
}

#[cfg(test)]
mod tests {
    use super::archives_of;

    #[test]
    fn the_archives_of_this_release_are_found_in_the_output_of_apt() {
        let uris = "'http://deb.debian.org/debian/dists/trixie/InRelease' deb.debian.org_debian_dists_trixie_InRelease 0 \n\
                    'http://deb.debian.org/debian/dists/trixie-updates/InRelease' deb.debian.org_x 0 \n\
                    'mirror+file:/etc/apt/mirrors/debian.list/dists/trixie/InRelease' mirror_x 0 \n\
                    'http://deb.debian.org/debian/dists/trixie/main/binary-amd64/Packages.xz' deb.debian.org_y 0 \n";
        assert_eq!(
            archives_of(uris, "trixie"),
            ["http://deb.debian.org/debian", "mirror+file:/etc/apt/mirrors/debian.list"]
        );
        assert!(archives_of("", "trixie").is_empty());
    }
}
