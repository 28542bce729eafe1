//! The linked clone. Its marker travels in the clone call itself, so that from the end of the task on the VM says whose it is.

use pve::{CloneRequest, Config};

use crate::retry::{CLONE_PAUSE, LOCK_PATIENCE, LOCK_PAUSE, Patience};
use crate::{Error, Problem, RunnerVm};

/// What stands at the VMID.
enum Occupant {
    Nobody,
    /// This incarnation, complete.
    Ours(Config),
    /// A clone in the making, perhaps ours: PVE does not say whose before it is complete.
    InTheMaking,
    Foreign,
}

/// Description that Proxmox VE gives a clone until it is complete.
const STUB: &str = "qmclone temporary file";

impl RunnerVm {
    /// Makes the VM as a linked clone of the template in its marker, or finds that an earlier try made it. Returns the
    /// configuration, if it was read in the process, for [`RunnerVm::configure`].
    ///
    /// `first`: no earlier try can have reached PVE. A VMID that is taken is then certainly not ours.
    ///
    /// # Errors
    /// [`Problem::VmidTaken`]: choose another VMID, with a new incarnation, and leave this one alone.
    pub async fn clone_from_template(&self, first: bool) -> Result<Option<Config>, Error> {
        self.make_clone(first).await.map_err(|problem| self.error("clone", problem))
    }

    async fn make_clone(&self, first: bool) -> Result<Option<Config>, Problem> {
        let patience = Patience::of(LOCK_PATIENCE);
        let mut certainly_unmade = first;
        loop {
            let occupant = if certainly_unmade { Occupant::Nobody } else { self.occupant().await? };
            match occupant {
                Occupant::Ours(config) => return Ok(Some(config)),
                Occupant::Foreign => return Err(Problem::VmidTaken),
                Occupant::InTheMaking if self.was_cut_off().await? => return Err(self.half_made()),
                Occupant::InTheMaking => self.pause(CLONE_PAUSE).await?,
                Occupant::Nobody => match self.ask_for_clone().await {
                    Ok(config) => return Ok(config),
                    // Our one request lost against a foreign one.
                    Err(error) if error.is_already_exists() && certainly_unmade => return Err(Problem::VmidTaken),
                    Err(error) if error.is_already_exists() || error.is_locked() || error.is_not_carried_out() => {}
                    Err(error) => return Err(error.into()),
                },
            }
            // A request that failed on a lock, or that was not carried out, made nothing. The next one is as good as
            // the first.
            if patience.is_over() {
                return Err(Problem::NotReady { seconds: LOCK_PATIENCE.as_secs() });
            }
            certainly_unmade = certainly_unmade && matches!(occupant, Occupant::Nobody);
            self.pause(LOCK_PAUSE).await?;
        }
    }

    async fn ask_for_clone(&self) -> Result<Option<Config>, pve::Error> {
        let template = self.marker.template.unwrap_or_default();
        let request = CloneRequest {
            newid: self.marker.vmid,
            name: self.name.clone(),
            description: self.marker.to_string(),
            pool: Some(self.place.resource_pool.clone()),
            full: false,
        };
        let upid = self.pve.qemu(&self.place.node, template).clone_to(&request).await?;
        self.wait_for_effect(&upid, || self.complete_clone()).await
    }

    /// Returns the configuration if the clone is complete. Until then, a narrow token may not read it.
    async fn complete_clone(&self) -> Option<Config> {
        let config = self.qemu().config_if_visible().await.ok()?;
        (config.lock().is_none() && self.is_incarnation(&config)).then_some(config)
    }

    /// Returns true if the clone at the VMID is not complete and is no longer being made.
    async fn was_cut_off(&self) -> Result<bool, Problem> {
        if self.pve.is_task_running(&self.place.node, "qmclone").await? {
            return Ok(false);
        }
        // The clone may have been completed between the two requests.
        Ok(matches!(self.occupant().await?, Occupant::InTheMaking))
    }

    fn half_made(&self) -> Problem {
        Problem::HalfMade { vmid: self.marker.vmid, node: self.place.node.clone() }
    }

    /// Turns an error of [`RunnerVm::stop`] or [`RunnerVm::destroy`] into [`Problem::HalfMade`] if the VM is an
    /// interrupted clone. Call it only for a VM whose clone never completed, because a missing privilege causes the
    /// same error.
    pub async fn explain_unmade(&self, error: Error) -> Error {
        if !self.is_about_stub(&error.problem).await {
            return error;
        }
        match self.pve.is_task_running(&self.place.node, "qmclone").await {
            Ok(false) => Error { problem: self.half_made(), ..error },
            Ok(true) | Err(_) => error,
        }
    }

    async fn is_about_stub(&self, problem: &Problem) -> bool {
        match problem {
            Problem::Pve(error) => error.is_permission_denied(),
            Problem::NotOurs(_) => self.qemu().config().await.is_ok_and(|config| is_stub(&config)),
            _ => false,
        }
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
        Ok(if self.is_incarnation(&config) { Occupant::Ours(config) } else { Occupant::Foreign })
    }

    /// The VMID may belong to a container, or to a VM on another node.
    async fn unseen_occupant(&self) -> Result<Occupant, Problem> {
        let free = self.pve.is_free(self.marker.vmid).await?;
        Ok(if free { Occupant::Nobody } else { Occupant::Foreign })
    }
}

fn is_stub(config: &Config) -> bool {
    config.lock() == Some("clone") && config.description().contains(STUB)
}
