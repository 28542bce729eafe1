//! The disk image of guests that are complete virtual machines: Debian, changed by the flavour's own scripts.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use sim_github::{Behaviour, pack_runner};
use sim_guest::qemu::image::{self, Recipe};

use crate::image::copy;
use crate::simulation::repository;

/// The packages of `packages.sh`, and those that Ubuntu Server contains. The script itself would upgrade packages that
/// were just downloaded, and wait for a first boot.
const PACKAGES: [&str; 9] =
    ["ca-certificates", "cloud-init", "curl", "git", "iproute2", "jq", "openssh-server", "qemu-guest-agent", "sudo"];

/// The flavour's scripts that make the image, in their order. `seal.sh` would lock an account that does not exist here.
const SCRIPTS: [&str; 4] = ["scripts/runner.sh", "scripts/services.sh", "scripts/clean.sh", "scripts/verify.sh"];

/// Returns the Debian image below `cache`, which the Ubuntu flavour's scripts have changed. A missing image is made,
/// which takes some minutes. The runner program is the simulated GitHub's.
///
/// # Errors
/// When a part of it is missing, or a script fails.
pub fn build(cache: &Path) -> Result<PathBuf> {
    let flavour = repository().join("runners/ubuntu-2204");
    let scratch = tempfile::tempdir().context("making a directory")?;
    for part in ["files", "scripts"] {
        copy(&flavour.join(part), &scratch.path().join(part))?;
    }
    let version = Behaviour::default().runner_version;
    let runner = pack_runner(&version).context("packing the runner program")?;
    fs::write(scratch.path().join("runner.tar.gz"), &runner.content).context("writing the runner program")?;
    let recipe = Recipe {
        packages: PACKAGES.map(str::to_owned).to_vec(),
        directory: scratch.path().to_owned(),
        scripts: SCRIPTS.map(str::to_owned).to_vec(),
        environment: vec![
            ("RUNNER_VERSION".to_owned(), version),
            ("RUNNER_URL".to_owned(), "file:///tmp/pxci-image/runner.tar.gz".to_owned()),
            ("RUNNER_SHA256".to_owned(), runner.sha256),
        ],
    };
    image::build(cache, &recipe).context("building the disk image of guests")
}
