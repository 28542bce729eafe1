//! GitHub Apps, their installations and installation tokens.

use jiff::Timestamp;

use super::accounts::{Level, Token};

#[derive(Debug, Clone)]
pub(crate) struct App {
    pub(crate) id: u64,
    pub(crate) client_id: String,
    pub(crate) name: String,
    pub(crate) owner: String,
    pub(crate) permissions: Token,
    pub(crate) created_at: Timestamp,
    /// RSA public key in PKCS#1 DER form.
    pub(crate) key: Vec<u8>,
}

/// An installation of an App.
#[derive(Debug, Clone)]
pub(crate) struct Installation {
    pub(crate) id: u64,
    pub(crate) app: u64,
    /// Login of the organization or user.
    pub(crate) account: String,
    /// Permissions. No repositories means all of the account.
    pub(crate) grants: Token,
    pub(crate) suspended: bool,
    pub(crate) created_at: Timestamp,
}

/// Limits of a new installation token.
#[derive(Debug, Default)]
pub(crate) struct TokenLimits {
    pub(crate) permissions: Option<Vec<(String, Level)>>,
    /// Names of repositories without owner.
    pub(crate) repositories: Option<Vec<String>>,
    pub(crate) repository_ids: Option<Vec<u64>>,
}

/// A new installation token.
#[derive(Debug)]
pub(crate) struct NewToken {
    pub(crate) secret: String,
    pub(crate) expires_at: Timestamp,
    pub(crate) grants: Token,
    /// True if the token is limited to some of the installation's repositories.
    pub(crate) selected: bool,
}
