//! The inputs of a flavour's Packer build for one farm: image directory and variables.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::engines::packer_plugins;
use crate::image::{BuildAccount, Image};
use crate::simulation::Farm;

/// A flavour's image directory, prepared for the available Packer and for one farm.
#[derive(Debug)]
pub struct Build {
    /// The image directory.
    pub image: Image,
    /// Values of the Packer template's variables by name.
    pub variables: Value,
    /// Names of the secret variables.
    pub secrets: Value,
    /// Directory of Packer's plugins; `None` for Packer 1.6, which contains them.
    pub plugin_path: Option<PathBuf>,
}

impl Build {
    /// Copies `flavour` below `directory`. `ssh` is the address at which Packer reaches a guest that has none of its
    /// own.
    ///
    /// # Errors
    /// When the flavour cannot be copied, the farm has no installation medium, or a real Proxmox VE is used with Packer
    /// 1.6, for which the source block is only a fixture for the simulator.
    pub fn prepare(farm: &Farm, flavour: &Path, directory: &Path, ssh: Option<SocketAddr>) -> Result<Self> {
        let account = BuildAccount::draw("packer")?;
        let plugin_path = packer_plugins(directory)?;
        let image_directory = directory.join("image");
        let mut secrets = json!({ "ssh_password": account.password, "ssh_password_hash": account.hash });
        let image = match (&plugin_path, &farm.simulated_pve) {
            (Some(_), _) => Image::as_shipped(flavour, &image_directory)?,
            (None, Some(simulated)) => {
                secrets["proxmox_password"] = simulated.packer_password.clone().into();
                Image::for_packer_1_6(flavour, &image_directory, &account)?
            }
            (None, None) => bail!(
                "a template for a real Proxmox VE is built by a current Packer: set PXCI_PACKER and PXCI_PACKER_PLUGIN, or \
                 PXCI_ACC_PVE_TEMPLATE_VMID to an existing template"
            ),
        };
        let installer = farm.pve.installer.as_deref().context(
            "PXCI_ACC_PVE_INSTALLER must name the installation medium, as in local:iso/ubuntu-22.04.5-live-server-amd64.iso",
        )?;
        let mut variables = json!({ "iso_file": installer });
        if let Some(ssh) = ssh.filter(|_| farm.simulated_pve.is_some()) {
            variables["ssh_host"] = ssh.ip().to_string().into();
            variables["ssh_port"] = ssh.port().to_string().into();
        }
        Ok(Self { image, variables, secrets, plugin_path })
    }
}
