//! The linked clone. The request for it carries its marker, so a complete clone always names its owner.

use std::time::Duration;

use ownership::{NodeName, Vmid};
use pve::{CloneRequest, Config, Qemu};

use crate::attempts::{LOCK_DEADLINE, LOCK_PAUSE, attempts};
use crate::{Candidate, Error, OwnedVm, Problem, RunnerVm};

/// Pause between two reads of a clone that is being made.
const CLONE_PAUSE: Duration = Duration::from_secs(2);

/// The guest that occupies a VMID.
enum Occupant {
    Nobody,
    /// This incarnation as a complete VM, on the node where it is now.
    Ours(Qemu, Config),
    /// An incomplete clone, which may be ours. PVE does not show its owner before it is complete.
    InTheMaking,
    Foreign,
}

/// Reason why an attempt made no clone.
#[derive(Debug)]
enum Unmade {
    /// The request made nothing, because PVE held a lock or did not carry it out.
    Busy,
    /// A clone is being made at the VMID.
    InTheMaking,
    Problem(Problem),
}

impl From<Problem> for Unmade {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl Unmade {
    fn pause_after(&self) -> Option<Duration> {
        match self {
            Self::Busy => Some(LOCK_PAUSE),
            Self::InTheMaking => Some(CLONE_PAUSE),
            Self::Problem(_) => None,
        }
    }

    fn into_problem(self) -> Problem {
        match self {
            Self::Busy | Self::InTheMaking => Problem::NotReady { seconds: LOCK_DEADLINE.as_secs() },
            Self::Problem(problem) => problem,
        }
    }
}

/// Description that PVE gives a clone until it is complete.
const STUB: &str = "qmclone temporary file";

impl RunnerVm {
    /// Makes the VM as a linked clone of the template in its marker, or finds that an earlier call made it. Returns the
    /// VM for [`RunnerVm::configure`] if it could be proved after that.
    ///
    /// `first` is true if no earlier call can have reached PVE. A VMID that is taken then belongs to another guest.
    ///
    /// # Errors
    /// [`Problem::VmidTaken`] if another guest has the VMID. Choose another VMID, with a new incarnation.
    /// [`Problem::NoTemplate`] if the marker names no template.
    pub async fn clone_from_template(&self, first: bool) -> Result<Option<OwnedVm>, Error> {
        let cancel = &self.candidate.wait.cancel;
        let made = attempts(cancel, LOCK_DEADLINE, || self.clone_once(first), Unmade::pause_after).await;
        let found = made.map_err(|unmade| self.error("clone", unmade.into_problem()))?;
        let Some((raw, config)) = found else { return Ok(None) };
        // The clone exists even if the proof fails. The next step then reads the proof again.
        Ok(self.candidate.proven_with(raw, config).await.ok())
    }

    async fn clone_once(&self, first: bool) -> Result<Option<(Qemu, Config)>, Unmade> {
        let occupant = if first { Occupant::Nobody } else { self.occupant().await? };
        match occupant {
            Occupant::Ours(raw, config) => Ok(Some((raw, config))),
            Occupant::Foreign => Err(Problem::VmidTaken.into()),
            Occupant::InTheMaking if self.was_cut_off().await? => Err(self.half_made().into()),
            Occupant::InTheMaking => Err(Unmade::InTheMaking),
            Occupant::Nobody => match self.ask_for_clone(self.marker.template.ok_or(Problem::NoTemplate)?).await {
                Ok(config) => Ok(config.map(|config| (self.candidate.last_seen.clone(), config))),
                // The request of another program came first.
                Err(error) if error.is_already_exists() && first => Err(Problem::VmidTaken.into()),
                // Such a request made nothing, so it can be repeated.
                Err(error) if error.is_already_exists() || error.is_locked() || error.is_not_carried_out() => {
                    Err(Unmade::Busy)
                }
                Err(error) => Err(Problem::from(error).into()),
            },
        }
    }

    async fn ask_for_clone(&self, template: Vmid) -> Result<Option<Config>, pve::Error> {
        let request = CloneRequest {
            newid: self.marker.vmid,
            name: self.name.to_string(),
            description: self.marker.to_string(),
            pool: Some(self.candidate.proof.resource_pool.clone()),
            full: false,
        };
        let Candidate { pve, wait, .. } = &self.candidate;
        let upid = pve.qemu(self.node(), template).clone_to(&request).await?;
        pve.wait_for_effect(&upid, wait, || self.complete_clone()).await
    }

    /// Returns the configuration if the clone is complete. A token for the resource pool may not read it before.
    async fn complete_clone(&self) -> Option<Config> {
        let config = self.candidate.last_seen.config_if_visible().await.ok()?;
        (config.lock().is_none() && self.is_incarnation(&config)).then_some(config)
    }

    /// Returns true if the clone at the VMID is not complete and is no longer being made.
    async fn was_cut_off(&self) -> Result<bool, Problem> {
        if self.candidate.pve.is_task_running(self.node(), "qmclone").await? {
            return Ok(false);
        }
        // The clone may have been completed between the two requests.
        Ok(matches!(self.occupant().await?, Occupant::InTheMaking))
    }

    fn half_made(&self) -> Problem {
        Problem::HalfMade { vmid: self.marker.vmid, node: self.node().clone() }
    }

    /// Turns an error of [`RunnerVm::stop`] or [`RunnerVm::destroy`] into [`Problem::HalfMade`] if the VM is an
    /// interrupted clone. Call this function only for a VM whose clone never completed, because a missing privilege
    /// causes the same error.
    pub async fn explain_unmade(&self, error: Error) -> Error {
        if !self.is_about_stub(&error.problem).await {
            return error;
        }
        match self.candidate.pve.is_task_running(self.node(), "qmclone").await {
            Ok(false) => Error { problem: self.half_made(), ..error },
            Ok(true) | Err(_) => error,
        }
    }

    async fn is_about_stub(&self, problem: &Problem) -> bool {
        match problem {
            Problem::Pve(error) => error.is_permission_denied(),
            Problem::NotOurs(_) => self.candidate.last_seen.config().await.is_ok_and(|config| is_stub(&config)),
            _ => false,
        }
    }

    async fn occupant(&self) -> Result<Occupant, Problem> {
        let config = match self.candidate.last_seen.config().await {
            Ok(config) => config,
            Err(error) if error.is_guest_missing() => return self.unseen_occupant().await,
            // A stub is not in the resource pool yet, so a token for the pool may not read it.
            Err(error) if error.is_permission_denied() => return Ok(Occupant::InTheMaking),
            Err(error) => return Err(error.into()),
        };
        Ok(self.judge(self.candidate.last_seen.clone(), config))
    }

    fn judge(&self, raw: Qemu, config: Config) -> Occupant {
        if config.lock().is_some() {
            return Occupant::InTheMaking;
        }
        if self.is_incarnation(&config) { Occupant::Ours(raw, config) } else { Occupant::Foreign }
    }

    /// Finds out whether the VMID belongs to a container, or to a VM on another node.
    async fn unseen_occupant(&self) -> Result<Occupant, Problem> {
        if self.candidate.pve.is_free(self.candidate.vmid).await? {
            return Ok(Occupant::Nobody);
        }
        match self.candidate.find().await {
            Ok((raw, config)) => Ok(self.judge(raw, config)),
            // The VMID belongs to a container.
            Err(Problem::Gone) => Ok(Occupant::Foreign),
            Err(problem) => Err(problem),
        }
    }

    fn node(&self) -> &NodeName {
        self.candidate.last_seen.node()
    }
}

fn is_stub(config: &Config) -> bool {
    config.lock() == Some("clone") && config.description().contains(STUB)
}
