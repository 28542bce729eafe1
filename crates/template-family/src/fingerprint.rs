//! The fingerprint of a version: the SHA-256 of a canonical list of everything that it is made from.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use crate::inputs::Inputs;

/// Number of the scheme. A change of the build process that makes old versions outdated raises it.
const SCHEME: u32 = 1;

/// Everything that a version is made from, except secrets. A counter among the `settings` shows that secrets changed.
#[derive(Debug)]
pub struct Fingerprint<'a> {
    /// Input files.
    pub inputs: &'a Inputs,
    /// Variables for the template, by name.
    pub variables: &'a BTreeMap<String, String>,
    /// Other settings, by name: runner version as declared, storage, bridge, revision of the secrets.
    pub settings: &'a BTreeMap<&'static str, String>,
}

impl Fingerprint<'_> {
    /// Returns the fingerprint as 64 hexadecimal digits.
    #[must_use]
    pub fn digest(&self) -> String {
        let mut digest = Sha256::new();
        let mut line = |parts: &[&str]| {
            // Each part is preceded by its length, so that different lists never give the same bytes.
            for part in parts {
                digest.update((part.len() as u64).to_be_bytes());
                digest.update(part);
            }
        };
        line(&["pxci-template", &SCHEME.to_string()]);
        for (path, input) in self.inputs.iter() {
            line(&["file", path, &input.sha256, if input.executable { "x" } else { "-" }]);
        }
        for (name, value) in self.variables {
            line(&["variable", name, value]);
        }
        for (name, value) in self.settings {
            line(&["setting", name, value]);
        }
        hex::encode(digest.finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(content: &str) -> Inputs {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("a.pkr.hcl"), content).unwrap();
        Inputs::scan(directory.path(), &[]).unwrap()
    }

    fn digest(content: &str, variables: &[(&str, &str)], settings: &[(&'static str, &str)]) -> String {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let settings = settings.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Fingerprint { inputs: &inputs(content), variables: &variables, settings: &settings }.digest()
    }

    #[test]
    fn every_part_changes_the_fingerprint_but_the_path_of_the_directory_does_not() {
        let base = digest("x", &[("a", "1")], &[("runner", "latest")]);
        assert_eq!(base, digest("x", &[("a", "1")], &[("runner", "latest")]));
        assert_eq!(base.len(), 64);
        for other in [
            digest("y", &[("a", "1")], &[("runner", "latest")]),
            digest("x", &[("a", "2")], &[("runner", "latest")]),
            digest("x", &[("b", "1")], &[("runner", "latest")]),
            digest("x", &[("a", "1")], &[("runner", "2.336.0")]),
            digest("x", &[("a", "1"), ("runner", "latest")], &[]),
        ] {
            assert_ne!(base, other);
        }
    }

    /// A change of this digest makes every installation rebuild its templates. Raise the scheme and say so in the
    /// changelog.
    #[test]
    fn the_scheme_is_stable() {
        assert_eq!(
            digest("x", &[("a", "1")], &[("runner", "latest")]),
            "651ddf51fb8ac8aecc813478d5d9505158b19bc8482b5021936c2afb2596ed9b"
        );
    }
}
