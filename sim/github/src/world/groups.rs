//! Runner groups of organizations and enterprises, which decide which repositories may use which runners.

use super::World;
use super::model::{DEFAULT_GROUP, Group, Runner, Scope};
use crate::refusal::Refusal;

impl World {
    /// Adds a runner group of an organization for the named repositories (`owner/name`), or for all if none is named.
    /// Returns its number.
    pub fn add_runner_group(&mut self, organization: &str, name: &str, repositories: &[&str]) -> u64 {
        let group = Group {
            name: name.to_owned(),
            visibility: if repositories.is_empty() { "all" } else { "selected" }.into(),
            repositories: repositories.iter().map(|name| (*name).to_owned()).collect(),
            ..Group::default_of(organization)
        };
        self.insert_group(group)
    }

    /// Stores a new group under the next number.
    pub(crate) fn insert_group(&mut self, group: Group) -> u64 {
        let id = self.groups.iter().map(|known| known.id).max().unwrap_or(DEFAULT_GROUP) + 1;
        self.groups.push(Group { id, ..group });
        id
    }

    /// Returns the groups of an organization or an enterprise, given by its path. The default group is first.
    pub(crate) fn groups_of(&self, owner: &str) -> Vec<Group> {
        let own = |group: &&Group| group.owner.eq_ignore_ascii_case(owner);
        let mut groups: Vec<Group> = self.groups.iter().filter(own).cloned().collect();
        if !groups.iter().any(|group| group.id == DEFAULT_GROUP) {
            groups.insert(0, Group::default_of(owner));
        }
        groups
    }

    /// Returns a group of a scope. Repositories only have the default group.
    pub(crate) fn group(&self, scope: &Scope, id: u64) -> Result<Group, Refusal> {
        match scope {
            Scope::Repository(name) if id == DEFAULT_GROUP => Ok(Group::default_of(name)),
            Scope::Repository(_) => Err(Refusal::NotFound),
            Scope::Organization(_) | Scope::Enterprise(_) => {
                self.groups_of(&scope.path()).into_iter().find(|group| group.id == id).ok_or(Refusal::NotFound)
            }
        }
    }

    /// Returns a group for a change. The default group is created at its first change.
    pub(crate) fn group_mut(&mut self, owner: &str, id: u64) -> Result<&mut Group, Refusal> {
        let own = |group: &Group| group.owner.eq_ignore_ascii_case(owner) && group.id == id;
        if id == DEFAULT_GROUP && !self.groups.iter().any(own) {
            self.groups.push(Group::default_of(owner));
        }
        self.groups.iter_mut().find(|group| own(group)).ok_or(Refusal::NotFound)
    }

    /// Removes a group. Its runners move to the default group.
    pub(crate) fn remove_group(&mut self, scope: &Scope, id: u64) -> Result<(), Refusal> {
        self.group(scope, id)?;
        if id == DEFAULT_GROUP {
            return Err(Refusal::Invalid("The default runner group cannot be deleted.".into()));
        }
        self.groups.retain(|group| group.id != id);
        for runner in self.runners.values_mut().filter(|runner| runner.group == id) {
            runner.group = DEFAULT_GROUP;
        }
        Ok(())
    }

    /// Returns true if a scope's group accepts a repository's jobs.
    pub(crate) fn group_serves(&self, scope: &Scope, group: u64, repository: &str) -> bool {
        self.covers(scope, repository) && self.group(scope, group).is_ok_and(|group| group.serves(repository))
    }

    pub(crate) fn runners_of_group<'a>(&'a self, scope: &'a Scope, group: u64) -> impl Iterator<Item = &'a Runner> {
        self.runners_in(scope).filter(move |runner| runner.group == group)
    }
}
