//! The control boundary: what the console, the control socket and the configuration file may ask of the running dispatcher.
//!
//! A handle is cheap to clone and never blocks on PVE or GitHub: the fleet's loop publishes its status, and picks changes up when it next wakes.

use std::sync::{Arc, Mutex, PoisonError};

use dispatcher_api::{Config, Secrets, Status};
use tokio::sync::watch;

use crate::logs::{LogLine, LogRing};
use crate::settings::Settings;
use crate::state_directory::{StateDirectory, StateError};

/// Why a new configuration was not taken over. The one before it stays in force.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The configuration contradicts itself.
    #[error("the configuration is not valid")]
    Invalid(#[source] dispatcher_api::ConfigError),
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
    status: watch::Sender<Status>,
    logs: LogRing,
}

impl Control {
    /// A handle for a dispatcher that starts with the given settings; `None`: unconfigured, waiting for [`Control::apply`].
    #[must_use]
    pub fn new(initial: Option<Settings>, state: Option<StateDirectory>, logs: LogRing) -> Self {
        let shared = Shared {
            state,
            applying: Mutex::new(()),
            settings: watch::Sender::new(initial.map(Arc::new)),
            draining: watch::Sender::new(false),
            retries: watch::Sender::new(()),
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
        let settings = Settings { config, secrets };
        let _guard = self.shared.applying.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(state) = &self.shared.state {
            state.store(&settings).map_err(ApplyError::Store)?;
        }
        self.shared.settings.send_replace(Some(Arc::new(settings)));
        Ok(())
    }

    /// What the dispatcher knows and is doing, as of its last round.
    #[must_use]
    pub fn status(&self) -> Status {
        self.shared.status.borrow().clone()
    }

    /// `true`: make no new runner VMs, let the ones at work finish, and release idle ones. `false`: work again.
    pub fn drain(&self, on: bool) {
        self.shared.draining.send_replace(on);
    }

    /// Tries again at once what waits because it failed.
    pub fn retry(&self) {
        self.shared.retries.send_replace(());
    }

    /// Log lines with a sequence number greater than `since`, oldest first; 0 asks for all that are kept.
    #[must_use]
    pub fn logs(&self, since: u64) -> Vec<LogLine> {
        self.shared.logs.since(since)
    }

    /// The settings in force, to wait for changes of them.
    pub(crate) fn settings(&self) -> watch::Receiver<Option<Arc<Settings>>> {
        self.shared.settings.subscribe()
    }

    /// Whether a drain was asked for, to wait for changes of it.
    pub(crate) fn draining(&self) -> watch::Receiver<bool> {
        self.shared.draining.subscribe()
    }

    /// Requests to try again, to wait for.
    pub(crate) fn retries(&self) -> watch::Receiver<()> {
        self.shared.retries.subscribe()
    }

    /// Publishes a new status.
    pub(crate) fn publish(&self, status: Status) {
        self.shared.status.send_replace(status);
    }
}
