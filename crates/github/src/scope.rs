//! Where runners are registered: a repository or an organization.

use std::fmt;

use ownership::RepositoryName;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Characters that GitHub's own names use and that need no escape in a path segment.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

/// Returns the path of a repository's part of the API.
pub(crate) fn repository_path(repository: &RepositoryName) -> String {
    format!("repos/{}/{}", segment(repository.owner()), segment(repository.name()))
}

/// The owner of a runner registration.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// Runners that only this repository may use.
    Repository(RepositoryName),
    /// Runners of an organization, by its login; runner groups decide which repositories may use them.
    Organization(String),
}

impl Scope {
    pub(crate) fn path(&self) -> String {
        match self {
            Self::Repository(repository) => repository_path(repository),
            Self::Organization(login) => format!("orgs/{}", segment(login)),
        }
    }
}

impl From<RepositoryName> for Scope {
    fn from(repository: RepositoryName) -> Self {
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
    fn a_path_cannot_be_escaped_from() {
        assert_eq!(Scope::Organization("a/../b?x".into()).path(), "orgs/a%2F..%2Fb%3Fx");
    }
}
