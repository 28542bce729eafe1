//! Containers.

use ownership::{NodeName, Vmid};
use serde::{Deserialize, de::IgnoredAny};

use crate::{
    call::{Call, Parameters, segment},
    client::Client,
    error::Error,
    guest::{Config, Status},
    lenient,
    upid::Upid,
};

/// Handle to one container, by node and VMID. The container need not exist.
#[derive(Debug, Clone)]
pub struct Lxc {
    client: Client,
    node: NodeName,
    vmid: Vmid,
}

/// A network interface of a running container.
#[derive(Debug, Clone, Deserialize)]
pub struct ContainerInterface {
    /// Name, for example `eth0`.
    pub name: String,
    /// IPv4 address with prefix length, for example `10.0.0.7/24`.
    #[serde(default, deserialize_with = "lenient::optional_text")]
    pub inet: Option<String>,
}

impl Client {
    /// Returns the handle to a container, which need not exist yet.
    #[must_use]
    pub fn lxc(&self, node: &NodeName, vmid: Vmid) -> Lxc {
        Lxc::new(self.clone(), node, vmid)
    }
}

impl Lxc {
    pub(crate) fn new(client: Client, node: &NodeName, vmid: Vmid) -> Self {
        Self { client, node: node.clone(), vmid }
    }

    /// Returns the node of the container.
    #[must_use]
    pub fn node(&self) -> &NodeName {
        &self.node
    }

    /// Returns the VMID of the container.
    #[must_use]
    pub fn vmid(&self) -> Vmid {
        self.vmid
    }

    pub(crate) fn path(&self, rest: &str) -> String {
        format!("/nodes/{}/lxc/{}{rest}", segment(self.node.as_str()), self.vmid)
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Creates the container with these options (`ostemplate`, `hostname`, `rootfs`, …). The task often ends with
    /// warnings.
    ///
    /// # Errors
    /// [`Error::is_already_exists`], from this request or from the task, if another guest has the VMID.
    pub async fn create(&self, options: &[(&str, &str)]) -> Result<Upid, Error> {
        let path = format!("/nodes/{}/lxc", segment(self.node.as_str()));
        let parameters = Parameters::default().with("vmid", self.vmid).extend(options);
        self.client.call(Call::post(path, &parameters)).await
    }

    /// Returns the configuration, including pending changes.
    ///
    /// # Errors
    /// [`Error::is_guest_missing`] if the container does not exist.
    pub async fn config(&self) -> Result<Config, Error> {
        self.client.call_guest(self.vmid, Call::get(self.path("/config"), &Parameters::default())).await
    }

    /// Returns the status now.
    ///
    /// # Errors
    /// [`Error::is_guest_missing`] if the container does not exist.
    pub async fn status(&self) -> Result<Status, Error> {
        self.client.call_guest(self.vmid, Call::get(self.path("/status/current"), &Parameters::default())).await
    }

    /// Changes options. `("delete", "a,b")` removes options. With a digest, it fails if the configuration was changed
    /// after the digest was read.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn set_config(&self, options: &[(&str, &str)], digest: Option<&str>) -> Result<(), Error> {
        let parameters = Parameters::default().extend(options).with_some("digest", digest);
        let IgnoredAny = self.client.call(Call::put(self.path("/config"), &parameters)).await?;
        Ok(())
    }

    /// Starts the container.
    ///
    /// # Errors
    /// [`Error::is_running`]. The task has other errors.
    pub async fn start(&self) -> Result<Upid, Error> {
        self.client.call(Call::post(self.path("/status/start"), &Parameters::default())).await
    }

    /// Stops the container at once.
    ///
    /// # Errors
    /// [`Error::is_not_running`], also if the container does not exist.
    pub async fn stop(&self) -> Result<Upid, Error> {
        self.client.call(Call::post(self.path("/status/stop"), &Parameters::default())).await
    }

    /// Destroys the stopped container with the volumes that its configuration names, and removes it from jobs and access
    /// control. Never searches other storages for volumes with its VMID, because those can belong to another cluster.
    ///
    /// # Errors
    /// [`Error::is_running`], [`Error::is_protected`].
    pub async fn delete(&self) -> Result<Upid, Error> {
        let parameters = Parameters::default().with_flag("purge", true).with_flag("destroy-unreferenced-disks", false);
        self.client.call(Call::delete(self.path(""), &parameters)).await
    }

    /// Moves the volume of a mount point to another container on the same node. This container must be stopped.
    ///
    /// # Errors
    /// When the container is not stopped.
    pub async fn move_volume(&self, volume: &str, target_vmid: Vmid, target_volume: &str) -> Result<Upid, Error> {
        let parameters = Parameters::default()
            .with("volume", volume)
            .with("target-vmid", target_vmid)
            .with("target-volume", target_volume);
        self.client.call(Call::post(self.path("/move_volume"), &parameters)).await
    }

    /// Returns the network interfaces. A stopped container has none.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn interfaces(&self) -> Result<Vec<ContainerInterface>, Error> {
        let interfaces: Option<Vec<ContainerInterface>> =
            self.client.call(Call::get(self.path("/interfaces"), &Parameters::default())).await?;
        Ok(interfaces.unwrap_or_default())
    }
}
