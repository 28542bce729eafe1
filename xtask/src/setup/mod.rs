//! Everything that a fresh machine lacks: system packages, the static target, the engines, the guests' base system.
//!
//! Each step looks before it acts, so a second run costs a second. What is slow to build goes to the cache directory,
//! keyed by version, outside the checkout. Nothing here needs more than the ordinary package registries.

mod debian;
mod go;
mod opentofu;
mod rust;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result};
use rustix::fs::{FlockOperation, flock};

use crate::narrate::Narrator;

/// What set-up made ready.
#[derive(Debug, Clone)]
pub struct Ready {
    /// OpenTofu's program.
    pub opentofu: PathBuf,
    /// Directory that simulated guests are layered on.
    pub guest_base: PathBuf,
}

impl Ready {
    /// The variables by which tests and simulators find what was made ready.
    pub fn environment(&self) -> Vec<(&'static str, PathBuf)> {
        vec![("PXCI_OPENTOFU", self.opentofu.clone()), ("PXCI_GUEST_BASE", self.guest_base.clone())]
    }
}

/// Where slow-to-build things are kept: `PXCI_CACHE`, else the user's cache directory.
pub fn cache_directory() -> Result<PathBuf> {
    if let Some(directory) = std::env::var_os("PXCI_CACHE") {
        return Ok(PathBuf::from(directory));
    }
    if let Some(directory) = std::env::var_os("XDG_CACHE_HOME") {
        return Ok(Path::new(&directory).join("pxci"));
    }
    let home = std::env::var_os("HOME").context("neither PXCI_CACHE, XDG_CACHE_HOME nor HOME is set: set PXCI_CACHE to a directory to keep engines in")?;
    Ok(Path::new(&home).join(".cache/pxci"))
}

/// Makes the machine ready for the demo and the tests. Two runs at once wait for one another.
pub fn run(narrator: &Narrator) -> Result<Ready> {
    let began = Instant::now();
    let cache = cache_directory()?;
    fs::create_dir_all(&cache).with_context(|| format!("creating the cache directory {}", cache.display()))?;
    let _lock = lock(&cache)?;

    let extra: &[&str] = if opentofu::is_cached(&cache) { &[] } else { go::packages_needed(&cache) };
    debian::install(extra, narrator)?;
    rust::install_static_target(narrator)?;
    let opentofu = opentofu::ensure(&cache, narrator)?;
    let guest_base = guest_base(&cache, narrator)?;
    narrator.say(&format!("set-up is complete ({:.1} s)", began.elapsed().as_secs_f32()));
    Ok(Ready { opentofu, guest_base })
}

fn guest_base(cache: &Path, narrator: &Narrator) -> Result<PathBuf> {
    let before = Instant::now();
    let base = sim::guest::base::build(cache).context("building the base system of simulated guests")?;
    if before.elapsed().as_secs() > 1 {
        narrator.say(&format!("the guests' base system is ready ({:.0} s)", before.elapsed().as_secs_f32()));
    }
    Ok(base)
}

fn lock(cache: &Path) -> Result<File> {
    let path = cache.join("setup.lock");
    let file = File::create(&path).with_context(|| format!("creating {}", path.display()))?;
    flock(&file, FlockOperation::LockExclusive).with_context(|| format!("waiting for {}", path.display()))?;
    Ok(file)
}
