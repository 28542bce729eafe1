//! The two secrets of a dispatcher, and their sealing for the transport over a console.
//!
//! A console is a shared terminal: everyone who may open it sees its traffic. The dispatcher therefore makes a key pair
//! for each session, and secrets are sealed to its public key (X25519 and XSalsa20-Poly1305, libsodium's sealed box).
//! The private key never leaves the dispatcher's memory.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use crypto_box::aead::OsRng;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

/// Credentials of the dispatcher. `Debug` does not print them.
#[derive(Debug, Clone)]
pub struct Secrets {
    /// Secret of the Proxmox VE API token that the configuration names.
    pub pve_token_secret: SecretString,
    /// GitHub personal access token.
    pub github_token: SecretString,
}

/// Reason why secrets cannot be sealed or opened. The text does not contain parts of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Sealing failed, which only a broken source of random numbers can cause.
    #[error("the secrets cannot be sealed")]
    Seal,
    /// The secrets were sealed to another key, usually to that of an earlier session.
    #[error("the secrets are not sealed to the key of this session")]
    WrongKey,
    /// The opened text is not a set of secrets.
    #[error("the sealed text does not contain the secrets of a dispatcher")]
    Content,
}

/// Public key of a session: 32 bytes, base64 in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey([u8; 32]);

impl TryFrom<String> for PublicKey {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let bytes = STANDARD.decode(&text).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| "a public key is 32 bytes in base64".to_owned())
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> Self {
        STANDARD.encode(key.0)
    }
}

/// Secrets that are sealed to a session's key, base64 in JSON.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SealedSecrets(String);

impl fmt::Debug for SealedSecrets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SealedSecrets")
    }
}

#[derive(Serialize)]
struct Clear<'a> {
    pve_token_secret: &'a str,
    github_token: &'a str,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Opened {
    pve_token_secret: SecretText,
    github_token: SecretText,
}

/// Reads a string into memory that is wiped on drop.
struct SecretText(SecretString);

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(SecretString::from(String::deserialize(deserializer)?)))
    }
}

impl Secrets {
    /// Seals the secrets, so that only the owner of `key` can read them.
    ///
    /// # Errors
    /// [`SealError::Seal`].
    pub fn seal(&self, key: &PublicKey) -> Result<SealedSecrets, SealError> {
        let clear = Clear {
            pve_token_secret: self.pve_token_secret.expose_secret(),
            github_token: self.github_token.expose_secret(),
        };
        let clear = Zeroizing::new(serde_json::to_vec(&clear).map_err(|_| SealError::Seal)?);
        let sealed = crypto_box::PublicKey::from_bytes(key.0).seal(&mut OsRng, &clear).map_err(|_| SealError::Seal)?;
        Ok(SealedSecrets(STANDARD.encode(sealed)))
    }
}

/// Key pair of a session. Wiped from memory on drop.
#[derive(Debug)]
pub struct SessionKey(crypto_box::SecretKey);

impl SessionKey {
    /// Makes a new pair.
    #[must_use]
    pub fn generate() -> Self {
        Self(crypto_box::SecretKey::generate(&mut OsRng))
    }

    /// Returns the public key for the other side.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.0.public_key().to_bytes())
    }

    /// Opens secrets that were sealed to this key.
    ///
    /// # Errors
    /// [`SealError::WrongKey`], [`SealError::Content`].
    pub fn open(&self, sealed: &SealedSecrets) -> Result<Secrets, SealError> {
        let sealed = STANDARD.decode(&sealed.0).map_err(|_| SealError::WrongKey)?;
        let clear = Zeroizing::new(self.0.unseal(&sealed).map_err(|_| SealError::WrongKey)?);
        let opened: Opened = serde_json::from_slice(&clear).map_err(|_| SealError::Content)?;
        Ok(Secrets { pve_token_secret: opened.pve_token_secret.0, github_token: opened.github_token.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets() -> Secrets {
        Secrets { pve_token_secret: "8f1c-secret".to_owned().into(), github_token: "ghp_\"quoted\"".to_owned().into() }
    }

    #[test]
    fn only_the_key_of_the_session_opens_them() {
        let key = SessionKey::generate();
        let sealed = secrets().seal(&key.public_key()).unwrap();
        let opened = key.open(&sealed).unwrap();
        assert_eq!(opened.github_token.expose_secret(), "ghp_\"quoted\"");
        assert_eq!(opened.pve_token_secret.expose_secret(), "8f1c-secret");
        assert_eq!(SessionKey::generate().open(&sealed).unwrap_err(), SealError::WrongKey);
    }

    #[test]
    fn sealing_twice_gives_different_texts() {
        let key = SessionKey::generate().public_key();
        assert_ne!(secrets().seal(&key).unwrap(), secrets().seal(&key).unwrap());
    }

    #[test]
    fn secrets_are_never_printed() {
        let key = SessionKey::generate();
        let sealed = secrets().seal(&key.public_key()).unwrap();
        let printed = format!("{:?} {sealed:?} {key:?}", secrets());
        assert!(!printed.contains("8f1c") && !printed.contains("ghp_"), "{printed}");
        assert!(!serde_json::to_string(&sealed).unwrap().contains("ghp_"));
    }

    #[test]
    fn sealed_text_that_is_not_secrets_is_refused() {
        let key = SessionKey::generate();
        let sealed = crypto_box::PublicKey::from_bytes(key.public_key().0).seal(&mut OsRng, b"{}").unwrap();
        assert_eq!(key.open(&SealedSecrets(STANDARD.encode(sealed))).unwrap_err(), SealError::Content);
    }

    #[test]
    fn a_public_key_survives_json() {
        let key = SessionKey::generate().public_key();
        assert_eq!(serde_json::from_str::<PublicKey>(&serde_json::to_string(&key).unwrap()).unwrap(), key);
        assert!(serde_json::from_str::<PublicKey>("\"AAAA\"").is_err());
    }
}
