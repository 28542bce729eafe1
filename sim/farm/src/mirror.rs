//! A filesystem mirror with the provider, in the layout for users, and a CLI configuration for it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use tf_provider_testing::{Core, WorkingDirectory};

/// Address of the provider without its host. Each core adds its own public registry.
pub const SOURCE: &str = "pxci/pxci";
const HOSTS: [&str; 2] = ["registry.opentofu.org", "registry.terraform.io"];

/// A directory in the layout from which `init` installs providers.
#[derive(Debug)]
pub struct Mirror {
    configuration: PathBuf,
}

impl Mirror {
    /// Creates the mirror below `directory` from the program `provider`, with the dispatcher's `appliance` next to it.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn lay_out(directory: &Path, provider: &Path, appliance: Option<&Path>) -> Result<Self> {
        let version = env!("CARGO_PKG_VERSION");
        let package = directory.join("package");
        fs::create_dir_all(&package)?;
        place(provider, &package.join(format!("terraform-provider-pxci_v{version}")))?;
        if let Some(appliance) = appliance {
            let name = appliance.file_name().context("the appliance's path names no file")?;
            place(appliance, &package.join(name))?;
        }
        for host in HOSTS {
            let parent = directory.join("mirror").join(host).join(SOURCE).join(version);
            fs::create_dir_all(&parent)?;
            symlink(&package, parent.join("linux_amd64"))?;
        }
        let configuration = directory.join("cli.tfrc");
        let text = format!(
            "disable_checkpoint = true\nprovider_installation {{\n  filesystem_mirror {{\n    path = \"{}\"\n  }}\n}}\n",
            directory.join("mirror").display()
        );
        fs::write(&configuration, text)?;
        Ok(Self { configuration })
    }

    /// Returns the path of the CLI configuration file for this mirror.
    #[must_use]
    pub fn configuration(&self) -> &Path {
        &self.configuration
    }

    /// Creates a working directory whose providers come from this mirror. Its core has the variables that select
    /// Packer.
    #[must_use]
    pub fn working_directory(&self, core: Core, directory: PathBuf) -> WorkingDirectory {
        let mut work = WorkingDirectory::new(core, directory);
        work.configure_core(&self.configuration);
        for name in ["PXCI_PACKER", "PXCI_PACKER_PLUGIN", "PACKER_PLUGIN_PATH"] {
            if let Ok(value) = std::env::var(name) {
                work.set(name, &value);
            }
        }
        work
    }
}

/// Makes a hard link, or a copy where the file systems do not allow links.
fn place(from: &Path, to: &Path) -> Result<()> {
    if fs::hard_link(from, to).is_ok() {
        return Ok(());
    }
    fs::copy(from, to).with_context(|| format!("copying {} to {}", from.display(), to.display()))?;
    Ok(())
}
