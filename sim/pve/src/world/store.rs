//! A storage of a simulated cluster, put together in code.

use serde_json::{Map, Value, json};

/// A storage to be given to [`crate::World::store`]: what it is, what it may hold, where it is and how big.
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) definition: Map<String, Value>,
    pub(crate) size: Option<u64>,
}

impl Store {
    fn of(kind: &str, rest: &Value) -> Self {
        let mut definition = rest.as_object().cloned().unwrap_or_default();
        definition.insert("type".into(), json!(kind));
        Self { definition, size: None }
    }

    /// A directory of each node's own (`dir`).
    #[must_use]
    pub fn directory(path: &str) -> Self {
        Self::of("dir", &json!({ "path": path })).content(&["images", "rootdir"])
    }

    /// An NFS export, which every node has (`nfs`).
    #[must_use]
    pub fn nfs(path: &str) -> Self {
        Self::of("nfs", &json!({ "path": path, "server": "10.78.255.1", "export": "/export" }))
            .content(&["images", "rootdir"])
    }

    /// A volume group of each node's own (`lvm`).
    #[must_use]
    pub fn lvm() -> Self {
        Self::of("lvm", &json!({ "vgname": "vg" })).content(&["images", "rootdir"])
    }

    /// A thin pool of each node's own (`lvmthin`).
    #[must_use]
    pub fn lvm_thin() -> Self {
        Self::of("lvmthin", &json!({ "vgname": "pve", "thinpool": "data" })).content(&["images", "rootdir"])
    }

    /// A ZFS pool of each node's own (`zfspool`); volumes reserve their size.
    #[must_use]
    pub fn zfs() -> Self {
        Self::of("zfspool", &json!({ "pool": "rpool/data" })).content(&["images", "rootdir"])
    }

    /// A Ceph pool, which every node has (`rbd`).
    #[must_use]
    pub fn rbd() -> Self {
        Self::of("rbd", &json!({ "pool": "rbd" })).content(&["images", "rootdir"])
    }

    /// What it may hold, in place of disks and root file systems: `images`, `rootdir`, `iso`, `vztmpl`, `snippets`, `import`,
    /// `backup`.
    #[must_use]
    pub fn content(self, content: &[&str]) -> Self {
        self.option("content", json!(content.join(",")))
    }

    /// Only these nodes have it.
    #[must_use]
    pub fn nodes(self, nodes: &[&str]) -> Self {
        self.option("nodes", json!(nodes.join(",")))
    }

    /// Every node has the same volumes on it, which types of their own accord say of themselves.
    #[must_use]
    pub fn shared(self) -> Self {
        self.option("shared", json!(1))
    }

    /// Nobody may use it.
    #[must_use]
    pub fn disabled(self) -> Self {
        self.option("disable", json!(1))
    }

    /// Bytes that it has room for, on each node unless it is shared; default 100 GiB. Everything that is not a volume takes 8 GiB.
    #[must_use]
    pub fn size(mut self, bytes: u64) -> Self {
        self.size = Some(bytes);
        self
    }

    /// A further option of its definition (`sparse`, `krbd`, …).
    #[must_use]
    pub fn option(mut self, name: &str, value: Value) -> Self {
        self.definition.insert(name.to_owned(), value);
        self
    }
}
