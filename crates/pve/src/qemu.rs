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

/// One virtual machine, by node and VMID. It need not exist.
#[derive(Debug, Clone)]
pub struct Qemu {
    client: Client,
    node: NodeName,
    vmid: Vmid,
}

/// Request for a clone. `description` and `name` are in the configuration when the task ends.
#[derive(Debug, Clone)]
pub struct CloneRequest {
    /// VMID of the clone.
    pub newid: Vmid,
    /// Its name: a DNS name.
    pub name: String,
    /// Its description, with the marker.
    pub description: String,
    /// Resource pool to put it into.
    pub pool: Option<String>,
    /// Copy the disks in place of linking to the template's.
    pub full: bool,
}

impl Client {
    /// A virtual machine, or a VMID that one is to get.
    #[must_use]
    pub fn qemu(&self, node: &NodeName, vmid: Vmid) -> Qemu {
        Qemu::new(self.clone(), node, vmid)
    }
}

impl Qemu {
    pub(crate) fn new(client: Client, node: &NodeName, vmid: Vmid) -> Self {
        Self { client, node: node.clone(), vmid }
    }

    /// Node of the VM.
    #[must_use]
    pub fn node(&self) -> &NodeName {
        &self.node
    }

    /// VMID of the VM.
    #[must_use]
    pub fn vmid(&self) -> Vmid {
        self.vmid
    }

    fn path(&self, rest: &str) -> String {
        format!("/nodes/{}/qemu/{}{rest}", segment(self.node.as_str()), self.vmid)
    }

    /// Its configuration, pending changes included.
    ///
    /// # Errors
    /// [`Error::is_guest_missing`] when there is no such VM.
    pub async fn config(&self) -> Result<Config, Error> {
        self.client.call_guest(self.vmid, Call::get(self.path("/config"), &Parameters::default())).await
    }

    /// Its configuration, in one request: unlike [`Qemu::config`] it does not ask whether there is such a VM when it is refused.
    ///
    /// # Errors
    /// [`Error::is_permission_denied`] also where the VM is missing, and while it is being made.
    pub async fn config_if_visible(&self) -> Result<Config, Error> {
        self.client.call(Call::get(self.path("/config"), &Parameters::default())).await
    }

    /// Its status right now.
    ///
    /// # Errors
    /// [`Error::is_guest_missing`] when there is no such VM.
    pub async fn status(&self) -> Result<Status, Error> {
        self.client.call_guest(self.vmid, Call::get(self.path("/status/current"), &Parameters::default())).await
    }

    /// Clones it on the same node.
    ///
    /// # Errors
    /// [`Error::is_already_exists`] from here or from the task: somebody else has the VMID.
    pub async fn clone_to(&self, request: &CloneRequest) -> Result<Upid, Error> {
        let parameters = Parameters::default()
            .with("newid", request.newid)
            .with("name", &request.name)
            .with("description", &request.description)
            .with_some("pool", request.pool.as_ref())
            .with_flag("full", request.full);
        self.client.call(Call::post(self.path("/clone"), &parameters)).await
    }

    /// Changes options at once; `("delete", "a,b")` removes options. With a digest it fails when somebody else was faster.
    ///
    /// # Errors
    /// A failed change may have been stored in part: read the configuration again.
    pub async fn set_config(&self, options: &[(&str, &str)], digest: Option<&str>) -> Result<(), Error> {
        let parameters = Parameters::default().extend(options).with_some("digest", digest);
        let IgnoredAny = self.client.call(Call::put(self.path("/config"), &parameters)).await?;
        Ok(())
    }

    /// Starts it.
    ///
    /// # Errors
    /// Most come with the task, also [`Error::is_running`].
    pub async fn start(&self) -> Result<Upid, Error> {
        self.client.call(Call::post(self.path("/status/start"), &Parameters::default())).await
    }

    /// Pulls the plug, also on a shutdown that is under way. A stopped VM is not an error.
    ///
    /// # Errors
    /// Most come with the task.
    pub async fn stop(&self) -> Result<Upid, Error> {
        self.client
            .call(Call::post(self.path("/status/stop"), &Parameters::default().with_flag("overrule-shutdown", true)))
            .await
    }

    /// Destroys the stopped VM with the disks that its configuration names, and removes it from jobs and access control.
    /// Never searches other storages for disks with its VMID, because those can belong to another cluster.
    ///
    /// # Errors
    /// [`Error::is_running`], [`Error::is_protected`]; from the task [`Error::is_base_in_use`].
    pub async fn delete(&self) -> Result<Upid, Error> {
        let parameters = Parameters::default().with_flag("purge", true).with_flag("destroy-unreferenced-disks", false);
        self.client.call(Call::delete(self.path(""), &parameters)).await
    }

    /// Its guest agent.
    #[must_use]
    pub fn agent(&self) -> Agent {
        Agent::new(self.client.clone(), &self.node, self.path("/agent"))
    }
}
