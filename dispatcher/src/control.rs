//! The control boundary: what the console, the control socket and the configuration file may ask of the running dispatcher.
//!
//! A handle is cheap to clone and never blocks on PVE or GitHub: the fleet's loop publishes its status, and picks changes up when it next wakes.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use dispatcher_api::{Config, QuarantinedVm, Secrets, Status};
use ownership::RunnerName;
use tokio::sync::watch;

use crate::clients::{self, ClientsError};
use crate::logs::{LogLine, LogRing};
use crate::settings::Settings;
use crate::state_directory::{StateDirectory, StateError};

/// Why a new configuration was not taken over. The one before it stays in force.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The configuration contradicts itself.
    #[error("the configuration is not valid")]
    Invalid(#[source] dispatcher_api::ConfigError),
    /// No client can be made from it.
    #[error("the configuration cannot be used")]
    Unusable(#[source] ClientsError),
    /// It could not be kept for the next start.
    #[error("the configuration cannot be stored")]
    Store(#[source] StateError),
}

/// Handle to the running dispatcher.
#[derive(Debug, Clone)]
pub struct Control {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Absent when the configuration comes from a file or the environment: then there is nothing to keep.
    state: Option<StateDirectory>,
    /// Serialises `apply`, so that what is stored and what is in force cannot differ.
    applying: Mutex<()>,
    settings: watch::Sender<Option<Arc<Settings>>>,
    draining: watch::Sender<bool>,
    retries: watch::Sender<()>,
    /// VMs whose quarantine a person ends, until the loop takes them.
    releases: watch::Sender<BTreeSet<RunnerName>>,
    status: watch::Sender<Status>,
    logs: LogRing,
}

impl Control {
    /// Returns a handle for a dispatcher that starts with the given settings; `None`: unconfigured, waiting for [`Control::apply`].
    #[must_use]
    pub fn new(initial: Option<Settings>, state: Option<StateDirectory>, logs: LogRing) -> Self {
        let shared = Shared {
            state,
            applying: Mutex::new(()),
            settings: watch::Sender::new(initial.map(Arc::new)),
            draining: watch::Sender::new(false),
            retries: watch::Sender::new(()),
            releases: watch::Sender::default(),
            status: watch::Sender::new(Status::default()),
            logs,
        };
        Self { shared: Arc::new(shared) }
    }

    /// Checks the configuration, stores it for the next start, and puts it in force. Blocks for the disk only.
    ///
    /// # Errors
    /// When it is not valid or cannot be stored; nothing has changed then.
    pub fn apply(&self, config: Config, secrets: Secrets) -> Result<(), ApplyError> {
        config.validate().map_err(ApplyError::Invalid)?;
        clients::check(&config, &secrets).map_err(ApplyError::Unusable)?;
        let settings = Settings { config, secrets };
        let _guard = self.shared.applying.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(state) = &self.shared.state {
            state.store(&settings).map_err(ApplyError::Store)?;
        }
        self.shared.settings.send_replace(Some(Arc::new(settings)));
        Ok(())
    }

    /// Returns the status as of the last pass.
    #[must_use]
    pub fn status(&self) -> Status {
        self.shared.status.borrow().clone()
    }

    /// Starts to drain (`true`: no new runner VMs, release idle ones, let working ones finish) or to work again (`false`).
    pub fn drain(&self, on: bool) {
        self.shared.draining.send_replace(on);
    }

    /// Tries again at once what waits because it failed.
    pub fn retry(&self) {
        self.shared.retries.send_replace(());
    }

    /// Ends the quarantine of the VM of this name or VMID. Returns false if the last pass had no such VM in quarantine.
    #[must_use]
    pub fn release(&self, vm: &str) -> bool {
        let status = self.shared.status.borrow();
        let is_it = |kept: &&QuarantinedVm| kept.vm.as_str() == vm || kept.vmid.to_string() == vm;
        let Some(name) = status.quarantined.iter().find(is_it).map(|kept| kept.vm.clone()) else { return false };
        self.shared.releases.send_modify(|releases| {
            releases.insert(name);
        });
        true
    }

    /// Returns the log lines with a sequence number greater than `since`, oldest first; 0 asks for all that are kept.
    #[must_use]
    pub fn logs(&self, since: u64) -> Vec<LogLine> {
        self.shared.logs.since(since)
    }

    /// Returns the settings in force, to wait for their changes.
    pub(crate) fn settings(&self) -> watch::Receiver<Option<Arc<Settings>>> {
        self.shared.settings.subscribe()
    }

    /// Returns the drain mode, to wait for its changes.
    pub(crate) fn draining(&self) -> watch::Receiver<bool> {
        self.shared.draining.subscribe()
    }

    /// Requests to try again, to wait for.
    pub(crate) fn retries(&self) -> watch::Receiver<()> {
        self.shared.retries.subscribe()
    }

    /// Returns the VMs to release, to wait for.
    pub(crate) fn releases(&self) -> watch::Receiver<BTreeSet<RunnerName>> {
        self.shared.releases.subscribe()
    }

    /// Takes the VMs to release.
    pub(crate) fn take_releases(&self) -> BTreeSet<RunnerName> {
        let mut taken = BTreeSet::new();
        self.shared.releases.send_if_modified(|releases| {
            taken = std::mem::take(releases);
            false
        });
        taken
    }

    /// Publishes a new status.
    pub(crate) fn publish(&self, status: Status) {
        self.shared.status.send_replace(status);
    }
}
