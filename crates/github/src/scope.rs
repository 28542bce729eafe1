//! The scopes in which runners are registered: a repository or an organization.

use std::fmt;

use ownership::RepositoryName;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Characters that are escaped in a path segment. Those of GitHub's own names need no escape.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

/// Returns the path of a repository in the API.
pub(crate) fn repository_path(repository: &RepositoryName) -> String {
    format!("repos/{}/{}", segment(repository.owner()), segment(repository.name()))
}

/// The scope in which a runner is registered.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// Runners that only this repository may use.
    Repository(RepositoryName),
    /// Runners of an organization, by its login. Runner groups decide which repositories may use them.
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
    fn a_name_cannot_lead_to_another_path() {
        assert_eq!(Scope::Organization("a/../b?x".into()).path(), "orgs/a%2F..%2Fb%3Fx");
    }
}
