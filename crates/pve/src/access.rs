//! Who the token is, and which PVE answers.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::{
    client::Client,
    error::Error,
    lenient,
    transport::{Call, Parameters},
};

/// Version of the PVE that answers.
#[derive(Debug, Clone, Deserialize)]
pub struct Version {
    /// For example `9.2.11`.
    pub version: String,
    /// For example `9.2`.
    #[serde(default)]
    pub release: String,
}

/// What the token may do: access control path → privileges. Paths inherit from the ones above unless they stand here themselves.
#[derive(Debug, Clone, Default)]
pub struct Permissions(BTreeMap<String, BTreeMap<String, Value>>);

impl Permissions {
    /// Whether the token has the privilege on the path, by the nearest path above that PVE lists.
    #[must_use]
    pub fn allows(&self, path: &str, privilege: &str) -> bool {
        let mut candidate = path.trim_end_matches('/');
        loop {
            let key = if candidate.is_empty() { "/" } else { candidate };
            if let Some(privileges) = self.0.get(key) {
                // The value says whether it propagates downwards; PVE resolves that for the paths that it lists.
                return privileges.get(privilege).is_some_and(|propagate| key == path || lenient::flag_of(propagate));
            }
            let Some((above, _)) = candidate.rsplit_once('/') else {
                return false;
            };
            candidate = above;
        }
    }
}

impl Client {
    /// Version of the server. Answers every token that authenticates.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn version(&self) -> Result<Version, Error> {
        self.call(Call::get("/version".to_owned(), &Parameters::default())).await
    }

    /// The token's privileges.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn permissions(&self) -> Result<Permissions, Error> {
        self.call(Call::get("/access/permissions".to_owned(), &Parameters::default())).await.map(Permissions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn privileges_are_inherited_when_they_propagate() {
        let permissions = Permissions(
            serde_json::from_str(r#"{"/": {"Sys.Audit": 1}, "/pool/ci": {"VM.Allocate": 1}, "/vms": {"VM.Audit": 0}}"#)
                .unwrap(),
        );
        assert!(permissions.allows("/pool/ci", "VM.Allocate"));
        assert!(permissions.allows("/nodes/pve1", "Sys.Audit"));
        assert!(permissions.allows("/vms", "VM.Audit") && !permissions.allows("/vms/100", "VM.Audit"));
        assert!(!Permissions::default().allows("/", "Sys.Audit"));
    }
}
