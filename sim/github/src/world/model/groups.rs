//! Runner groups.

use std::collections::BTreeSet;

/// Number of every organization's default group.
pub(crate) const DEFAULT_GROUP: u64 = 1;

/// A runner group. Each organization has its own.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub(crate) id: u64,
    /// Login of the organization, or path of the enterprise, in lower case.
    pub(crate) owner: String,
    pub(crate) name: String,
    /// Visibility: `all`, `private` or `selected`.
    pub(crate) visibility: String,
    /// Repositories of an organization's `selected` group.
    pub(crate) repositories: BTreeSet<String>,
    /// Organizations of an enterprise's `selected` group.
    pub(crate) organizations: BTreeSet<String>,
    pub(crate) allows_public_repositories: bool,
    pub(crate) restricted_to_workflows: bool,
    pub(crate) selected_workflows: Vec<String>,
}

impl Group {
    pub(crate) fn default_of(owner: &str) -> Self {
        Self {
            id: DEFAULT_GROUP,
            owner: owner.to_lowercase(),
            name: "Default".into(),
            visibility: "all".into(),
            repositories: BTreeSet::new(),
            organizations: BTreeSet::new(),
            allows_public_repositories: false,
            restricted_to_workflows: false,
            selected_workflows: Vec::new(),
        }
    }

    /// Returns true if jobs of a repository may use the group's runners.
    pub(crate) fn serves(&self, repository: &str) -> bool {
        let owner = repository.split('/').next().unwrap_or_default();
        let chosen = |all: &BTreeSet<String>, name: &str| all.iter().any(|known| known.eq_ignore_ascii_case(name));
        self.visibility != "selected" || chosen(&self.repositories, repository) || chosen(&self.organizations, owner)
    }
}
