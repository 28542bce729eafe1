//! Enterprises: organizations under one roof, with runners that all of them may use.
//!
//! The part of GitHub's published description that is at hand has no calls below `/enterprises`. That their bodies are
//! those of organizations, with organizations in the place of repositories, is what GitHub's documentation shows; that a
//! token that may not see an enterprise hears "Not Found" is a guess. Documented: only classic tokens with
//! `manage_runners:enterprise` are let in, neither fine-grained ones nor Apps.

use std::collections::BTreeSet;

use super::World;
use super::model::{Account, Kind, Scope};
use crate::refusal::Refusal;

/// Scopes of classic tokens that may manage an enterprise's runners.
const SCOPES: [&str; 2] = ["manage_runners:enterprise", "admin:enterprise"];

impl World {
    /// Adds an enterprise, by slug, with these organizations, which come into being where they are not there.
    pub fn add_enterprise(&mut self, slug: &str, organizations: &[&str]) {
        organizations.iter().for_each(|login| self.add_organization(login));
        let logins: BTreeSet<String> = organizations.iter().map(|login| (*login).to_owned()).collect();
        self.enterprises.insert(slug.to_owned(), logins);
    }

    /// The organizations of an enterprise; GitHub ignores case in names.
    pub(crate) fn organizations_of(&self, slug: &str) -> Option<&BTreeSet<String>> {
        self.enterprises.iter().find(|(known, _)| known.eq_ignore_ascii_case(slug)).map(|(_, logins)| logins)
    }

    /// Whether a job of `repository` may run on a runner of this scope.
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
