//! The built-in roles of a line, from `data/pve-roles-8.json` and `-9.json`.
//!
//! Source: `create_roles` of `PVE::AccessControl`.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::line::Line;

/// The role that has every privilege.
const ADMINISTRATOR: &str = "Administrator";

/// Privileges by role.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(crate) struct BuiltInRoles(BTreeMap<String, BTreeSet<String>>);

impl BuiltInRoles {
    /// Reads the roles of a line.
    pub(super) fn of(line: Line) -> Result<Self, serde_json::Error> {
        serde_json::from_str(match line {
            Line::Eight => include_str!("../../data/pve-roles-8.json"),
            Line::Nine => include_str!("../../data/pve-roles-9.json"),
        })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&String, &BTreeSet<String>)> {
        self.0.iter()
    }

    /// Returns true if PVE has a privilege of this name.
    pub(crate) fn has_privilege(&self, name: &str) -> bool {
        self.0.get(ADMINISTRATOR).is_some_and(|all| all.contains(name))
    }
}
