//! Prepares a new machine: system packages, the static target, the engines, the guests' base system.
//!
//! Each step does nothing if its result exists, so a second run takes a second. Slow builds go to the cache directory
//! outside of the checkout, keyed by version. Everything comes from ordinary package registries.

mod bound;
mod clients;
mod debian;
mod go;
mod machines;
mod namespaces;
mod opentofu;
mod packer;
mod rust;

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result};
use clients::Clients;
use rustix::fs::{FlockOperation, flock};

use crate::narrate::Narrator;

/// Results of the set-up.
#[derive(Debug, Clone)]
pub(crate) struct Ready {
    /// Path of OpenTofu.
    pub(crate) opentofu: PathBuf,
    /// Path of Go, which builds the Go parts of tests.
    pub(crate) go: PathBuf,
    /// Path of Packer, in the version that the fixture needs.
    pub(crate) packer: PathBuf,
    /// Directory with the base system of simulated guests.
    pub(crate) guest_base: PathBuf,
    /// Published clients for the tests of the simulators.
    clients: Option<Clients>,
    /// Disk image of guests that are whole machines.
    guest_image: Option<PathBuf>,
}

/// The purpose of a set-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The demo, and guests that run in simulators.
    Demo,
    /// All tests, the demo among them.
    Tests,
    /// The tests with guests that are whole machines.
    Machines,
}

impl Ready {
    /// Returns the variables by which tests and simulators find the results.
    pub(crate) fn environment(&self) -> Vec<(&'static str, PathBuf)> {
        let mut variables = vec![
            ("PATH", self.search_path().into()),
            ("PXCI_OPENTOFU", self.opentofu.clone()),
            ("PXCI_GO", self.go.clone()),
            ("TF_PROVIDER_CORES", self.cores().into()),
            ("PXCI_GUEST_BASE", self.guest_base.clone()),
        ];
        if let Some(clients) = &self.clients {
            variables.push(("PXCI_JS_CLIENTS", clients.javascript.clone()));
            variables.push(("PXCI_PYTHON_CLIENTS", clients.python.clone()));
        }
        variables.extend(self.guest_image.clone().map(|image| ("PXCI_GUEST_IMAGE", image)));
        variables
    }

    /// Returns the cores for the framework's own tests, as its harness reads them.
    fn cores(&self) -> OsString {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let terraform =
            std::env::split_paths(&path).map(|directory| directory.join("terraform")).find(|file| file.is_file());
        let mut cores = self.opentofu.clone().into_os_string();
        if let Some(terraform) = terraform {
            cores.push(":");
            cores.push(terraform);
        }
        cores
    }

    /// Returns the `PATH` with which Packer is found.
    pub(crate) fn search_path(&self) -> OsString {
        packer::search_path(&self.packer)
    }
}

/// Returns the directory for slow builds: `PXCI_CACHE`, else the user's cache directory.
pub(crate) fn cache_directory() -> Result<PathBuf> {
    if let Some(directory) = std::env::var_os("PXCI_CACHE") {
        return Ok(PathBuf::from(directory));
    }
    if let Some(directory) = std::env::var_os("XDG_CACHE_HOME") {
        return Ok(Path::new(&directory).join("pxci"));
    }
    let home = std::env::var_os("HOME")
        .context("neither PXCI_CACHE, XDG_CACHE_HOME nor HOME is set: set PXCI_CACHE to a directory for engines")?;
    Ok(Path::new(&home).join(".cache/pxci"))
}

/// Prepares the machine. Concurrent runs wait for each other.
pub(crate) fn run(narrator: &Narrator, purpose: Purpose) -> Result<Ready> {
    let began = Instant::now();
    let cache = std::path::absolute(cache_directory()?).context("asking for the current directory")?;
    fs::create_dir_all(&cache).with_context(|| format!("creating the cache directory {}", cache.display()))?;
    let _lock = lock(&cache)?;

    let mut extra = packer::packages_needed().to_vec();
    extra.extend(go::packages_needed(&cache));
    match purpose {
        Purpose::Demo => {}
        Purpose::Tests => {
            extra.extend(clients::packages_needed(&cache));
            extra.extend(browser_needed());
            extra.push("shellcheck");
        }
        Purpose::Machines => extra.extend(machines::PACKAGES),
    }
    debian::install(&extra, narrator)?;
    namespaces::check()?;
    let packer = packer::ensure(&cache, narrator)?;
    rust::install_static_target(narrator)?;
    let go = go::ensure(&cache, narrator)?;
    let opentofu = opentofu::ensure(&cache, &go, narrator)?;
    let clients = match purpose {
        Purpose::Tests => Some(clients::ensure(&cache, narrator)?),
        Purpose::Demo | Purpose::Machines => None,
    };
    let guest_base = guest_base(&cache, narrator)?;
    let guest_image = match purpose {
        Purpose::Machines => Some(machines::image(&cache, narrator)?),
        Purpose::Demo | Purpose::Tests => None,
    };
    narrator.say(&format!("set-up is complete ({:.1} s)", began.elapsed().as_secs_f32()));
    Ok(Ready { opentofu, go, packer, guest_base, clients, guest_image })
}

/// Returns the package of the browser that tests the page of `cargo xtask sim`, if no browser is installed.
fn browser_needed() -> Option<&'static str> {
    let named = std::env::var_os("PXCI_CHROMIUM").is_some();
    (!named && debian::program("chromium").is_none()).then_some("chromium")
}

fn guest_base(cache: &Path, narrator: &Narrator) -> Result<PathBuf> {
    if !has_guest_base(cache) {
        narrator.say("making the base system of simulated guests from Debian's packages (some minutes, once)");
    }
    let before = Instant::now();
    let base = sim_guest::base::build(cache).context("building the base system of simulated guests")?;
    if before.elapsed().as_secs() > 1 {
        narrator.say(&format!("the guests' base system is ready ({:.0} s)", before.elapsed().as_secs_f32()));
    }
    Ok(base)
}

/// Returns true if a base system exists. Only a later check notices one of an older recipe.
fn has_guest_base(cache: &Path) -> bool {
    let names = fs::read_dir(cache).into_iter().flatten().flatten().map(|entry| entry.file_name());
    names.filter_map(|name| name.into_string().ok()).any(|name| name.starts_with("guest-base-") && !name.contains('.'))
}

fn lock(cache: &Path) -> Result<File> {
    let path = cache.join("setup.lock");
    let file = File::create(&path).with_context(|| format!("creating {}", path.display()))?;
    flock(&file, FlockOperation::LockExclusive).with_context(|| format!("waiting for {}", path.display()))?;
    Ok(file)
}
