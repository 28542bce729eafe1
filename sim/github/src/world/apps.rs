//! GitHub Apps: their signed claims, their installations, and installation tokens.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use ring::rsa::KeyPair as RsaKeyPair;
use ring::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::Value;

use super::World;
use super::model::{Account, App, Installation, Kind, Level, LimitKey, NewToken, Token, TokenLimits};
use crate::refusal::Refusal;

/// A published private key for simulated Apps, in the form in which GitHub issues keys.
pub const SAMPLE_APP_KEY: &str = include_str!("../../data/github-app-key.pem");

const TOKEN_LIFE: SignedDuration = SignedDuration::from_hours(1);
const MAX_CLAIM_SECONDS: i64 = 600;

const UNDECODABLE: Refusal = Refusal::BadClaim("A JSON web token could not be decoded");
const NO_ISSUER: Refusal = Refusal::BadClaim("Missing 'issuer' claim ('iss') in assertion");
const BAD_ISSUE_TIME: Refusal = Refusal::BadClaim(
    "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued",
);
const BAD_END: Refusal = Refusal::BadClaim(
    "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires",
);
const LATE_END: Refusal = Refusal::BadClaim("'Expiration time' claim ('exp') is too far in the future");

/// Error for a key that is not an RSA private key.
#[derive(Debug, thiserror::Error)]
#[error("not an RSA private key of 2048 bits or more in PEM form")]
pub struct AppKeyError;

impl World {
    /// Adds an App that may get `permissions` and signs with `private_key` (PEM). Returns its number and its client id.
    /// Both can be the issuer of claims.
    ///
    /// When the key is not an RSA private key.
    pub fn add_app(
        &mut self,
        name: &str,
        owner: &str,
        permissions: Token,
        private_key: &str,
        now: Timestamp,
    ) -> Result<(u64, String), AppKeyError> {
        let der = PrivateKeyDer::from_pem_slice(private_key.as_bytes()).map_err(|_| AppKeyError)?;
        let pair = match &der {
            PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
            PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
            _ => return Err(AppKeyError),
        };
        let key = pair.map_err(|_| AppKeyError)?.public_key().as_ref().to_vec();
        let id = 1_000_001 + self.apps.len() as u64;
        let client_id = format!("Iv23li{}", self.random(14));
        let (name, owner) = (name.to_owned(), owner.to_owned());
        let app = App { id, client_id: client_id.clone(), name, owner, permissions, created_at: now, key };
        self.apps.insert(id, app);
        Ok((id, client_id))
    }

    /// Installs an App for an organization or a user, for the named repositories (`owner/name`) or for all if none is
    /// named, with the permissions that the App requests. Returns the installation's number.
    pub fn install_app(&mut self, app: u64, account: &str, repositories: &[&str], now: Timestamp) -> Option<u64> {
        let permissions = self.apps.get(&app)?.permissions.clone();
        let id = 50_000_001 + self.installations.len() as u64;
        let repositories = repositories.iter().map(|name| (*name).to_owned()).collect();
        let grants = Token { repositories, ..permissions };
        let installation =
            Installation { id, app, account: account.to_owned(), grants, suspended: false, created_at: now };
        self.installations.insert(id, installation);
        Some(id)
    }

    /// Suspends an installation or lifts the suspension.
    pub fn suspend_installation(&mut self, id: u64, suspended: bool) {
        if let Some(installation) = self.installations.get_mut(&id) {
            installation.suspended = suspended;
        }
    }

    /// Verifies a signed claim (RFC 7519, RS256) and its times. Returns the number of the App.
    pub(crate) fn verify(&self, claim: &str, now: Timestamp) -> Result<u64, Refusal> {
        let (signed, signature) = claim.rsplit_once('.').ok_or(UNDECODABLE)?;
        let (header, payload) = signed.split_once('.').ok_or(UNDECODABLE)?;
        let (header, payload) = (decoded(header)?, decoded(payload)?);
        if header["alg"] != "RS256" {
            return Err(UNDECODABLE);
        }
        let app = self.issuer(&payload["iss"])?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| UNDECODABLE)?;
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &app.key)
            .verify(signed.as_bytes(), &signature)
            .map_err(|_| UNDECODABLE)?;
        let now = now.as_second();
        let issued = payload["iat"].as_i64().filter(|issued| *issued <= now).ok_or(BAD_ISSUE_TIME)?;
        let end = payload["exp"].as_i64().filter(|end| *end > now && *end > issued).ok_or(BAD_END)?;
        if end > now + MAX_CLAIM_SECONDS {
            return Err(LATE_END);
        }
        Ok(app.id)
    }

    fn issuer(&self, issuer: &Value) -> Result<&App, Refusal> {
        let id = match issuer {
            Value::Null => return Err(NO_ISSUER),
            Value::String(text) => match self.apps.values().find(|app| app.client_id == *text) {
                Some(app) => return Ok(app),
                None => text.parse().ok(),
            },
            other => other.as_u64(),
        };
        id.and_then(|id| self.apps.get(&id)).ok_or(Refusal::UnknownApp)
    }

    /// Returns the installation of `app` with this number.
    pub(crate) fn installation(&self, app: u64, id: u64) -> Result<&Installation, Refusal> {
        self.installations.get(&id).filter(|installation| installation.app == app).ok_or(Refusal::NotFound)
    }

    /// Returns the repositories of an installation in order.
    pub(crate) fn repositories_of(&self, owner: &str, only: &BTreeSet<String>) -> Vec<String> {
        let own = |name: &&String| name.split('/').next().is_some_and(|login| login.eq_ignore_ascii_case(owner));
        let chosen = |name: &&String| only.is_empty() || only.contains(*name);
        self.repositories.iter().filter(own).filter(chosen).cloned().collect()
    }

    /// Creates an installation token. It is valid for an hour and has all or some of the installation's permissions.
    pub(crate) fn installation_token(
        &mut self,
        app: u64,
        id: u64,
        token_limits: &TokenLimits,
        now: Timestamp,
    ) -> Result<NewToken, Refusal> {
        let installation = self.installation(app, id)?.clone();
        if installation.suspended {
            return Err(Refusal::Suspended);
        }
        let mut grants = installation.grants.clone();
        if let Some(permissions) = &token_limits.permissions {
            grants = limited(&grants, permissions)?;
        }
        let within = self.repositories_of(&installation.account, &installation.grants.repositories);
        let selected = token_limits.repositories.is_some() || token_limits.repository_ids.is_some();
        if selected {
            grants.repositories = chosen(&within, token_limits)?;
        }
        let secret = format!("ghs_{}", self.random(36));
        let expires_at = now + TOKEN_LIFE;
        let account = Account {
            token: grants.clone(),
            kind: Kind::Installation(id),
            name: format!("installation {id}"),
            limit_key: LimitKey::Installation(id),
            owner: Some(installation.account.clone()),
            expires_at: Some(expires_at),
        };
        self.accounts.insert(secret.clone(), account);
        Ok(NewToken { secret, expires_at, selected: selected || !grants.repositories.is_empty(), grants })
    }
}

fn limited(grants: &Token, permissions: &[(String, Level)]) -> Result<Token, Refusal> {
    let mut less = Token { repositories: grants.repositories.clone(), ..Token::default() };
    for (name, level) in permissions {
        let (have, place) = match name.as_str() {
            "actions" => (grants.actions, &mut less.actions),
            "administration" => (grants.administration, &mut less.administration),
            "organization_self_hosted_runners" => (grants.organization_runners, &mut less.organization_runners),
            "metadata" if *level <= Level::Read => continue,
            _ => return Err(not_granted()),
        };
        if have < *level {
            return Err(not_granted());
        }
        *place = *level;
    }
    Ok(less)
}

fn not_granted() -> Refusal {
    Refusal::Invalid("The permissions requested are not granted to this installation.".into())
}

fn chosen(within: &[String], token_limits: &TokenLimits) -> Result<BTreeSet<String>, Refusal> {
    let inaccessible = || {
        Refusal::Invalid(
            "There is at least one repository that does not exist or is not accessible to the parent installation."
                .into(),
        )
    };
    let by_name = token_limits.repositories.iter().flatten().map(|wanted| {
        within.iter().find(|full| full.split_once('/').is_some_and(|(_, name)| name.eq_ignore_ascii_case(wanted)))
    });
    let by_id = token_limits
        .repository_ids
        .iter()
        .flatten()
        .map(|wanted| within.iter().find(|full| u64::from(crate::shapes::number_of(full)) == *wanted));
    let found: Option<BTreeSet<String>> = by_name.chain(by_id).map(|name| name.cloned()).collect();
    found.filter(|found| !found.is_empty()).ok_or_else(inaccessible)
}

fn decoded(part: &str) -> Result<Value, Refusal> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| UNDECODABLE)?;
    serde_json::from_slice(&bytes).map_err(|_| UNDECODABLE)
}
