//! The configuration and its secrets, which outlive a restart as the ledger does.
//!
//! `config.json`, and each secret in a file of mode 0600. Files are replaced whole; the configuration comes last, so that it never
//! stands there without the secrets that came with it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use dispatcher_api::{Config, ConfigError, Secrets};
use secrecy::{ExposeSecret as _, SecretString};

use crate::settings::Settings;

const CONFIG: &str = "config.json";
const PVE_SECRET: &str = "pve-token-secret";
const GITHUB_SECRET: &str = "github-token";
const LEDGER: &str = "ledger.sqlite";

/// Why the state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// A file cannot be read or written.
    #[error("unable to {doing} {}", path.display())]
    File {
        /// `read`, `write`, …
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The configuration cannot be turned into text.
    #[error("the configuration cannot be written as JSON")]
    Encode(#[source] serde_json::Error),
    /// The stored configuration is not one that this version understands.
    #[error("the stored configuration in {} cannot be used", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: ConfigError,
    },
}

/// A directory of mode 0700 on the state volume.
#[derive(Debug, Clone)]
pub struct StateDirectory {
    path: PathBuf,
}

impl StateDirectory {
    /// Opens the directory, and makes it if need be.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(|source| StateError::File { doing: "make", path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned() })
    }

    /// Returns the path of the ledger.
    #[must_use]
    pub fn ledger(&self) -> PathBuf {
        self.path.join(LEDGER)
    }

    /// Returns the settings stored last; `None` when none were.
    ///
    /// # Errors
    /// When they are there and cannot be used.
    pub fn load(&self) -> Result<Option<Settings>, StateError> {
        let path = self.path.join(CONFIG);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(StateError::File { doing: "read", path, source }),
        };
        let config = Config::from_json(&text).map_err(|source| StateError::Config { path, source })?;
        let secrets = Secrets { pve_token_secret: self.secret(PVE_SECRET)?, github_token: self.secret(GITHUB_SECRET)? };
        Ok(Some(Settings { config, secrets }))
    }

    /// Stores the settings for the next start.
    ///
    /// # Errors
    /// When a file cannot be written; the configuration is then still the earlier one.
    pub fn store(&self, settings: &Settings) -> Result<(), StateError> {
        let config = serde_json::to_string_pretty(&settings.config).map_err(StateError::Encode)?;
        self.replace(PVE_SECRET, settings.secrets.pve_token_secret.expose_secret())?;
        self.replace(GITHUB_SECRET, settings.secrets.github_token.expose_secret())?;
        self.replace(CONFIG, &config)
    }

    fn secret(&self, name: &str) -> Result<SecretString, StateError> {
        let path = self.path.join(name);
        fs::read_to_string(&path).map(SecretString::from).map_err(|source| StateError::File {
            doing: "read",
            path,
            source,
        })
    }

    fn replace(&self, name: &str, content: &str) -> Result<(), StateError> {
        let path = self.path.join(name);
        self.replace_file(&path, content).map_err(|source| StateError::File { doing: "write", path, source })
    }

    fn replace_file(&self, path: &Path, content: &str) -> io::Result<()> {
        let fresh = path.with_extension("new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
        file.write_all(content.as_bytes())?;
        file.sync_all()?;
        fs::rename(&fresh, path)?;
        File::open(&self.path)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const CONFIG_TEXT: &str = r#"{"installation":"lab","pve":{"endpoints":["https://h:8006"],"token_id":"a@pam!b"}}"#;

    fn settings() -> Settings {
        let secrets = Secrets { pve_token_secret: "aaaa-bbbb".into(), github_token: "ghp_cccc".into() };
        Settings { config: Config::from_json(CONFIG_TEXT).unwrap(), secrets }
    }

    #[test]
    fn settings_survive_and_secrets_are_files_of_their_own_that_only_their_owner_reads() {
        let directory = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(&directory.path().join("pxci")).unwrap();
        assert!(state.load().unwrap().is_none());
        state.store(&settings()).unwrap();
        let loaded = state.load().unwrap().unwrap();
        assert_eq!(loaded.config, settings().config);
        assert_eq!(loaded.secrets.pve_token_secret.expose_secret(), "aaaa-bbbb");
        assert_eq!(loaded.secrets.github_token.expose_secret(), "ghp_cccc");
        for entry in fs::read_dir(&state.path).unwrap() {
            let entry = entry.unwrap();
            assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.path());
            let text = fs::read_to_string(entry.path()).unwrap();
            let is_config = entry.file_name() == CONFIG;
            assert_eq!(is_config, !text.contains("aaaa-bbbb") && !text.contains("ghp_cccc"));
        }
    }

    #[test]
    fn a_stored_configuration_that_cannot_be_used_is_an_error_and_not_ignored() {
        let directory = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(directory.path()).unwrap();
        fs::write(directory.path().join(CONFIG), r#"{"installation":"lab"}"#).unwrap();
        assert!(matches!(state.load(), Err(StateError::Config { .. })));
    }
}
