//! Storages: what is defined, on which nodes it is, how full it is.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::layout::{self, Feature, Layout, Named};
use super::state::State;
use super::volumes::storage_of;
use crate::params;
use crate::refusal::{Outcome, Refusal};

/// Bytes of a storage whose size was not given.
pub(crate) const USUAL_SIZE: u64 = 100 << 30;
/// Bytes that something else than volumes takes on such a storage.
pub(crate) const USUAL_USE: u64 = 8 << 30;

/// A storage definition.
#[derive(Debug, Clone)]
pub(crate) struct Storage {
    pub(crate) kind: String,
    pub(crate) content: Vec<String>,
    pub(crate) shared: bool,
    pub(crate) disabled: bool,
    /// The nodes that it is limited to, if it is.
    pub(crate) nodes: Vec<String>,
    /// The rest of the definition, as it is shown.
    pub(crate) extra: Map<String, Value>,
    /// Bytes on each node, or altogether where it is shared.
    pub(crate) size: u64,
    /// Bytes that something else takes, by node; a shared storage has one entry, without a node.
    pub(crate) others: BTreeMap<Option<String>, u64>,
}

/// How full a storage is on a node, in bytes.
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
    /// Takes a definition as it is written or sent.
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
            size: USUAL_SIZE,
            others: BTreeMap::new(),
            kind,
        }
    }

    pub(crate) fn layout(&self) -> Layout {
        Layout::of(&self.kind)
    }

    /// Whether it is there for a node.
    pub(crate) fn is_on(&self, node: &str) -> bool {
        self.nodes.is_empty() || self.nodes.iter().any(|one| one == node)
    }

    pub(crate) fn holds(&self, content: &str) -> bool {
        self.content.iter().any(|one| one == content)
    }

    /// Whether it keeps files below a path.
    pub(crate) fn has_path(&self) -> bool {
        self.extra.contains_key("path")
    }

    /// Whether new volumes take their whole size at once.
    pub(crate) fn reserves(&self) -> bool {
        match self.layout() {
            Layout::Lvm => true,
            Layout::Zfs => !self.extra.get("sparse").is_some_and(|sparse| sparse == 1 || sparse == "1"),
            _ => false,
        }
    }

    /// The definition as the API shows it.
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

    /// A storage that is enabled and there for a node, or PVE's text.
    pub(crate) fn usable(&self, node: &str, storage: &str) -> Result<&Storage, String> {
        match self.storages.get(storage) {
            None => Err(format!("storage '{storage}' does not exist")),
            Some(found) if found.disabled => Err(format!("storage '{storage}' is disabled")),
            Some(found) if !found.is_on(node) => Err(format!("storage '{storage}' is not available on node '{node}'")),
            Some(found) => Ok(found),
        }
    }

    /// What a volume's name says about it; the refusal is PVE's.
    pub(crate) fn named(&self, volid: &str) -> Outcome<Named> {
        let (storage, name) = volid.split_once(':').unwrap_or(("", volid));
        let Some(found) = self.storages.get(storage) else {
            return Err(Refusal::fault(format!("storage '{storage}' does not exist")));
        };
        found.layout().parse(name).map_err(Refusal::fault)
    }

    /// Whether a volume's storage can do that with it, or with a snapshot of it.
    pub(crate) fn can(&self, feature: Feature, volid: &str, snapshot: bool) -> bool {
        self.named(volid).is_ok_and(|named| self.layout(storage_of(volid)).can(feature, &named, snapshot))
    }

    /// The volume's path on a node.
    pub(crate) fn path_of(&self, volid: &str) -> String {
        let (storage, name) = volid.split_once(':').unwrap_or(("", volid));
        let empty = Map::new();
        let definition = self.storages.get(storage).map_or(&empty, |found| &found.extra);
        self.layout(storage).path(storage, definition, name)
    }

    /// How full a storage is as `node` sees it.
    pub(crate) fn usage(&self, node: &str, storage: &str) -> Usage {
        let Some(found) = self.storages.get(storage) else { return Usage { total: 0, used: 0 } };
        let place = if found.shared { None } else { Some(node.to_owned()) };
        let others = found.others.get(&place).copied().unwrap_or(USUAL_USE.min(found.size));
        Usage { total: found.size, used: (others + self.taken_on(node, storage)).min(found.size) }
    }
}
