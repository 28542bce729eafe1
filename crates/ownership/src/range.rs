//! VMID ranges, written `first-last`, both ends included.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Smallest VMID that PVE accepts for a guest (API schema, `pve-vmid`).
const SMALLEST: u32 = 100;
/// Largest VMID that PVE accepts for a guest (API schema, `pve-vmid`).
const LARGEST: u32 = 999_999_999;

/// An inclusive range of VMIDs, for example `9100-9199`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VmidRange {
    first: u32,
    last: u32,
}

/// Why a text is not a VMID range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// Neither `first-last` nor a single number.
    #[error("\"{0}\" is not a VMID range: write it as \"first-last\", for example \"9100-9199\"")]
    Syntax(String),
    /// The first number is greater than the last.
    #[error("the VMID range {first}-{last} is empty: its first number is greater than its last")]
    Empty {
        /// Lower end as written.
        first: u32,
        /// Upper end as written.
        last: u32,
    },
    /// The VMID is outside of PVE's bounds.
    #[error("VMID {0} is not a number from {SMALLEST} to {LARGEST}, as Proxmox VE requires")]
    OutOfBounds(u32),
}

impl VmidRange {
    /// Makes a range that includes both ends.
    ///
    /// # Errors
    /// When it is empty or beyond PVE's bounds.
    pub fn new(first: u32, last: u32) -> Result<Self, RangeError> {
        if first > last {
            return Err(RangeError::Empty { first, last });
        }
        match [first, last].into_iter().find(|vmid| !(SMALLEST..=LARGEST).contains(vmid)) {
            Some(vmid) => Err(RangeError::OutOfBounds(vmid)),
            None => Ok(Self { first, last }),
        }
    }

    /// Returns the lowest VMID.
    #[must_use]
    pub fn first(self) -> u32 {
        self.first
    }

    /// Returns the highest VMID.
    #[must_use]
    pub fn last(self) -> u32 {
        self.last
    }

    /// Returns true if the VMID belongs to the range.
    #[must_use]
    pub fn contains(self, vmid: u32) -> bool {
        (self.first..=self.last).contains(&vmid)
    }

    /// Returns true if the two ranges have a VMID in common.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// Returns all VMIDs, ascending.
    pub fn iter(self) -> impl Iterator<Item = u32> {
        self.first..=self.last
    }
}

impl fmt::Display for VmidRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}", self.first, self.last)
    }
}

impl FromStr for VmidRange {
    type Err = RangeError;

    /// Reads `first-last`; a single number is a range of one.
    fn from_str(text: &str) -> Result<Self, RangeError> {
        let syntax = || RangeError::Syntax(text.to_owned());
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let number = |part: &str| part.trim().parse::<u32>().map_err(|_| syntax());
        Self::new(number(first)?, number(last)?)
    }
}

impl TryFrom<String> for VmidRange {
    type Error = RangeError;

    fn try_from(text: String) -> Result<Self, RangeError> {
        text.parse()
    }
}

impl From<VmidRange> for String {
    fn from(range: VmidRange) -> Self {
        range.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_belong_to_it() {
        let range: VmidRange = "9100-9199".parse().unwrap();
        assert!(range.contains(9100) && range.contains(9199));
        assert!(!range.contains(9099) && !range.contains(9200));
        assert_eq!(range.iter().count(), 100);
        assert_eq!(range.to_string(), "9100-9199");
    }

    #[test]
    fn a_single_number_is_a_range_of_one() {
        let range: VmidRange = "9100".parse().unwrap();
        assert_eq!((range.first(), range.last()), (9100, 9100));
    }

    #[test]
    fn nonsense_is_refused_with_the_reason() {
        assert!(matches!("a-b".parse::<VmidRange>(), Err(RangeError::Syntax(_))));
        assert!(matches!("1-2-3".parse::<VmidRange>(), Err(RangeError::Syntax(_))));
        assert_eq!("200-100".parse::<VmidRange>(), Err(RangeError::Empty { first: 200, last: 100 }));
        assert_eq!("99-200".parse::<VmidRange>(), Err(RangeError::OutOfBounds(99)));
        assert_eq!("100-1000000000".parse::<VmidRange>(), Err(RangeError::OutOfBounds(1_000_000_000)));
    }

    #[test]
    fn overlap_is_symmetric_and_inclusive() {
        let range = |text: &str| text.parse::<VmidRange>().unwrap();
        assert!(range("100-200").overlaps(range("200-300")));
        assert!(range("200-300").overlaps(range("100-200")));
        assert!(!range("100-199").overlaps(range("200-300")));
    }
}
