//! Paths of the real programs. A missing program is an error that says how to get it, never a skipped test.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use tf_provider_testing::{Core, CoreKind};

/// Returns the core of the demo: `PXCI_TOFU`, else `tofu` or `terraform` on `PATH`, else the one that set-up built.
///
/// # Errors
/// When `PXCI_TOFU` names something that is not a core, or nothing was found.
pub fn preferred_core() -> Result<Core> {
    if let Some(program) = std::env::var_os("PXCI_TOFU") {
        return Core::probe(Path::new(&program)).context("PXCI_TOFU must name an OpenTofu or Terraform program");
    }
    ["tofu", "terraform"].iter().find_map(|name| Core::probe(Path::new(name)).ok()).map_or_else(built, Ok)
}

/// Returns the cores of the tests: OpenTofu, and Terraform if it is on `PATH`.
///
/// # Errors
/// When there is no OpenTofu.
pub fn cores() -> Result<Vec<Core>> {
    let mut cores = vec![opentofu()?];
    match Core::probe(Path::new("terraform")) {
        Ok(core) => cores.push(core),
        Err(_) => println!("not run: tests with Terraform (it is not on PATH)"),
    }
    Ok(cores)
}

fn opentofu() -> Result<Core> {
    let candidates = std::env::var_os("PXCI_TOFU").map(PathBuf::from).into_iter().chain([PathBuf::from("tofu")]);
    let found =
        candidates.filter_map(|program| Core::probe(&program).ok()).find(|core| core.kind == CoreKind::OpenTofu);
    found.map_or_else(built, Ok)
}

fn built() -> Result<Core> {
    let program = std::env::var_os("PXCI_OPENTOFU").map(PathBuf::from).or_else(cached_opentofu);
    let program = program.context("no OpenTofu: run `cargo xtask setup`, which builds it, or set PXCI_TOFU")?;
    Ok(Core::probe(&program)?)
}

/// Returns the newest OpenTofu in the cache of set-up.
fn cached_opentofu() -> Option<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(cache_directory()?)
        .ok()?
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("opentofu-"))
        .map(|entry| entry.path().join("tofu"))
        .filter(|program| program.is_file())
        .collect();
    found.sort();
    found.pop()
}

/// Returns the cache of set-up: `PXCI_CACHE`, else `pxci` in the user's cache directory.
#[must_use]
pub fn cache_directory() -> Option<PathBuf> {
    if let Some(directory) = std::env::var_os("PXCI_CACHE") {
        return Some(PathBuf::from(directory));
    }
    if let Some(directory) = std::env::var_os("XDG_CACHE_HOME") {
        return Some(Path::new(&directory).join("pxci"));
    }
    Some(Path::new(&std::env::var_os("HOME")?).join(".cache/pxci"))
}

/// Returns the directory of a current Packer's plugins, after installing the one that `PXCI_PACKER_PLUGIN` names below
/// `directory`. Returns `None` if the variable is not set; Debian's Packer 1.6 is then used with the flavour's fixture.
///
/// # Errors
/// When `PXCI_PACKER` does not install it.
pub fn packer_plugins(directory: &Path) -> Result<Option<PathBuf>> {
    let Some(plugin) = std::env::var_os("PXCI_PACKER_PLUGIN") else { return Ok(None) };
    let plugins = directory.join("packer-plugins");
    std::fs::create_dir_all(&plugins).with_context(|| format!("creating {}", plugins.display()))?;
    let output = Command::new(packer()?)
        .args(["plugins", "install", "--path"])
        .arg(&plugin)
        .arg("github.com/hashicorp/proxmox")
        .env("PACKER_PLUGIN_PATH", &plugins)
        .env("PACKER_CONFIG_DIR", directory.join("packer-config"))
        .env("CHECKPOINT_DISABLE", "1")
        .output()
        .context("starting Packer")?;
    if output.status.success() {
        return Ok(Some(plugins));
    }
    bail!("PXCI_PACKER does not install PXCI_PACKER_PLUGIN: {}", String::from_utf8_lossy(&output.stderr).trim())
}

/// Returns the Packer program: `PXCI_PACKER`, else `packer` on `PATH`.
///
/// # Errors
/// When there is none.
pub fn packer() -> Result<PathBuf> {
    let program = std::env::var_os("PXCI_PACKER").map_or_else(|| PathBuf::from("packer"), PathBuf::from);
    let output = Command::new(&program).arg("version").env("CHECKPOINT_DISABLE", "1").output();
    output.with_context(|| {
        format!("starting {}: install it with `cargo xtask setup`, or set PXCI_PACKER", program.display())
    })?;
    Ok(program)
}
