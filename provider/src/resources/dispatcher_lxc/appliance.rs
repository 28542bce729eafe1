//! The appliance that containers are made from: its file, and the name of its copy on a storage.

use std::path::{Path, PathBuf};

use crate::diagnostics;
use bytes::Bytes;
use ownership::Installation;
use sha2::{Digest, Sha256};
use tf_provider::Diagnostic;

/// Environment variable with the path of the appliance.
const VARIABLE: &str = "PXCI_APPLIANCE";
const PREFIX: &str = "pxci-dispatcher-appliance_";
const SUFFIX: &str = "_amd64.tar.zst";

/// The content of an appliance's file.
#[derive(Debug, Clone)]
pub(crate) struct Appliance {
    /// Version in the name of the file.
    pub(crate) version: String,
    /// SHA-256 of the content, in hexadecimal digits.
    pub(crate) sha256: String,
    /// Bytes of the file.
    pub(crate) content: Bytes,
}

impl Appliance {
    /// Reads the file that the configuration names, or else the file in `PXCI_APPLIANCE`, or else the file next to the
    /// provider.
    pub(crate) fn load(named: Option<&str>) -> Result<Self, Diagnostic> {
        let path = match named {
            Some(path) => PathBuf::from(path),
            None => std::env::var_os(VARIABLE)
                .filter(|path| !path.is_empty())
                .map_or_else(next_to_the_provider, |path| Ok(path.into()))?,
        };
        let content = std::fs::read(&path).map_err(|error| not_found(&format!("{}: {error}", path.display())))?;
        let version = version_of(&path).ok_or_else(|| {
            not_found(&format!("{}: the name of an appliance must be {PREFIX}VERSION{SUFFIX}", path.display()))
        })?;
        Ok(Self { version, sha256: hex::encode(Sha256::digest(&content)), content: content.into() })
    }

    /// Returns the volume id of an installation's copy on a storage. The name contains the digest, so a copy is never
    /// overwritten.
    pub(crate) fn volid(&self, storage: &str, installation: &Installation) -> String {
        format!("{storage}:vztmpl/{PREFIX}{installation}_{}{SUFFIX}", self.version_and_digest())
    }

    /// Returns true if the volume holds this appliance. Names of release 0.1 do not contain an installation.
    pub(crate) fn is_at(&self, volid: &str) -> bool {
        volid.ends_with(&format!("_{}{SUFFIX}", self.version_and_digest()))
    }

    fn version_and_digest(&self) -> String {
        format!("{}-{}", self.version, &self.sha256[..16])
    }
}

fn version_of(path: &Path) -> Option<String> {
    let version = path.file_name()?.to_str()?.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
    (!version.is_empty() && version.bytes().all(plain)).then(|| version.to_owned())
}

fn next_to_the_provider() -> Result<PathBuf, Diagnostic> {
    let program = std::env::current_exe().map_err(|error| not_found(&error.to_string()))?;
    let name = format!("{PREFIX}{}{SUFFIX}", env!("CARGO_PKG_VERSION"));
    let path = program.with_file_name(name);
    if path.exists() {
        return Ok(path);
    }
    Err(not_found(&format!("{} does not exist", path.display())))
}

fn not_found(reason: &str) -> Diagnostic {
    let detail = format!(
        "{reason}.\n\nIn a release, the appliance is next to the provider's program. `cargo xtask appliance` builds it from source. Set its path in `appliance_file`, or in {VARIABLE}."
    );
    diagnostics::impossible("read", "the dispatcher's appliance", "", detail).at("appliance_file")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn appliances_with_different_content_have_different_names() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pxci-dispatcher-appliance_1.2.3_amd64.tar.zst");
        std::fs::write(&path, "one").unwrap();
        let named = path.to_str();
        let one = Appliance::load(named).unwrap();
        std::fs::write(&path, "other").unwrap();
        let other = Appliance::load(named).unwrap();
        assert_eq!(one.version, "1.2.3");
        let volid =
            |appliance: &Appliance, installation: &str| appliance.volid("local", &installation.parse().unwrap());
        assert_ne!(volid(&one, "lab"), volid(&other, "lab"));
        assert!(volid(&one, "lab").starts_with("local:vztmpl/pxci-dispatcher-appliance_lab_1.2.3-"));
        assert_ne!(volid(&one, "lab"), volid(&one, "prod"), "each installation has its own copy");
        assert!(one.is_at(&volid(&one, "lab")) && !other.is_at(&volid(&one, "lab")));
        assert!(one.is_at(&volid(&one, "lab").replace("_lab_", "_")), "a name of release 0.1");
    }

    #[test]
    fn a_file_that_is_missing_or_not_an_appliance_is_refused_with_advice() {
        let missing = Appliance::load(Some("/nonexistent/pxci-dispatcher-appliance_1_amd64.tar.zst")).unwrap_err();
        assert!(missing.detail.contains("cargo xtask appliance"), "{}", missing.detail);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("debian-12.tar.zst");
        std::fs::write(&path, "x").unwrap();
        assert!(Appliance::load(path.to_str()).is_err());
    }
}
