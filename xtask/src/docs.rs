//! Lets the provider write the reference pages below `docs/` from its schema and `examples/`.

use std::path::absolute;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::artifacts;

/// Writes the pages. With `check`, compares them with the present pages and writes nothing.
pub(crate) fn run(check: bool) -> Result<()> {
    let program = absolute(artifacts::provider()?).context("asking for the current directory")?;
    let status = Command::new(&program)
        .current_dir(artifacts::repository()?)
        .env("TF_PROVIDER_DOCS", if check { "check" } else { "write" })
        .status()
        .with_context(|| format!("starting {}", program.display()))?;
    match (status.success(), check) {
        (true, _) => Ok(()),
        (false, true) => bail!("the reference pages are not up to date: run `cargo xtask docs`"),
        (false, false) => bail!("the reference pages were not written"),
    }
}
