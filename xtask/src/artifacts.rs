//! The programs that the demo and the acceptance tests run: the provider's program and the dispatcher's appliance.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use cargo_metadata::MetadataCommand;

use crate::appliance as builder;

/// Debian's static busybox, from `busybox-static`.
const BUSYBOX: &str = "/bin/busybox";

/// Returns the provider's program: the one in `PXCI_PROVIDER`, else a fresh build.
pub(crate) fn provider() -> Result<PathBuf> {
    if let Some(program) = std::env::var_os("PXCI_PROVIDER") {
        return Ok(PathBuf::from(program));
    }
    let status =
        Command::new("cargo").args(["build", "--quiet", "--locked", "--package", "terraform-provider-pxci"]).status();
    if !status.context("starting cargo")?.success() {
        bail!("the provider does not build");
    }
    Ok(target_directory()?.join("debug/terraform-provider-pxci"))
}

/// Returns the dispatcher's appliance: the one in `PXCI_APPLIANCE`, else a fresh build for the static target.
pub(crate) fn appliance() -> Result<PathBuf> {
    if let Some(archive) = std::env::var_os("PXCI_APPLIANCE") {
        return Ok(PathBuf::from(archive));
    }
    let target = target_directory()?;
    let dispatcher = builder::build_dispatcher(&target)?;
    builder::build(&target.join("appliance"), &dispatcher, Path::new(BUSYBOX))
}

/// Returns cargo's target directory.
pub(crate) fn target_directory() -> Result<PathBuf> {
    let metadata = MetadataCommand::new().no_deps().exec().context("asking cargo for its target directory")?;
    Ok(metadata.target_directory.into_std_path_buf())
}

/// Returns the root of this repository.
pub(crate) fn repository() -> Result<PathBuf> {
    let metadata = MetadataCommand::new().no_deps().exec().context("asking cargo for the workspace")?;
    Ok(metadata.workspace_root.into_std_path_buf())
}
