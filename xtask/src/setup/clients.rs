//! Installs published clients of both services for the tests of the simulators: `@octokit/rest` from npm, and
//! `proxmoxer` from PyPI. Files in `sim/control/clients` pin the versions. Each version of these files has its own
//! directory in the cache.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};

use super::bound::bound;
use super::debian;
use crate::narrate::Narrator;

const MANIFEST: &str = include_str!("../../../sim/control/clients/package.json");
const LOCK: &str = include_str!("../../../sim/control/clients/package-lock.json");
const NPMRC: &str = include_str!("../../../sim/control/clients/npmrc");
const REQUIREMENTS: &str = include_str!("../../../sim/control/clients/requirements.txt");

/// Name of the file that is written last. A directory without it is incomplete.
const COMPLETE: &str = ".complete";

/// Paths of the clients.
#[derive(Debug, Clone)]
pub(crate) struct Clients {
    /// Directory with the `node_modules` of the JavaScript clients.
    pub(crate) javascript: PathBuf,
    /// Python interpreter with the Python clients.
    pub(crate) python: PathBuf,
}

/// Returns the Debian packages that [`ensure`] needs.
pub(super) fn packages_needed(cache: &Path) -> Vec<&'static str> {
    let mut packages = Vec::new();
    // Node is needed to run the client, npm to install it.
    if debian::program("node").is_none() {
        packages.push("nodejs");
    }
    if !is_complete(&javascript(cache)) && debian::program("npm").is_none() {
        packages.push("npm");
    }
    if !is_complete(&python(cache)) && !debian::succeeds("python3", &["-c", "import ensurepip, venv"]) {
        packages.push("python3-venv");
    }
    packages
}

/// Returns the clients. Installs them if they are missing.
pub(super) fn ensure(cache: &Path, narrator: &Narrator) -> Result<Clients> {
    let (javascript, python) = (javascript(cache), python(cache));
    if !is_complete(&javascript) {
        narrator.say("installing a published GitHub client from npm");
        install_javascript(&javascript).context("installing the JavaScript clients")?;
    }
    if !is_complete(&python) {
        narrator.say("installing a published Proxmox VE client from PyPI");
        install_python(&python).context("installing the Python clients")?;
    }
    Ok(Clients { javascript, python: python.join("bin/python") })
}

fn install_javascript(directory: &Path) -> Result<()> {
    begin(directory)?;
    for (name, text) in [("package.json", MANIFEST), ("package-lock.json", LOCK), (".npmrc", NPMRC)] {
        fs::write(directory.join(name), text).with_context(|| format!("writing {name}"))?;
    }
    finish("npm ci", bound(Path::new("npm")).arg("ci").current_dir(directory))?;
    end(directory)
}

fn install_python(directory: &Path) -> Result<()> {
    begin(directory)?;
    finish("python3 -m venv", bound(Path::new("python3")).args(["-m", "venv"]).arg(directory))?;
    let list = directory.join("requirements.txt");
    fs::write(&list, REQUIREMENTS).context("writing requirements.txt")?;
    let pip = directory.join("bin/pip");
    let words = ["install", "--quiet", "--disable-pip-version-check", "--require-hashes", "--no-deps"];
    finish("pip install", bound(&pip).args(words).args(["--only-binary", ":all:", "--requirement"]).arg(&list))?;
    end(directory)
}

fn begin(directory: &Path) -> Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory).with_context(|| format!("removing the unfinished {}", directory.display()))?;
    }
    fs::create_dir_all(directory).with_context(|| format!("creating {}", directory.display()))
}

fn end(directory: &Path) -> Result<()> {
    fs::write(directory.join(COMPLETE), "").with_context(|| format!("writing in {}", directory.display()))
}

fn is_complete(directory: &Path) -> bool {
    directory.join(COMPLETE).exists()
}

fn javascript(cache: &Path) -> PathBuf {
    cache.join(format!("clients-js-{}", digest(&[MANIFEST, LOCK])))
}

fn python(cache: &Path) -> PathBuf {
    cache.join(format!("clients-python-{}", digest(&[REQUIREMENTS])))
}

fn digest(texts: &[&str]) -> String {
    hex::encode(&Sha256::digest(texts.concat())[..4])
}

fn finish(name: &str, command: &mut std::process::Command) -> Result<()> {
    let output = command.output().with_context(|| format!("starting {name}"))?;
    if output.status.success() {
        return Ok(());
    }
    bail!("`{name}` failed: {}", String::from_utf8_lossy(&output.stderr).trim());
}
