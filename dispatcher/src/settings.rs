//! The settings of a dispatcher: a configuration and its secrets.

use dispatcher_api::{Config, Secrets};

/// A configuration with the secrets that belong to it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Declared configuration.
    pub config: Config,
    /// PVE token secret and GitHub token; their `Debug` shows nothing.
    pub secrets: Secrets,
}
