//! VMIDs, the numbers of guests.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Smallest VMID that PVE accepts for a guest (API schema, `pve-vmid`).
const SMALLEST: u32 = 100;
/// Largest VMID that PVE accepts for a guest (API schema, `pve-vmid`).
const LARGEST: u32 = 999_999_999;

/// Number of a guest in a cluster, 100 to 999999999. Written as a number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Vmid(u32);

/// Reason why a number or a text is not a VMID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VmidError {
    /// PVE does not accept the number.
    #[error("VMID {0} is not in the range that Proxmox VE accepts ({SMALLEST} to {LARGEST})")]
    OutOfBounds(u32),
    /// The text is not a number.
    #[error("\"{0}\" is not a VMID: a number from {SMALLEST} to {LARGEST} is expected")]
    Syntax(String),
}

impl Vmid {
    /// Checks a number.
    ///
    /// # Errors
    /// [`VmidError::OutOfBounds`].
    pub fn new(number: u32) -> Result<Self, VmidError> {
        if (SMALLEST..=LARGEST).contains(&number) { Ok(Self(number)) } else { Err(VmidError::OutOfBounds(number)) }
    }

    /// Returns the number.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0
    }
}

/// Prints the number alone, as logs show it.
impl fmt::Debug for Vmid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl fmt::Display for Vmid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl FromStr for Vmid {
    type Err = VmidError;

    fn from_str(text: &str) -> Result<Self, VmidError> {
        let number = text.parse().map_err(|_| VmidError::Syntax(text.to_owned()))?;
        Self::new(number)
    }
}

impl TryFrom<u32> for Vmid {
    type Error = VmidError;

    fn try_from(number: u32) -> Result<Self, VmidError> {
        Self::new(number)
    }
}

impl From<Vmid> for u32 {
    fn from(vmid: Vmid) -> Self {
        vmid.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vmids_have_the_bounds_of_proxmox_ve() {
        for number in [100, 9000, 999_999_999] {
            assert_eq!(Vmid::new(number).map(Vmid::get), Ok(number));
        }
        for number in [0, 99, 1_000_000_000] {
            assert_eq!(Vmid::new(number), Err(VmidError::OutOfBounds(number)));
        }
        assert_eq!("9000".parse(), Vmid::new(9000));
        for text in ["", "x", "-1", "9000.0"] {
            assert_eq!(text.parse::<Vmid>(), Err(VmidError::Syntax(text.to_owned())));
        }
    }

    #[test]
    fn a_vmid_is_a_number_in_json() {
        let vmid = Vmid::new(9000).unwrap();
        assert_eq!(serde_json::to_string(&vmid).unwrap(), "9000");
        assert_eq!(serde_json::from_str::<Vmid>("9000").unwrap(), vmid);
        assert_eq!(format!("{vmid:?} {vmid}"), "9000 9000");
        assert!(serde_json::from_str::<Vmid>("99").is_err());
        assert!(serde_json::from_str::<Vmid>("\"9000\"").is_err());
    }
}
