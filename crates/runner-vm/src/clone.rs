//! The linked clone. Its marker travels in the clone call itself, so that from the end of the task on the VM says whose it is.

use pve::CloneRequest;

use crate::retry::{LOCK_PATIENCE, LOCK_PAUSE, Patience};
use crate::{Error, Problem, RunnerVm};

/// What stands at the VMID.
enum Occupant {
    Nobody,
    /// This incarnation, complete.
    Ours,
    /// A clone in the making, perhaps ours: PVE does not say whose before it is complete.
    InTheMaking,
    Stranger,
}

impl RunnerVm {
    /// Makes the VM as a linked clone of the template in its marker, or finds that an earlier try made it.
    ///
    /// `first`: no earlier try can have reached PVE. A VMID that is taken is then certainly somebody else's.
    ///
    /// # Errors
    /// [`Problem::VmidTaken`]: choose another VMID, with a new incarnation, and leave this one alone.
    pub async fn clone_from_template(&self, first: bool) -> Result<(), Error> {
        self.make_clone(first).await.map_err(|problem| self.error("clone", problem))
    }

    async fn make_clone(&self, first: bool) -> Result<(), Problem> {
        let patience = Patience::of(LOCK_PATIENCE);
        let mut certainly_unmade = first;
        loop {
            let occupant = if certainly_unmade { Occupant::Nobody } else { self.occupant().await? };
            match occupant {
                Occupant::Ours => return Ok(()),
                Occupant::Stranger => return Err(Problem::VmidTaken),
                Occupant::InTheMaking => {}
                Occupant::Nobody => match self.ask_for_clone().await {
                    Ok(()) => return Ok(()),
                    // Our one request lost against somebody else's.
                    Err(error) if error.is_already_exists() && certainly_unmade => return Err(Problem::VmidTaken),
                    Err(error) if error.is_already_exists() || error.is_locked() => {}
                    Err(error) => return Err(error.into()),
                },
            }
            // A try that failed on a lock made nothing: the next one is as good as the first.
            if patience.is_over() {
                return Err(Problem::NotReady { seconds: LOCK_PATIENCE.as_secs() });
            }
            certainly_unmade = certainly_unmade && matches!(occupant, Occupant::Nobody);
            self.pause(LOCK_PAUSE).await?;
        }
    }

    async fn ask_for_clone(&self) -> Result<(), pve::Error> {
        let template = self.marker.template.unwrap_or_default();
        let request = CloneRequest {
            newid: self.marker.vmid,
            name: self.name.clone(),
            description: self.marker.to_string(),
            pool: Some(self.place.resource_pool.clone()),
            full: false,
        };
        let upid = self.pve.qemu(&self.place.node, template).clone_to(&request).await?;
        self.wait(&upid).await
    }

    async fn occupant(&self) -> Result<Occupant, Problem> {
        let config = match self.qemu().config().await {
            Ok(config) => config,
            Err(error) if error.is_guest_missing() => return self.unseen_occupant().await,
            // A stub is in no resource pool yet, so a narrow token may not read it.
            Err(error) if error.is_permission_denied() => return Ok(Occupant::InTheMaking),
            Err(error) => return Err(error.into()),
        };
        if config.lock().is_some() {
            return Ok(Occupant::InTheMaking);
        }
        Ok(if self.is_incarnation(&config) { Occupant::Ours } else { Occupant::Stranger })
    }

    /// The VMID may belong to a container, or to a VM on another node.
    async fn unseen_occupant(&self) -> Result<Occupant, Problem> {
        let free = self.pve.is_free(self.marker.vmid).await?;
        Ok(if free { Occupant::Nobody } else { Occupant::Stranger })
    }
}
