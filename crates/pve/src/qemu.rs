//! Virtual machines.

use ownership::{NodeName, Vmid};
use serde::de::IgnoredAny;

use crate::{
    agent::Agent,
    call::{Call, Parameters, segment},
    client::Client,
    error::Error,
    guest::{Config, Status},
    upid::Upid,
};

/// Handle to one virtual machine, by node and VMID. The VM need not exist.
#[derive(Debug, Clone)]
pub struct Qemu {
    client: Client,
    node: NodeName,
    vmid: Vmid,
}

/// Request for a clone. `description` and `name` are in the configuration once the task has ended.
#[derive(Debug, Clone)]
pub struct CloneRequest {
    /// VMID of the clone.
    pub newid: Vmid,
    /// Name, which must be a DNS name.
    pub name: String,
    /// Description, with the marker.
    pub description: String,
    /// Resource pool of the clone.
    pub pool: Option<String>,
    /// True for copies of the disks, false for disks that are linked to the template's.
    pub full: bool,
}

impl Client {
    /// Returns the handle to a virtual machine, which need not exist yet.
    #[must_use]
    pub fn qemu(&self, node: &NodeName, vmid: Vmid) -> Qemu {
        Qemu::new(self.clone(), node, vmid)
    }
}

impl Qemu {
    pub(crate) fn new(client: Client, node: &NodeName, vmid: Vmid) -> Self {
        Self { client, node: node.clone(), vmid }
    }

    /// Returns the node of the VM.
    #[must_use]
    pub fn node(&self) -> &NodeName {
        &self.node
    }

    /// Returns the VMID of the VM.
    #[must_use]
    pub fn vmid(&self) -> Vmid {
        self.vmid
    }

    fn path(&self, rest: &str) -> String {
        format!("/nodes/{}/qemu/{}{rest}", segment(self.node.as_str()), self.vmid)
    }

    /// Returns the configuration, including pending changes.
    ///
    /// # Errors
    /// [`Error::is_guest_missing`] if the VM does not exist.
    pub async fn config(&self) -> Result<Config, Error> {
        self.client.call_guest(self.vmid, Call::get(self.path("/config"), &Parameters::default())).await
    }

    /// Returns the configuration with a single request. Unlike [`Qemu::config`], it does not ask whether the VM exists
    /// if PVE refuses the request.
    ///
    /// # Errors
    /// [`Error::is_permission_denied`], also if the VM does not exist or is still being made.
    pub async fn config_if_visible(&self) -> Result<Config, Error> {
        self.client.call(Call::get(self.path("/config"), &Parameters::default())).await
    }

    /// Returns the status now.
    ///
    /// # Errors
    /// [`Error::is_guest_missing`] if the VM does not exist.
    pub async fn status(&self) -> Result<Status, Error> {
        self.client.call_guest(self.vmid, Call::get(self.path("/status/current"), &Parameters::default())).await
    }

    /// Clones the VM on the same node.
    ///
    /// # Errors
    /// [`Error::is_already_exists`], from this request or from the task, if another guest has the VMID.
    pub async fn clone_to(&self, request: &CloneRequest) -> Result<Upid, Error> {
        let parameters = Parameters::default()
            .with("newid", request.newid)
            .with("name", &request.name)
            .with("description", &request.description)
            .with_some("pool", request.pool.as_ref())
            .with_flag("full", request.full);
        self.client.call(Call::post(self.path("/clone"), &parameters)).await
    }

    /// Changes options at once. `("delete", "a,b")` removes options. With a digest, it fails if the configuration was
    /// changed after the digest was read.
    ///
    /// # Errors
    /// After an error, a part of the change may be stored, so read the configuration again.
    pub async fn set_config(&self, options: &[(&str, &str)], digest: Option<&str>) -> Result<(), Error> {
        let parameters = Parameters::default().extend(options).with_some("digest", digest);
        let IgnoredAny = self.client.call(Call::put(self.path("/config"), &parameters)).await?;
        Ok(())
    }

    /// Starts the VM.
    ///
    /// # Errors
    /// The task has most of the errors, including [`Error::is_running`].
    pub async fn start(&self) -> Result<Upid, Error> {
        self.client.call(Call::post(self.path("/status/start"), &Parameters::default())).await
    }

    /// Stops the VM at once, and ends a shutdown that is under way. Succeeds if the VM is stopped already.
    ///
    /// # Errors
    /// The task has most of the errors.
    pub async fn stop(&self) -> Result<Upid, Error> {
        self.client
            .call(Call::post(self.path("/status/stop"), &Parameters::default().with_flag("overrule-shutdown", true)))
            .await
    }

    /// Destroys the stopped VM with the disks that its configuration names, and removes it from jobs and access control.
    /// Never searches other storages for disks with its VMID, because those can belong to another cluster.
    ///
    /// # Errors
    /// [`Error::is_running`], [`Error::is_protected`]. The task may fail with [`Error::is_base_in_use`].
    pub async fn delete(&self) -> Result<Upid, Error> {
        let parameters = Parameters::default().with_flag("purge", true).with_flag("destroy-unreferenced-disks", false);
        self.client.call(Call::delete(self.path(""), &parameters)).await
    }

    /// Returns the guest agent.
    #[must_use]
    pub fn agent(&self) -> Agent {
        Agent::new(self.client.clone(), &self.node, self.path("/agent"))
    }
}
