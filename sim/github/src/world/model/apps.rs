//! GitHub Apps, their installations and the tokens of these.

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
    /// RSA public key, PKCS#1 DER.
    pub(crate) key: Vec<u8>,
}

/// An App where it is installed.
#[derive(Debug, Clone)]
pub(crate) struct Installation {
    pub(crate) id: u64,
    pub(crate) app: u64,
    /// Login of the organization or person.
    pub(crate) account: String,
    /// What it may do; no repositories means all of the account.
    pub(crate) grants: Token,
    pub(crate) suspended: bool,
    pub(crate) created_at: Timestamp,
}

/// What a new installation token is limited to.
#[derive(Debug, Default)]
pub(crate) struct Narrowed {
    pub(crate) permissions: Option<Vec<(String, Level)>>,
    /// Names without owner.
    pub(crate) repositories: Option<Vec<String>>,
    pub(crate) repository_ids: Option<Vec<u64>>,
}

/// A new installation token.
#[derive(Debug)]
pub(crate) struct NewToken {
    pub(crate) secret: String,
    pub(crate) expires_at: Timestamp,
    pub(crate) grants: Token,
    /// Whether it sees less repositories than its installation.
    pub(crate) selected: bool,
}
