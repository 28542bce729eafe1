//! The types of storages and their options, from `data/pve-storage-types.json`.
//!
//! Source: `options` and `plugindata` of each plugin below `PVE::Storage`.

use std::collections::BTreeMap;

use serde::Deserialize;

/// All simulated types.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StorageTypes {
    /// Options of all types.
    common: Vec<String>,
    types: BTreeMap<String, StorageType>,
}

/// A type of storage.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StorageType {
    /// Options that are required and never change.
    pub(crate) fixed: Vec<String>,
    /// Options that are optional and never change.
    pub(crate) once: Vec<String>,
    pub(crate) optional: Vec<String>,
    /// Content types that a storage of this type can hold.
    pub(crate) content: Vec<String>,
    /// Content types of a storage whose definition does not list them.
    pub(crate) default: Vec<String>,
}

impl StorageTypes {
    pub(super) fn load() -> Result<Self, serde_json::Error> {
        serde_json::from_str(include_str!("../../data/pve-storage-types.json"))
    }

    pub(crate) fn get(&self, kind: &str) -> Option<&StorageType> {
        self.types.get(kind)
    }

    /// Returns true if storages of a type have an option.
    pub(crate) fn takes(&self, kind: &StorageType, name: &str) -> bool {
        [&self.common, &kind.fixed, &kind.once, &kind.optional].into_iter().any(|names| has(names, name))
    }
}

impl StorageType {
    pub(crate) fn is_fixed(&self, name: &str) -> bool {
        has(&self.fixed, name)
    }

    pub(crate) fn is_set_once(&self, name: &str) -> bool {
        has(&self.once, name)
    }

    pub(crate) fn holds(&self, content: &str) -> bool {
        has(&self.content, content)
    }
}

fn has(names: &[String], name: &str) -> bool {
    names.iter().any(|known| known == name)
}
