//! VMID ranges, written `first-last`, both ends included.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{Vmid, VmidError};

/// An inclusive range of VMIDs, for example `9100-9199`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VmidRange {
    first: Vmid,
    last: Vmid,
}

/// Reason why a text is not a VMID range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// The text is neither `first-last` nor a single number.
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
    /// PVE does not accept one of the ends.
    #[error(transparent)]
    Vmid(#[from] VmidError),
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
        Ok(Self { first: Vmid::new(first)?, last: Vmid::new(last)? })
    }

    /// Returns the range of one VMID.
    #[must_use]
    pub fn single(vmid: Vmid) -> Self {
        Self { first: vmid, last: vmid }
    }

    /// Returns the lowest VMID of the range.
    #[must_use]
    pub fn first(self) -> Vmid {
        self.first
    }

    /// Returns the highest VMID of the range.
    #[must_use]
    pub fn last(self) -> Vmid {
        self.last
    }

    /// Returns the number of VMIDs in the range.
    #[must_use]
    pub fn size(self) -> u32 {
        self.last.get() - self.first.get() + 1
    }

    /// Returns true if the VMID belongs to the range.
    #[must_use]
    pub fn contains(self, vmid: Vmid) -> bool {
        (self.first..=self.last).contains(&vmid)
    }

    /// Returns true if the two ranges have a VMID in common.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// Returns all VMIDs, ascending.
    pub fn iter(self) -> impl Iterator<Item = Vmid> {
        // Each number between two VMIDs is a VMID.
        (self.first.get()..=self.last.get()).filter_map(|number| Vmid::new(number).ok())
    }
}

impl fmt::Display for VmidRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}", self.first, self.last)
    }
}

impl FromStr for VmidRange {
    type Err = RangeError;

    /// Reads `first-last`. A single number is a range of one.
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
    fn both_ends_belong_to_the_range() {
        let range: VmidRange = "9100-9199".parse().unwrap();
        let contains = |number| range.contains(Vmid::new(number).unwrap());
        assert!(contains(9100) && contains(9199));
        assert!(!contains(9099) && !contains(9200));
        assert_eq!(range.iter().count(), 100);
        assert_eq!(range.to_string(), "9100-9199");
    }

    #[test]
    fn a_single_number_is_a_range_of_one() {
        let range: VmidRange = "9100".parse().unwrap();
        assert_eq!(
            (range.first(), range.last(), range.size()),
            (Vmid::new(9100).unwrap(), Vmid::new(9100).unwrap(), 1)
        );
    }

    #[test]
    fn nonsense_is_refused_with_the_reason() {
        assert!(matches!("a-b".parse::<VmidRange>(), Err(RangeError::Syntax(_))));
        assert!(matches!("1-2-3".parse::<VmidRange>(), Err(RangeError::Syntax(_))));
        assert_eq!("200-100".parse::<VmidRange>(), Err(RangeError::Empty { first: 200, last: 100 }));
        assert_eq!("99-200".parse::<VmidRange>(), Err(VmidError::OutOfBounds(99).into()));
        assert_eq!("100-1000000000".parse::<VmidRange>(), Err(VmidError::OutOfBounds(1_000_000_000).into()));
    }

    #[test]
    fn overlap_is_symmetric_and_inclusive() {
        let range = |text: &str| text.parse::<VmidRange>().unwrap();
        assert!(range("100-200").overlaps(range("200-300")));
        assert!(range("200-300").overlaps(range("100-200")));
        assert!(!range("100-199").overlaps(range("200-300")));
    }
}
