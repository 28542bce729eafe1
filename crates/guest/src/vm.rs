//! One runner VM, or a clone that verifies a template: its name, its node, and the proof that it is ours.

use std::time::Duration;

use ownership::{Evidence, Marker, NodeName, Owner, Proof, RunnerName, Vmid, VmidRange};
use pve::{Qemu, WaitOptions};
use tokio_util::sync::CancellationToken;

use crate::{Candidate, Error, OwnedVm, Problem};

/// Longest wait for one task. A linked clone, a start, a stop and a destruction take seconds.
const TASK_DEADLINE: Duration = Duration::from_secs(180);

/// Place in which runner VMs of one kind are made. They may be destroyed only there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Program that acts. It may destroy its own VMs and those that are lent to it.
    pub claimant: Owner,
    /// PVE node.
    pub node: NodeName,
    /// VMIDs that the program uses for such VMs.
    pub range: VmidRange,
    /// PVE resource pool that they are members of.
    pub resource_pool: String,
}

/// Handle to one incarnation of a VMID. The VM need not exist.
#[derive(Debug, Clone)]
pub struct RunnerVm {
    pub(crate) name: RunnerName,
    pub(crate) marker: Marker,
    pub(crate) candidate: Candidate<Qemu>,
}

impl RunnerVm {
    /// Returns the VM that this marker describes. `name` is its name at PVE and at GitHub. `cancel` ends every wait early.
    #[must_use]
    pub fn new(pve: pve::Client, name: RunnerName, marker: Marker, place: Place, cancel: CancellationToken) -> Self {
        let evidence = Evidence::Marker { kind: marker.kind, nonce: Some(marker.nonce.clone()), family: None };
        let proof = Proof {
            installation: marker.installation.clone(),
            claimant: place.claimant,
            range: place.range,
            resource_pool: place.resource_pool,
            evidence,
        };
        let wait = WaitOptions { deadline: TASK_DEADLINE, cancel };
        let candidate = Candidate::new(pve, &place.node, marker.vmid, proof, wait);
        Self { name, marker, candidate }
    }

    /// Returns the name of the VM and of its runner.
    #[must_use]
    pub fn name(&self) -> &RunnerName {
        &self.name
    }

    /// Returns the VMID of the template that the VM is cloned from, if its marker names one.
    #[must_use]
    pub fn template(&self) -> Option<Vmid> {
        self.marker.template
    }

    /// Proves that the VM is ours.
    ///
    /// # Errors
    /// Those of [`Candidate::prove`].
    pub async fn prove(&self) -> Result<OwnedVm, Error> {
        self.candidate.prove().await
    }

    /// Stops the VM at once, after the proof that it is ours. Succeeds if it is stopped already or no longer exists.
    ///
    /// # Errors
    /// Those of [`Candidate::stop`].
    pub async fn stop(&self) -> Result<(), Error> {
        self.candidate.stop().await
    }

    /// Destroys the stopped VM with its disks. Succeeds if it no longer exists.
    ///
    /// # Errors
    /// Those of [`Candidate::destroy`].
    pub async fn destroy(&self) -> Result<(), Error> {
        self.candidate.destroy().await
    }

    /// Rewrites the marker of the VM. The other lines of its description stay.
    ///
    /// # Errors
    /// Those of [`Candidate::mark`].
    pub async fn mark(&self, edit: impl Fn(&mut Marker)) -> Result<(), Error> {
        self.candidate.mark(edit).await
    }

    /// Returns true if the VM is powered off and nothing has it locked.
    ///
    /// # Errors
    /// When the status cannot be read.
    pub async fn is_off(&self) -> Result<bool, Error> {
        let status = self.status().await.map_err(|problem| self.error("examine", problem))?;
        Ok(!status.is_running() && status.lock.is_none())
    }

    async fn status(&self) -> Result<pve::Status, Problem> {
        match self.candidate.last_seen.status().await {
            Err(pve::Error::NoGuest { .. }) => Err(Problem::Gone),
            Err(error) if error.is_guest_missing() => Ok(self.candidate.elsewhere().await?.status().await?),
            outcome => Ok(outcome?),
        }
    }

    pub(crate) fn error(&self, doing: &'static str, problem: impl Into<Problem>) -> Error {
        self.candidate.error(doing, problem)
    }

    /// Returns true if this configuration is that of our incarnation. Other keys of the marker (such as `reap`) may have
    /// changed.
    pub(crate) fn is_incarnation(&self, config: &pve::Config) -> bool {
        let key = |marker: &Marker| (marker.vmid, marker.nonce.clone(), marker.installation.clone(), marker.kind);
        matches!(Marker::find(config.description()), Ok(Some(found)) if key(&found) == key(&self.marker))
    }
}
