//! Tokens, who uses them, and what a call needs of them.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::limits::Counted;

/// How much a permission allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Level {
    /// Nothing.
    #[default]
    None,
    /// Reading.
    Read,
    /// Reading and changing.
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

/// What a token may do: the permissions of a fine-grained personal access token or of an App's installation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Token {
    /// Repositories (`owner/name`) that it may see; empty for all.
    pub repositories: BTreeSet<String>,
    /// Repository permission "Actions".
    pub actions: Level,
    /// Repository permission "Administration".
    pub administration: Level,
    /// Organization permission "Self-hosted runners".
    pub organization_runners: Level,
}

impl Token {
    /// What a farm that polls and registers runners per repository needs, and no more.
    #[must_use]
    pub fn for_repository_runners() -> Self {
        Self { actions: Level::Read, administration: Level::Write, ..Self::default() }
    }

    /// What a farm that polls repositories and registers runners at their organization needs, and no more.
    #[must_use]
    pub fn for_organization_runners() -> Self {
        Self { actions: Level::Read, organization_runners: Level::Write, ..Self::default() }
    }
}

/// What kind of token it is, which shows in answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    FineGrained,
    /// With these scopes.
    Classic(Vec<String>),
    /// Of this installation.
    Installation(u64),
}

#[derive(Debug, Clone)]
pub(crate) struct Account {
    pub(crate) token: Token,
    pub(crate) kind: Kind,
    /// How the request log calls it.
    pub(crate) name: String,
    pub(crate) counted: Counted,
    /// Whose repositories it sees only: an installation's account.
    pub(crate) owner: Option<String>,
    pub(crate) expires_at: Option<Timestamp>,
}

/// Who was recognized.
#[derive(Debug, Clone)]
pub(crate) enum Caller {
    Nobody,
    /// By the secret of an account.
    Token(String),
    /// An App that signed for itself.
    App(u64),
}

/// What a call needs.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Need {
    Actions(Level),
    Runners(Level),
    /// That it may see the thing.
    Metadata,
}
