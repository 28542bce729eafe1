//! Names of families and of their versions.

use std::fmt;
use std::str::FromStr;

/// Characters of a DNS label that are left after a date, eight digits of the fingerprint and two dashes.
const LONGEST: usize = 45;

/// Name of a template family: up to 45 characters of `a-z0-9-`, with no dash at either end.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FamilyName(String);

/// The text is not a name of a family.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is not a valid family name: it takes 1 to {LONGEST} lower-case letters, digits and dashes, with no dash at either end"
)]
pub struct FamilyNameError(String);

impl FromStr for FamilyName {
    type Err = FamilyNameError;

    fn from_str(text: &str) -> Result<Self, FamilyNameError> {
        let inner = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
        let fits = (1..=LONGEST).contains(&text.len()) && text.as_bytes().iter().all(inner);
        if fits && !text.starts_with('-') && !text.ends_with('-') {
            return Ok(Self(text.to_owned()));
        }
        Err(FamilyNameError(text.to_owned()))
    }
}

impl fmt::Display for FamilyName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FamilyName {
    /// Returns the text of the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the name of one version: `<family>-<yyyymmdd>-<8 digits of the fingerprint>`, a DNS label. `date` is `yyyymmdd`.
    #[must_use]
    pub fn version_name(&self, date: &str, fingerprint: &str) -> String {
        format!("{self}-{date}-{}", fingerprint.get(..8).unwrap_or(fingerprint))
    }

    /// Returns the tag that shows the family in PVE's web interface.
    #[must_use]
    pub fn tag(&self) -> String {
        format!("pxci-family-{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_version_fits_into_a_dns_label() {
        let longest = "a".repeat(LONGEST);
        let family: FamilyName = longest.parse().unwrap();
        assert_eq!(family.version_name("20261123", &"f".repeat(64)).len(), 63);
        for bad in ["", "-a", "a-", "A", "a_b", &"a".repeat(LONGEST + 1)] {
            assert!(bad.parse::<FamilyName>().is_err(), "{bad}");
        }
    }
}
