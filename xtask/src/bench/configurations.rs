//! Configurations with many resources of one type.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use farm::harness::{Core, WorkingDirectory};
use tempfile::TempDir;

/// A provider and one of its resource types.
pub(super) struct Subject {
    pub(super) name: &'static str,
    /// Provider; `None` for a type that is built into cores.
    pub(super) provider: Option<Provider>,
    /// Type of the resource.
    pub(super) resource: &'static str,
    /// Arguments of the resource.
    pub(super) arguments: &'static str,
}

/// The source and configuration of a provider.
pub(super) struct Provider {
    /// Source address.
    pub(super) source: &'static str,
    pub(super) program: PathBuf,
    /// Body of the provider block, where `@` is replaced by a directory for the provider's data.
    pub(super) block: &'static str,
}

/// The same configuration in two directories: one in which nothing exists, and one that is applied.
pub(super) struct ConfigurationPair {
    pub(super) name: &'static str,
    pub(super) empty: WorkingDirectory,
    pub(super) applied: WorkingDirectory,
    directory: TempDir,
}

impl ConfigurationPair {
    /// Writes both configurations with a number of resources.
    pub(super) fn lay_out(core: &Core, subject: &Subject, resources: u32) -> Result<Self> {
        let directory = tempfile::tempdir().context("creating a working directory")?;
        let root = directory.path();
        let kept = root.join("kept");
        fs::create_dir(&kept)?;
        let text = configuration(subject, &kept, resources);
        let working_directory = |name: &str| -> Result<WorkingDirectory> {
            let (place, settings) = (root.join(name), root.join(format!("{name}-settings")));
            fs::create_dir(&place)?;
            let mut work = WorkingDirectory::new(core.clone(), place);
            if let Some(Provider { source, program, .. }) = &subject.provider {
                work.override_provider(source, program, &settings)?;
            }
            work.write("main.tf", &text)?;
            Ok(work)
        };
        let (empty, applied) = (working_directory("empty")?, working_directory("applied")?);
        Ok(Self { name: subject.name, empty, applied, directory })
    }

    /// Returns the directory, for further files.
    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Adds a variable to the environment of the core and its providers.
    pub(super) fn set(&mut self, name: &str, value: &str) {
        self.empty.set(name, value);
        self.applied.set(name, value);
    }
}

fn configuration(subject: &Subject, kept: &Path, resources: u32) -> String {
    let Subject { resource, arguments, .. } = subject;
    let provider = subject.provider.as_ref().map(|Provider { source, block, .. }| {
        let name = source.rsplit('/').next().unwrap_or(source);
        let block = block.replace('@', &kept.display().to_string());
        format!(
            "terraform {{\n  required_providers {{\n    {name} = {{ source = {source:?} }}\n  }}\n}}\n\
             provider {name:?} {{\n  {block}\n}}\n"
        )
    });
    let provider = provider.unwrap_or_default();
    format!("{provider}resource {resource:?} \"it\" {{\n  count = {resources}\n{arguments}\n}}\n")
}
