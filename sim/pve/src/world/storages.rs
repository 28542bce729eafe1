//! Storages: their definitions, nodes and space.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::layout::{self, Feature, Layout, Named};
use super::state::State;
use super::volumes::storage_of;
use crate::params;
use crate::refusal::{Outcome, Refusal};

/// Default size of a storage in bytes.
pub(crate) const DEFAULT_SIZE: u64 = 100 << 30;
/// Default number of bytes that other data than volumes takes.
pub(crate) const DEFAULT_OTHER_BYTES: u64 = 8 << 30;

/// A storage definition.
#[derive(Debug, Clone)]
pub(crate) struct Storage {
    pub(crate) kind: String,
    pub(crate) content: Vec<String>,
    pub(crate) shared: bool,
    pub(crate) disabled: bool,
    /// Nodes that the storage is limited to; empty for all.
    pub(crate) nodes: Vec<String>,
    /// Other options of the definition, as they are shown.
    pub(crate) extra: Map<String, Value>,
    /// Size in bytes: on each node, or in total for a shared storage.
    pub(crate) size: u64,
    /// Bytes of other data by node. A shared storage has one entry without a node.
    pub(crate) other_bytes: BTreeMap<Option<String>, u64>,
}

/// Space of a storage on a node in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) total: u64,
    pub(crate) used: u64,
}

impl Usage {
    pub(crate) fn free(self) -> u64 {
        self.total.saturating_sub(self.used)
    }
}

impl Storage {
    /// Reads a definition.
    pub(crate) fn defined(definition: &Map<String, Value>) -> Self {
        let text = |key: &str| definition.get(key).and_then(Value::as_str).unwrap_or_default();
        let flag = |key: &str| match definition.get(key) {
            Some(Value::String(text)) => text == "1",
            other => other.and_then(Value::as_u64) == Some(1),
        };
        let kind = text("type").to_owned();
        let mut extra = definition.clone();
        for key in ["storage", "type", "content", "shared", "disable", "nodes"] {
            extra.remove(key);
        }
        Self {
            content: params::split_list(text("content")),
            shared: flag("shared") || layout::always_shared(&kind),
            disabled: flag("disable"),
            nodes: params::split_list(text("nodes")),
            extra,
            size: DEFAULT_SIZE,
            other_bytes: BTreeMap::new(),
            kind,
        }
    }

    pub(crate) fn layout(&self) -> Layout {
        Layout::of(&self.kind)
    }

    /// Returns true if a node has the storage.
    pub(crate) fn is_on(&self, node: &str) -> bool {
        self.nodes.is_empty() || self.nodes.iter().any(|one| one == node)
    }

    pub(crate) fn holds(&self, content: &str) -> bool {
        self.content.iter().any(|one| one == content)
    }

    /// Returns true if the storage keeps files below a path.
    pub(crate) fn has_path(&self) -> bool {
        self.extra.contains_key("path")
    }

    /// Returns true if new volumes reserve their whole size.
    pub(crate) fn reserves(&self) -> bool {
        match self.layout() {
            Layout::Lvm => true,
            Layout::Zfs => !self.extra.get("sparse").is_some_and(|sparse| sparse == 1 || sparse == "1"),
            _ => false,
        }
    }

    /// Returns the definition as the API shows it.
    pub(crate) fn shown(&self, name: &str) -> Map<String, Value> {
        let mut row = self.extra.clone();
        row.insert("storage".into(), json!(name));
        row.insert("type".into(), json!(self.kind));
        row.insert("content".into(), json!(self.content.join(",")));
        if self.shared {
            row.insert("shared".into(), json!(1));
        }
        if self.disabled {
            row.insert("disable".into(), json!(1));
        }
        if !self.nodes.is_empty() {
            row.insert("nodes".into(), json!(self.nodes.join(",")));
        }
        row
    }
}

impl State {
    pub(crate) fn layout(&self, storage: &str) -> Layout {
        self.storages.get(storage).map_or(Layout::Files, Storage::layout)
    }

    /// Returns a storage if it is enabled and the node has it. The error is PVE's text.
    pub(crate) fn usable(&self, node: &str, storage: &str) -> Result<&Storage, String> {
        match self.storages.get(storage) {
            None => Err(format!("storage '{storage}' does not exist")),
            Some(found) if found.disabled => Err(format!("storage '{storage}' is disabled")),
            Some(found) if !found.is_on(node) => Err(format!("storage '{storage}' is not available on node '{node}'")),
            Some(found) => Ok(found),
        }
    }

    /// Returns the parts of a volume's name. The refusal is PVE's.
    pub(crate) fn named(&self, volid: &str) -> Outcome<Named> {
        let (storage, name) = volid.split_once(':').unwrap_or(("", volid));
        let Some(found) = self.storages.get(storage) else {
            return Err(Refusal::fault(format!("storage '{storage}' does not exist")));
        };
        found.layout().parse(name).map_err(Refusal::fault)
    }

    /// Returns true if a volume's storage supports an operation on it, or on a snapshot of it.
    pub(crate) fn can(&self, feature: Feature, volid: &str, snapshot: bool) -> bool {
        self.named(volid).is_ok_and(|named| self.layout(storage_of(volid)).can(feature, &named, snapshot))
    }

    /// Returns the path of a volume on a node.
    pub(crate) fn path_of(&self, volid: &str) -> String {
        let (storage, name) = volid.split_once(':').unwrap_or(("", volid));
        let empty = Map::new();
        let definition = self.storages.get(storage).map_or(&empty, |found| &found.extra);
        self.layout(storage).path(storage, definition, name)
    }

    /// Returns the space of a storage as `node` sees it.
    pub(crate) fn usage(&self, node: &str, storage: &str) -> Usage {
        let Some(found) = self.storages.get(storage) else { return Usage { total: 0, used: 0 } };
        let place = if found.shared { None } else { Some(node.to_owned()) };
        let other_bytes = found.other_bytes.get(&place).copied().unwrap_or(DEFAULT_OTHER_BYTES.min(found.size));
        Usage { total: found.size, used: (other_bytes + self.taken_on(node, storage)).min(found.size) }
    }
}
