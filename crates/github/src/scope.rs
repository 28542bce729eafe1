//! Where runners are registered: a repository or an organization.

use std::fmt;
use std::str::FromStr;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Characters that GitHub's own names use and that need no escape in a path segment.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

/// A repository, by owner and name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Repository {
    /// User or organization that owns it.
    pub owner: String,
    /// Name without the owner.
    pub repo: String,
}

/// The text is not `owner/repository`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not of the form owner/repository")]
pub struct ScopeError(String);

impl Repository {
    /// A repository by its two names.
    pub fn new(owner: impl Into<String>, repo: impl Into<String>) -> Self {
        Self { owner: owner.into(), repo: repo.into() }
    }

    pub(crate) fn path(&self) -> String {
        format!("repos/{}/{}", segment(&self.owner), segment(&self.repo))
    }
}

impl FromStr for Repository {
    type Err = ScopeError;

    /// Reads `owner/repository`.
    fn from_str(text: &str) -> Result<Self, ScopeError> {
        let name = |part: &str| {
            !part.is_empty()
                && part != "."
                && part != ".."
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        };
        match text.split_once('/') {
            Some((owner, repo)) if name(owner) && name(repo) => Ok(Self::new(owner, repo)),
            _ => Err(ScopeError(text.to_owned())),
        }
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.repo)
    }
}

/// The owner of a runner registration.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// Runners that only this repository may use.
    Repository(Repository),
    /// Runners of an organization, by its login; runner groups decide which repositories may use them.
    Organization(String),
}

impl Scope {
    pub(crate) fn path(&self) -> String {
        match self {
            Self::Repository(repository) => repository.path(),
            Self::Organization(login) => format!("orgs/{}", segment(login)),
        }
    }
}

impl From<Repository> for Scope {
    fn from(repository: Repository) -> Self {
        Self::Repository(repository)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Repository(repository) => write!(f, "repository {repository}"),
            Self::Organization(login) => write!(f, "organization {login}"),
        }
    }
}

fn segment(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_is_read_from_owner_slash_name() {
        assert_eq!("acme/tools.js".parse(), Ok(Repository::new("acme", "tools.js")));
        for wrong in ["acme", "acme/", "/tools", "a/b/c", "acme/..", "acme/to ols", "https://github.com/acme/tools"] {
            assert!(wrong.parse::<Repository>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_path_cannot_be_escaped_from() {
        assert_eq!(Scope::Organization("a/../b?x".into()).path(), "orgs/a%2F..%2Fb%3Fx");
    }
}
