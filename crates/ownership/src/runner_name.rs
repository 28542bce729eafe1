//! Names of runners, which contain the owner.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{Installation, NameError, Nonce, PoolName, Vmid};

/// A runner's name is a DNS label, because it is the guest's host name too.
const LONGEST: usize = 63;

/// Name of a runner, `{installation}-{pool}-{vmid}-{nonce}`. Its VM at PVE, its registration at GitHub and its host
/// have this name. Installation and pool can only be separated if the installation is known, because both may contain
/// dashes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunnerName {
    text: String,
    vmid: Vmid,
    nonce: Nonce,
}

impl RunnerName {
    /// Makes the name of a new runner.
    #[must_use]
    pub fn new(installation: &Installation, pool: &PoolName, vmid: Vmid, nonce: Nonce) -> Self {
        Self { text: format!("{installation}-{pool}-{vmid}-{nonce}"), vmid, nonce }
    }

    /// Makes the name of a clone that verifies a template. It has the form of a runner's name, so nothing else of the
    /// installation can have it, but the clone is never registered.
    #[must_use]
    pub fn of_verification(installation: &Installation, vmid: Vmid, nonce: Nonce) -> Self {
        Self { text: format!("{installation}-verify-{vmid}-{nonce}"), vmid, nonce }
    }

    /// Reads a name that a known installation has made.
    ///
    /// # Errors
    /// [`NameError::Runner`] when that installation did not make it.
    pub fn parse(installation: &Installation, text: &str) -> Result<Self, NameError> {
        let name: Self = text.parse()?;
        match name.pool(installation) {
            Some(_) => Ok(name),
            None => Err(NameError::Runner(text.to_owned())),
        }
    }

    /// Returns the text of the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the VMID of the runner's VM.
    #[must_use]
    pub fn vmid(&self) -> Vmid {
        self.vmid
    }

    /// Returns the text that identifies the incarnation of the VMID.
    #[must_use]
    pub fn nonce(&self) -> &Nonce {
        &self.nonce
    }

    /// Returns the pool that the runner serves, or `None` if another installation made the name.
    #[must_use]
    pub fn pool(&self, installation: &Installation) -> Option<PoolName> {
        pool_in(head(&self.text)?, installation.as_str())
    }
}

/// Returns the part of a name before VMID and nonce.
fn head(text: &str) -> Option<&str> {
    Some(text.rsplit_once('-')?.0.rsplit_once('-')?.0)
}

fn pool_in(head: &str, installation: &str) -> Option<PoolName> {
    head.strip_prefix(installation)?.strip_prefix('-')?.parse().ok()
}

/// Returns true if the text can be divided into an installation and a pool.
fn is_head(text: &str) -> bool {
    let is_installation = |at: usize| text[..at].parse::<Installation>().is_ok();
    text.match_indices('-').any(|(at, _)| is_installation(at) && pool_in(text, &text[..at]).is_some())
}

/// Prints the text alone, as logs show it.
impl fmt::Debug for RunnerName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, formatter)
    }
}

impl fmt::Display for RunnerName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl FromStr for RunnerName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let read = || {
            let (rest, nonce) = text.rsplit_once('-')?;
            let (head, vmid) = rest.rsplit_once('-')?;
            let (vmid, nonce): (Vmid, Nonce) = (vmid.parse().ok()?, nonce.parse().ok()?);
            // A number can be written in several ways, but a name has only one form.
            let is_ours = text.len() <= LONGEST && text == format!("{head}-{vmid}-{nonce}") && is_head(head);
            is_ours.then(|| Self { text: text.to_owned(), vmid, nonce })
        };
        read().ok_or_else(|| NameError::Runner(text.to_owned()))
    }
}

impl TryFrom<String> for RunnerName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<RunnerName> for String {
    fn from(name: RunnerName) -> Self {
        name.text
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_contains_vmid_incarnation_and_pool() {
        let lab: Installation = "lab".parse().unwrap();
        let name = RunnerName::parse(&lab, "lab-ubuntu-2204-9101-k3x9ab").unwrap();
        assert_eq!((name.vmid().get(), name.nonce().as_str()), (9101, "k3x9ab"));
        assert_eq!(name.pool(&lab).unwrap().as_str(), "ubuntu-2204");
        assert_eq!(name.pool(&"lab-ubuntu".parse().unwrap()).unwrap().as_str(), "2204");
        assert_eq!(name.pool(&"other".parse().unwrap()), None);
    }

    #[test]
    fn the_name_of_a_verification_clone_has_the_form_of_a_runners_name() {
        let (lab, vmid) = ("lab".parse().unwrap(), Vmid::new(9040).unwrap());
        let name = RunnerName::of_verification(&lab, vmid, "k3x9ab".parse().unwrap());
        assert_eq!(name.as_str(), "lab-verify-9040-k3x9ab");
        assert_eq!(RunnerName::parse(&lab, name.as_str()).unwrap(), name);
    }

    #[test]
    fn a_name_is_a_string_in_json() {
        let text = "\"lab-ubuntu-9101-k3x9ab\"";
        let name: RunnerName = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&name).unwrap(), text);
        assert!(serde_json::from_str::<RunnerName>("\"lab-9101-k3x9ab\"").is_err());
    }

    #[test]
    fn a_foreign_runner_name_is_refused() {
        let lab: Installation = "lab".parse().unwrap();
        for foreign in [
            "laboratory-p-9100-abcdef",
            "lab-9100-abcdef",
            "lab-p-9100-ABCDEF",
            "lab-p-x-abcdef",
            "lab-p-09100-abcdef",
            "lab-p-+9100-abcdef",
            "lab",
            "other-p-9100-abcdef",
        ] {
            assert!(RunnerName::parse(&lab, foreign).is_err(), "{foreign}");
        }
    }

    proptest! {
        #[test]
        fn runner_names_survive_a_round_trip_and_are_dns_labels(
            installation in "[a-z0-9]([a-z0-9-]{0,14}[a-z0-9])?",
            pool in "[a-z0-9]([a-z0-9-]{0,27}[a-z0-9])?",
            vmid in 100u32..=999_999_999,
            nonce in "[a-z0-9]{6}",
        ) {
            let (installation, pool) = (installation.parse().unwrap(), pool.parse().unwrap());
            let name = RunnerName::new(&installation, &pool, Vmid::new(vmid).unwrap(), nonce.parse().unwrap());
            prop_assert!(name.as_str().len() <= 63);
            prop_assert_eq!(name.pool(&installation), Some(pool));
            prop_assert_eq!(RunnerName::parse(&installation, name.as_str()).unwrap(), name.clone());
            prop_assert_eq!(name.as_str().parse::<RunnerName>().unwrap(), name);
        }
    }
}
