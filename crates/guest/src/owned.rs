//! A guest that was proved to be ours. Other code changes, starts, stops and destroys guests, and speaks to them, only
//! through this type.

use ownership::{Build, Kind as Role, Marker, NodeName, Vmid};
use pve::{Agent, Config, Lxc, Qemu, Upid};
use tokio::time::Instant;

use crate::kind::Kind;
use crate::{Candidate, Error, Problem};

/// A VM of ours.
pub type OwnedVm = OwnedGuest<Qemu>;
/// A container of ours.
pub type OwnedContainer = OwnedGuest<Lxc>;

/// A guest of ours, as it was at the moment of the proof.
///
/// Nothing but [`Candidate::prove`] makes one. Each of its actions is one attempt, which follows the proof at once.
/// Changes are made under the digest of the configuration that was proved. Attempts that are repeated prove again.
#[derive(Debug, Clone)]
pub struct OwnedGuest<G> {
    pub(crate) candidate: Candidate<G>,
    pub(crate) raw: G,
    pub(crate) config: Config,
    pub(crate) marker: Option<Marker>,
    /// Time at which the reads for the proof began.
    pub(crate) proved_at: Instant,
}

impl<G: Kind> OwnedGuest<G> {
    /// Returns the VMID.
    #[must_use]
    pub fn vmid(&self) -> Vmid {
        self.candidate.vmid
    }

    /// Returns the node of the guest.
    #[must_use]
    pub fn node(&self) -> &NodeName {
        self.raw.node()
    }

    /// Returns the configuration that was proved.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Returns the marker. Only a VM that Packer is still building has none.
    #[must_use]
    pub fn marker(&self) -> Option<&Marker> {
        self.marker.as_ref()
    }

    /// Returns the candidate from which the guest was proved, to prove it again.
    #[must_use]
    pub fn candidate(&self) -> &Candidate<G> {
        &self.candidate
    }

    /// Returns true if the guest runs now.
    ///
    /// # Errors
    /// Those of the request.
    pub async fn is_running(&self) -> Result<bool, Error> {
        let status = self.raw.status().await;
        Ok(status.map_err(|error| self.candidate.error("examine", error))?.is_running())
    }

    /// Changes options, if the configuration has not changed since the proof.
    ///
    /// # Errors
    /// [`pve::Error::is_digest_conflict`] if the configuration has changed.
    pub async fn change(&self, options: &[(&str, &str)]) -> Result<(), pve::Error> {
        self.raw.set_config(options, self.config.digest()).await
    }

    /// Waits for a task of this guest.
    pub(crate) async fn wait(&self, task: &Upid) -> Result<(), pve::Error> {
        self.candidate.pve.wait(task, &self.candidate.wait).await.map(drop)
    }

    /// Starts the guest and waits for the end of the task. Succeeds if the guest runs already.
    ///
    /// # Errors
    /// When PVE does not start it.
    pub async fn start(&self) -> Result<(), Error> {
        let started = async { self.wait(&self.raw.start().await?).await };
        match started.await {
            Err(error) if error.is_running() => Ok(()),
            outcome => outcome.map_err(|error| self.candidate.error("start", error)),
        }
    }

    /// Stops the guest if it runs.
    pub(crate) async fn stop_now(&self) -> Result<(), Problem> {
        if self.config.is_template() || !self.raw.status().await?.is_running() {
            return Ok(());
        }
        let stopped = async { self.wait(&self.raw.stop().await?).await };
        match stopped.await {
            Err(error) if error.is_not_running() => Ok(()),
            outcome => Ok(outcome?),
        }
    }

    /// Destroys the guest. Its protection, and the marker of a template that may be cloned, are removed first, under the
    /// digest of the proof.
    pub(crate) async fn delete_now(&self) -> Result<(), Problem> {
        let retired = self.retired();
        let mut changes = Vec::new();
        if self.config.flag("protection") {
            changes.push(("protection", "0"));
        }
        changes.extend(retired.as_deref().map(|description| ("description", description)));
        if !changes.is_empty() {
            self.change(&changes).await?;
        }
        tracing::info!(vmid = self.vmid().get(), node = %self.node(), "destroying a guest");
        let task = self.raw.delete().await?;
        Ok(self.wait(&task).await?)
    }

    /// Returns the description that marks a template version as retired, or `None` if the guest needs no such mark.
    fn retired(&self) -> Option<String> {
        let marker = self.marker.as_ref().filter(|marker| marker.kind == Role::Template)?;
        if !self.config.is_template() || marker.build == Some(Build::Retired) {
            return None;
        }
        Some(Marker { build: Some(Build::Retired), ..marker.clone() }.replace_in(self.config.description()))
    }
}

impl OwnedVm {
    /// Returns its guest agent. The VMs of a runner pool are one party.
    #[must_use]
    pub fn agent(&self) -> Agent {
        let pool = self.marker.as_ref().and_then(|marker| marker.pool.as_ref());
        self.raw.agent().of_party(pool.map_or("", |pool| pool.as_str()))
    }

    /// Opens its first serial port.
    ///
    /// # Errors
    /// Those of [`pve::console::connect_serial`].
    pub(crate) async fn serial_console(&self) -> Result<pve::console::Console, pve::Error> {
        pve::console::connect_serial(&self.raw).await
    }
}

impl OwnedContainer {
    /// Opens its console.
    ///
    /// # Errors
    /// Those of [`pve::console::connect`].
    pub async fn console(&self) -> Result<pve::console::Console, pve::Error> {
        pve::console::connect(&self.raw).await
    }

    /// Moves a mount point's volume to another container of ours, at the same mount point. Both must be stopped.
    ///
    /// # Errors
    /// When PVE does not move it.
    pub async fn move_volume(&self, volume: &str, to: &Self) -> Result<(), Error> {
        let moved = async {
            let task = self.raw.move_volume(volume, to.vmid(), volume).await?;
            self.wait(&task).await
        };
        moved.await.map_err(|error| self.candidate.error("move a volume of", error))
    }
}
