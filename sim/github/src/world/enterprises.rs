//! Enterprises: groups of organizations with shared runners.
//!
//! The available part of GitHub's published description has no calls below `/enterprises`. GitHub's documentation shows
//! the same bodies as for organizations, with organizations in the place of repositories. Documented: only classic
//! tokens with `manage_runners:enterprise` are accepted, neither fine-grained tokens nor Apps. The answer "Not Found"
//! to a token that may not see an enterprise is a guess.

use std::collections::BTreeSet;

use super::World;
use super::model::{Account, Kind, Scope};
use crate::refusal::Refusal;

/// Scopes with which a classic token may manage an enterprise's runners.
const SCOPES: [&str; 2] = ["manage_runners:enterprise", "admin:enterprise"];

impl World {
    /// Adds an enterprise by slug, with these organizations. Missing organizations are added.
    pub fn add_enterprise(&mut self, slug: &str, organizations: &[&str]) {
        organizations.iter().for_each(|login| self.add_organization(login));
        let logins: BTreeSet<String> = organizations.iter().map(|login| (*login).to_owned()).collect();
        self.enterprises.insert(slug.to_owned(), logins);
    }

    /// Returns the organizations of an enterprise. GitHub ignores case in names.
    pub(crate) fn organizations_of(&self, slug: &str) -> Option<&BTreeSet<String>> {
        self.enterprises.iter().find(|(known, _)| known.eq_ignore_ascii_case(slug)).map(|(_, logins)| logins)
    }

    /// Returns true if a runner of this scope may run a job of `repository`.
    pub(crate) fn covers(&self, scope: &Scope, repository: &str) -> bool {
        let owner = repository.split('/').next().unwrap_or_default();
        match scope {
            Scope::Repository(own) => own.eq_ignore_ascii_case(repository),
            Scope::Organization(login) => owner.eq_ignore_ascii_case(login),
            Scope::Enterprise(slug) => self
                .organizations_of(slug)
                .is_some_and(|logins| logins.iter().any(|login| login.eq_ignore_ascii_case(owner))),
        }
    }

    /// Checks that an account may manage the runners of an enterprise.
    pub(crate) fn permit_enterprise(&self, account: &Account, slug: &str) -> Result<(), Refusal> {
        self.organizations_of(slug).ok_or(Refusal::NotFound)?;
        match &account.kind {
            Kind::Classic(scopes) if scopes.iter().any(|scope| SCOPES.contains(&scope.as_str())) => Ok(()),
            _ => Err(Refusal::NotFound),
        }
    }
}
