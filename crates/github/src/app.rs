//! Requests as a GitHub App. The App signs claims with its key, and GitHub exchanges them for tokens of an
//! installation, which end after an hour.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::HeaderValue;
use jiff::{SignedDuration, Timestamp};
use ring::rand::SystemRandom;
use ring::rsa::KeyPair;
use ring::signature::RSA_PKCS1_SHA256;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::sync::Mutex;

use crate::calls::{Calls, Operation, authorization};
use crate::error::Error;

/// Backdates the issue time of claims by this much to tolerate clock skew, because GitHub refuses claims from the
/// future.
const BACKDATED: SignedDuration = SignedDuration::from_mins(1);
/// Life of a claim. GitHub accepts at most ten minutes, by its own clock.
const CLAIM_LIFE: SignedDuration = SignedDuration::from_mins(9);
/// Shortest remaining life of a token that is still used.
const RESERVE: SignedDuration = SignedDuration::from_mins(5);

/// An installation of a GitHub App, and the App's key.
#[derive(Clone)]
pub struct AppCredential {
    /// Client id or number of the App.
    pub issuer: String,
    /// Number of the installation.
    pub installation: u64,
    /// Private key of the App, in the PEM form that GitHub issues.
    pub private_key: SecretString,
}

impl fmt::Debug for AppCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppCredential")
            .field("issuer", &self.issuer)
            .field("installation", &self.installation)
            .finish_non_exhaustive()
    }
}

/// The parts of a credential that a client keeps.
pub(crate) struct App {
    issuer: String,
    installation: u64,
    key: KeyPair,
    token: Mutex<Option<Token>>,
}

struct Token {
    authorization: HeaderValue,
    ends: Timestamp,
}

/// The part of GitHub's answer that is used.
#[derive(Deserialize)]
struct NewToken {
    token: String,
    expires_at: Timestamp,
}

impl App {
    pub(crate) fn new(credential: &AppCredential) -> Result<Self, Error> {
        let wrong = |reason: &str| Error::Setup { reason: format!("the App's private key {reason}") };
        let pem = credential.private_key.expose_secret().as_bytes();
        let der = PrivateKeyDer::from_pem_slice(pem).map_err(|_| wrong("is not a private key in PEM form"))?;
        let key = match &der {
            PrivateKeyDer::Pkcs1(der) => KeyPair::from_der(der.secret_pkcs1_der()),
            PrivateKeyDer::Pkcs8(der) => KeyPair::from_pkcs8(der.secret_pkcs8_der()),
            _ => return Err(wrong("is not an RSA key")),
        };
        let key = key.map_err(|_| wrong("is not an RSA key of 2048 bits or more"))?;
        let (issuer, installation) = (credential.issuer.clone(), credential.installation);
        Ok(Self { issuer, installation, key, token: Mutex::default() })
    }

    /// Returns a signed claim to be this App (RFC 7519, RS256).
    fn claim(&self, now: Timestamp) -> Result<SecretString, Error> {
        let issued = now - BACKDATED;
        let payload = serde_json::json!({
            "iss": self.issuer,
            "iat": issued.as_second(),
            "exp": (issued + CLAIM_LIFE).as_second(),
        });
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let signed = format!("{}.{}", part(r#"{"alg":"RS256","typ":"JWT"}"#), part(&payload.to_string()));
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .map_err(|_| Error::Setup { reason: "the App's private key cannot sign".into() })?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)).into())
    }

    /// Forgets a token that GitHub no longer accepts.
    pub(crate) async fn forget(&self, refused: &HeaderValue) {
        let mut token = self.token.lock().await;
        if token.as_ref().is_some_and(|token| token.authorization == *refused) {
            *token = None;
        }
    }

    /// Returns the value of `Authorization`, which is the token of the installation. Requests a new token shortly
    /// before the old one ends. Concurrent callers share one request.
    pub(crate) async fn token(&self, calls: &Calls) -> Result<HeaderValue, Error> {
        let mut known = self.token.lock().await;
        let now = calls.now();
        if let Some(token) = known.as_ref().filter(|token| now + RESERVE < token.ends) {
            return Ok(token.authorization.clone());
        }
        let operation = Operation::new(
            format!("get a token of installation {} of GitHub App {}", self.installation, self.issuer),
            "the App's own key, client id and installation number",
        );
        let path = format!("app/installations/{}/access_tokens", self.installation);
        let claim = authorization(&self.claim(now)?)?;
        let new: NewToken = calls.post_as(&operation, &path, claim).await?;
        let authorization = authorization(&new.token.into())?;
        *known = Some(Token { authorization: authorization.clone(), ends: new.expires_at });
        Ok(authorization)
    }
}
