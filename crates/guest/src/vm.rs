//! One runner VM at Proxmox VE: where it is, and what proves that it is ours.

use ownership::{Claim, Guest, Marker, Owner, VmidRange, prove};
use pve::{Qemu, WaitOptions};
use tokio_util::sync::CancellationToken;

use crate::{Error, Problem, retry};

/// Where runner VMs of one kind are made, and so where alone they may be destroyed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Which program is asking: it may destroy its own VMs only, and those that are lent to it.
    pub claimant: Owner,
    /// PVE node.
    pub node: String,
    /// VMIDs in which the caller makes such VMs.
    pub range: VmidRange,
    /// PVE resource pool that they are members of.
    pub resource_pool: String,
}

/// Handle to one incarnation of a VMID. The VM need not exist (yet, or any more).
#[derive(Debug, Clone)]
pub struct RunnerVm {
    pub(crate) pve: pve::Client,
    pub(crate) name: String,
    pub(crate) marker: Marker,
    pub(crate) place: Place,
    cancel: CancellationToken,
}

impl RunnerVm {
    /// The VM that this marker describes. `name` is its name at PVE and at GitHub; `cancel` ends every wait early.
    #[must_use]
    pub fn new(pve: pve::Client, name: String, marker: Marker, place: Place, cancel: CancellationToken) -> Self {
        Self { pve, name, marker, place, cancel }
    }

    /// Name of the VM and of its runner.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// VMID of the template that it is cloned from, if its marker names one.
    #[must_use]
    pub fn template(&self) -> Option<u32> {
        self.marker.template
    }

    pub(crate) fn qemu(&self) -> Qemu {
        self.pve.qemu(&self.place.node, self.marker.vmid)
    }

    pub(crate) fn error(&self, doing: &'static str, problem: impl Into<Problem>) -> Error {
        Error { doing, vmid: self.marker.vmid, problem: problem.into() }
    }

    /// Waits for a task of this VM.
    pub(crate) async fn wait(&self, upid: &pve::Upid) -> Result<(), pve::Error> {
        let options = WaitOptions { deadline: retry::TASK_DEADLINE, cancel: self.cancel.clone() };
        self.pve.wait(upid, &options).await.map(drop)
    }

    /// Waits for a task of this VM, or for its effect.
    pub(crate) async fn wait_for_effect<T, F: Future<Output = Option<T>>>(
        &self,
        upid: &pve::Upid,
        effect: impl Fn() -> F,
    ) -> Result<Option<T>, pve::Error> {
        let options = WaitOptions { deadline: retry::TASK_DEADLINE, cancel: self.cancel.clone() };
        self.pve.wait_for_effect(upid, &options, effect).await
    }

    /// Waits before another try; an error when the caller asked to stop meanwhile.
    pub(crate) async fn pause(&self, duration: std::time::Duration) -> Result<(), Problem> {
        tokio::select! {
            () = self.cancel.cancelled() => Err(Problem::Cancelled),
            () = tokio::time::sleep(duration) => Ok(()),
        }
    }

    /// Whether this configuration is that of our incarnation.
    pub(crate) fn is_incarnation(&self, config: &pve::Config) -> bool {
        matches!(Marker::find(config.description()), Ok(Some(found)) if self.is_same(&found))
    }

    /// Other keys (such as `reap`) may have been changed by the owner meanwhile.
    fn is_same(&self, found: &Marker) -> bool {
        let key = |marker: &Marker| (marker.vmid, marker.nonce.clone(), marker.installation.clone(), marker.kind);
        key(found) == key(&self.marker)
    }

    /// The whole proof: range, resource pool, marker with this VMID, no template, and this very incarnation.
    pub(crate) async fn prove(&self, config: &pve::Config) -> Result<(), Problem> {
        let members = self.pve.pool_members(&self.place.resource_pool).await?;
        let is_member = members.iter().any(|member| member.vmid == Some(self.marker.vmid));
        let claim = Claim {
            installation: &self.marker.installation,
            owner: self.place.claimant,
            kind: self.marker.kind,
            range: self.place.range,
            resource_pool: &self.place.resource_pool,
        };
        let guest = Guest {
            vmid: self.marker.vmid,
            resource_pool: is_member.then_some(self.place.resource_pool.as_str()),
            description: config.description(),
            template: config.is_template(),
        };
        let found = prove(&claim, &guest).map_err(Problem::NotOurs)?;
        if self.is_same(&found) { Ok(()) } else { Err(Problem::OtherIncarnation) }
    }
}
