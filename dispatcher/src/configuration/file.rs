//! The configuration as a TOML file, for a dispatcher on a machine of one's own. Secrets are files of their own, named in `[secrets]`:
//!
//! ```toml
//! installation = "lab"
//! poll_interval_seconds = 15
//!
//! [secrets]
//! pve_token_secret_file = "/etc/pxci/pve-token-secret"
//! github_token_file = "/etc/pxci/github-token"
//!
//! [pve]
//! endpoints = ["https://pve1.example.net:8006"]
//! token_id = "ci@pve!dispatcher"
//!
//! [[pools]]
//! name = "ubuntu-2204"
//! # …
//! ```

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

use dispatcher_api::{Config, ConfigError, Secrets};
use secrecy::SecretString;
use serde::Deserialize;

use crate::settings::Settings;

/// Why a configuration file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// A file cannot be read.
    #[error("unable to read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Others than its owner may read a secret.
    #[error("{} holds a secret and may be read by others: chmod 600 it", .0.display())]
    Exposed(PathBuf),
    /// A secret's file holds nothing.
    #[error("{} is empty, but should hold a secret", .0.display())]
    Empty(PathBuf),
    /// It is not TOML, or has wrong or unknown keys.
    #[error("{} cannot be understood", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: toml::de::Error,
    },
    /// It says something impossible.
    #[error("{} is not valid", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What.
        #[source]
        source: ConfigError,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretFiles {
    pve_token_secret_file: PathBuf,
    github_token_file: PathBuf,
}

/// Reads configuration and secrets. Relative names of secret files are relative to the configuration file.
///
/// # Errors
/// [`FileError`].
pub fn from_file(path: &Path) -> Result<Settings, FileError> {
    let syntax = |source| FileError::Syntax { path: path.to_owned(), source };
    let text = fs::read_to_string(path).map_err(|source| FileError::Read { path: path.to_owned(), source })?;
    let mut table: toml::Table = text.parse().map_err(syntax)?;
    let files = table.remove("secrets").unwrap_or_else(|| toml::Value::Table(toml::Table::new()));
    let files: SecretFiles = files.try_into().map_err(syntax)?;
    let config: Config = toml::Value::Table(table).try_into().map_err(syntax)?;
    config.validate().map_err(|source| FileError::Invalid { path: path.to_owned(), source })?;
    let directory = path.parent().unwrap_or(Path::new("."));
    let secrets = Secrets {
        pve_token_secret: secret(&directory.join(files.pve_token_secret_file))?,
        github_token: secret(&directory.join(files.github_token_file))?,
    };
    Ok(Settings { config, secrets })
}

fn secret(path: &Path) -> Result<SecretString, FileError> {
    let read = |source| FileError::Read { path: path.to_owned(), source };
    let mode = fs::metadata(path).map_err(read)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(FileError::Exposed(path.to_owned()));
    }
    let text = fs::read_to_string(path).map_err(read)?;
    match text.trim() {
        "" => Err(FileError::Empty(path.to_owned())),
        secret => Ok(secret.into()),
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    const TEXT: &str = r#"
        installation = "lab"
        [secrets]
        pve_token_secret_file = "pve"
        github_token_file = "github"
        [pve]
        endpoints = ["https://pve1:8006"]
        token_id = "ci@pve!dispatcher"
        [[pools]]
        name = "ubuntu-2204"
        labels = ["linux"]
        repositories = ["acme/tools"]
        max = 2
        vmid_range = "9100-9199"
        resource_pool = "ci"
        template = { family = "ubuntu-2204", vmid = 9000, node = "pve1" }
    "#;

    fn write(directory: &Path, name: &str, text: &str, mode: u32) {
        let path = directory.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn configuration_and_secrets_are_read() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), "pxci.toml", TEXT, 0o644);
        write(directory.path(), "pve", "aaaa\n", 0o600);
        write(directory.path(), "github", "ghp_b", 0o400);
        let settings = from_file(&directory.path().join("pxci.toml")).unwrap();
        assert_eq!(settings.secrets.pve_token_secret.expose_secret(), "aaaa");
        assert_eq!((settings.config.pools[0].max, settings.config.poll_interval_seconds), (2, 15));
    }

    #[test]
    fn a_secret_that_others_can_read_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), "pxci.toml", TEXT, 0o644);
        write(directory.path(), "pve", "aaaa", 0o640);
        write(directory.path(), "github", "ghp_b", 0o600);
        assert!(matches!(from_file(&directory.path().join("pxci.toml")), Err(FileError::Exposed(_))));
    }

    #[test]
    fn unknown_keys_and_missing_secrets_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pxci.toml");
        for text in
            [TEXT.replace("max = 2", "max = 2\nminimum = 1"), TEXT.replace("github_token_file", "github_tokenfile")]
        {
            fs::write(&path, text).unwrap();
            assert!(matches!(from_file(&path), Err(FileError::Syntax { .. })));
        }
    }
}
