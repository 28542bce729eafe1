//! Names of the files that an installation puts on a storage.
//!
//! A storage keeps no metadata of a file except its name, so the name contains the owner. Fields are separated by `_`,
//! which no field contains, so a name can be read in one way only.

use std::fmt;

use crate::{Installation, Nonce};

const PREFIX: &str = "pxci-";
const SUFFIX: &str = ".iso";
const DIGEST_LENGTH: usize = 16;

/// Name of an image with cloud-init data: `pxci-{installation}_{name}_{owner}_{digest}.iso`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeedFile {
    /// Installation that made the file.
    pub installation: Installation,
    /// Name of the data.
    pub name: String,
    /// Id of the resource that owns the file. No two resources have the same id.
    pub owner: Nonce,
    /// First 16 hexadecimal digits of the content's SHA-256.
    pub digest: String,
}

impl SeedFile {
    /// Parses a file name. Returns `None` if the name does not have this form.
    #[must_use]
    pub fn parse(file: &str) -> Option<Self> {
        let mut fields = file.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.split('_');
        let (installation, name, owner, digest) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let complete = fields.next().is_none() && !name.is_empty() && is_digest(digest);
        if !complete {
            return None;
        }
        Some(Self {
            installation: installation.parse().ok()?,
            name: name.to_owned(),
            owner: owner.parse().ok()?,
            digest: digest.to_owned(),
        })
    }

    /// Returns the digest for the name of a file with this SHA-256.
    #[must_use]
    pub fn digest_of(sha256: &str) -> &str {
        sha256.get(..DIGEST_LENGTH).unwrap_or(sha256)
    }

    /// Parses a file name of release 0.1, `pxci-{name}-{digest}.iso`, and returns name and digest. Such a name does not
    /// contain the owner.
    #[must_use]
    pub fn parse_unowned(file: &str) -> Option<(&str, &str)> {
        let (name, digest) = file.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.rsplit_once('-')?;
        (is_digest(digest) && !name.is_empty() && !name.contains('_')).then_some((name, digest))
    }
}

impl fmt::Display for SeedFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { installation, name, owner, digest } = self;
        write!(formatter, "{PREFIX}{installation}_{name}_{owner}_{digest}{SUFFIX}")
    }
}

fn is_digest(text: &str) -> bool {
    text.len() == DIGEST_LENGTH && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_contains_installation_and_owner() {
        let file = SeedFile::parse("pxci-lab-2_ubuntu-2204_k3x9ab_0123456789abcdef.iso").unwrap();
        assert_eq!((file.installation.as_str(), file.name.as_str()), ("lab-2", "ubuntu-2204"));
        assert_eq!((file.owner.as_str(), file.digest.as_str()), ("k3x9ab", "0123456789abcdef"));
    }

    #[test]
    fn names_of_other_files_are_refused() {
        for other in [
            "",
            "ubuntu.iso",
            "pxci-runner-0123456789abcdef.iso",
            "pxci-lab_runner_k3x9ab.iso",
            "pxci-lab__k3x9ab_0123456789abcdef.iso",
            "pxci-lab_runner_K3X9AB_0123456789abcdef.iso",
            "pxci-lab_runner_k3x9ab_0123456789ABCDEF.iso",
            "pxci-lab_runner_k3x9ab_0123456789abcdef_x.iso",
            "pxci-lab_runner_k3x9ab_0123456789abcdef.img",
        ] {
            assert_eq!(SeedFile::parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_name_of_release_0_1_is_distinguished_from_one_with_an_owner() {
        let old = SeedFile::parse_unowned("pxci-ubuntu-2204-0123456789abcdef.iso");
        assert_eq!(old, Some(("ubuntu-2204", "0123456789abcdef")));
        for other in ["pxci-lab_a_k3x9ab_0123456789abcdef.iso", "pxci-lab_a-0123456789abcdef.iso", "ubuntu.iso"] {
            assert_eq!(SeedFile::parse_unowned(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn names_survive_a_round_trip(
            installation in "[a-z0-9]([a-z0-9-]{0,14}[a-z0-9])?",
            name in "[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?",
            owner in "[a-z0-9]{6}",
            digest in "[0-9a-f]{16}",
        ) {
            let file = SeedFile { installation: installation.parse().unwrap(), name, owner: owner.parse().unwrap(), digest };
            let text = file.to_string();
            prop_assert_eq!(SeedFile::parse_unowned(&text), None);
            prop_assert_eq!(SeedFile::parse(&text), Some(file));
        }
    }
}
