//! The destruction, and the proof that comes before it.

use crate::retry::{LOCK_PATIENCE, LOCK_PAUSE, Patience};
use crate::{Error, Problem, RunnerVm};

impl RunnerVm {
    /// Destroys the powered-off VM with its disks. One that is gone is not an error.
    ///
    /// # Errors
    /// [`Problem::StillRunning`]; [`Problem::NotOurs`] and [`Problem::OtherIncarnation`]: it is left alone.
    pub async fn destroy(&self) -> Result<(), Error> {
        let patience = Patience::of(LOCK_PATIENCE);
        loop {
            match self.destroy_once().await {
                Err(Problem::Pve(error)) if error.is_guest_missing() => return Ok(()),
                // Proxmox VE looks at the power by itself, before it touches anything.
                Err(Problem::Pve(error)) if error.is_running() => {
                    return Err(self.error("destroy", Problem::StillRunning));
                }
                Err(Problem::Pve(error)) if is_passing(&error) && !patience.is_over() => {}
                other => return other.map_err(|problem| self.error("destroy", problem)),
            }
            self.pause(LOCK_PAUSE).await.map_err(|problem| self.error("destroy", problem))?;
        }
    }

    /// Reads the whole proof in each try: between two of them the VMID may have changed hands.
    async fn destroy_once(&self) -> Result<(), Problem> {
        let config = self.qemu().config().await?;
        self.prove(&config).await?;
        if config.flag("protection") {
            // The digest makes this the moment of truth: it fails if anything changed since the proof.
            self.qemu().set_config(&[("protection", "0")], config.digest()).await?;
        }
        let upid = self.qemu().delete().await?;
        Ok(self.wait(&upid).await?)
    }
}

fn is_passing(error: &pve::Error) -> bool {
    error.is_locked() || error.is_digest_conflict() || error.is_protected()
}
