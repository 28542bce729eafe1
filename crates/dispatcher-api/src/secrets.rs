//! The two secrets of a dispatcher.

use secrecy::{ExposeSecret, SecretString};

/// What a dispatcher authenticates with. Printing it shows nothing.
#[derive(Debug, Clone)]
pub struct Secrets {
    /// Secret of the Proxmox VE API token that the configuration names.
    pub pve_token_secret: SecretString,
    /// GitHub personal access token.
    pub github_token: SecretString,
}

impl PartialEq for Secrets {
    fn eq(&self, other: &Self) -> bool {
        let pair = |secrets: &Self| (secrets.pve_token_secret.expose_secret().to_owned(), secrets.github_token.expose_secret().to_owned());
        pair(self) == pair(other)
    }
}
