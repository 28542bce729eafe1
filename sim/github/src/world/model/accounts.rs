//! Tokens, their accounts, and the permissions that calls need.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::limits::LimitKey;

/// The level of a permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Level {
    /// No access.
    #[default]
    None,
    /// Read access.
    Read,
    /// Read and write access.
    Write,
}

impl Level {
    pub(crate) fn word(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Read => Some("read"),
            Self::Write => Some("write"),
        }
    }

    pub(crate) fn of_word(word: &str) -> Self {
        match word {
            "read" => Self::Read,
            "write" | "admin" => Self::Write,
            _ => Self::None,
        }
    }
}

/// Permissions of a fine-grained personal access token or of an App's installation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Token {
    /// Visible repositories (`owner/name`); empty for all.
    pub repositories: BTreeSet<String>,
    /// Repository permission "Actions".
    pub actions: Level,
    /// Repository permission "Administration".
    pub administration: Level,
    /// Organization permission "Self-hosted runners".
    pub organization_runners: Level,
}

impl Token {
    /// Returns the permissions that a farm needs to poll and register runners per repository.
    #[must_use]
    pub fn for_repository_runners() -> Self {
        Self { actions: Level::Read, administration: Level::Write, ..Self::default() }
    }

    /// Returns the permissions that a farm needs to poll repositories and register runners at their organization.
    #[must_use]
    pub fn for_organization_runners() -> Self {
        Self { actions: Level::Read, organization_runners: Level::Write, ..Self::default() }
    }
}

/// The kind of a token, which appears in answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    FineGrained,
    /// Classic personal access token with these scopes.
    Classic(Vec<String>),
    /// Installation token of this installation.
    Installation(u64),
}

#[derive(Debug, Clone)]
pub(crate) struct Account {
    pub(crate) token: Token,
    pub(crate) kind: Kind,
    /// Name in the request log.
    pub(crate) name: String,
    pub(crate) limit_key: LimitKey,
    /// Owner of the visible repositories, for an installation's account.
    pub(crate) owner: Option<String>,
    pub(crate) expires_at: Option<Timestamp>,
}

/// An authenticated caller.
#[derive(Debug, Clone)]
pub(crate) enum Caller {
    Nobody,
    /// Caller with this secret of an account.
    Token(String),
    /// App with a signed claim.
    App(u64),
}

/// The permission that a call needs.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Need {
    Actions(Level),
    Runners(Level),
    /// Permission to see the thing.
    Metadata,
}
