//! A storage of a simulated cluster, built in code.

use serde_json::{Map, Value, json};

/// A storage for [`crate::World::store`]: its type, contents, nodes and size.
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

    /// Creates a directory of each node (`dir`).
    #[must_use]
    pub fn directory(path: &str) -> Self {
        Self::of("dir", &json!({ "path": path })).content(&["images", "rootdir"])
    }

    /// Creates an NFS export, which every node has (`nfs`).
    #[must_use]
    pub fn nfs(path: &str) -> Self {
        Self::of("nfs", &json!({ "path": path, "server": "10.78.255.1", "export": "/export" }))
            .content(&["images", "rootdir"])
    }

    /// Creates a volume group of each node (`lvm`).
    #[must_use]
    pub fn lvm() -> Self {
        Self::of("lvm", &json!({ "vgname": "vg" })).content(&["images", "rootdir"])
    }

    /// Creates a thin pool of each node (`lvmthin`).
    #[must_use]
    pub fn lvm_thin() -> Self {
        Self::of("lvmthin", &json!({ "vgname": "pve", "thinpool": "data" })).content(&["images", "rootdir"])
    }

    /// Creates a ZFS pool of each node (`zfspool`), whose volumes reserve their size.
    #[must_use]
    pub fn zfs() -> Self {
        Self::of("zfspool", &json!({ "pool": "rpool/data" })).content(&["images", "rootdir"])
    }

    /// Creates a Ceph pool, which every node has (`rbd`).
    #[must_use]
    pub fn rbd() -> Self {
        Self::of("rbd", &json!({ "pool": "rbd" })).content(&["images", "rootdir"])
    }

    /// Sets the content types, by default disks and root file systems: `images`, `rootdir`, `iso`, `vztmpl`,
    /// `snippets`, `import`, `backup`.
    #[must_use]
    pub fn content(self, content: &[&str]) -> Self {
        self.option("content", json!(content.join(",")))
    }

    /// Limits the storage to these nodes.
    #[must_use]
    pub fn nodes(self, nodes: &[&str]) -> Self {
        self.option("nodes", json!(nodes.join(",")))
    }

    /// Makes all nodes see the same volumes. Some types are always shared.
    #[must_use]
    pub fn shared(self) -> Self {
        self.option("shared", json!(1))
    }

    /// Disables the storage.
    #[must_use]
    pub fn disabled(self) -> Self {
        self.option("disable", json!(1))
    }

    /// Sets the size in bytes, on each node unless the storage is shared. The default is 100 GiB, of which other data
    /// takes 8 GiB.
    #[must_use]
    pub fn size(mut self, bytes: u64) -> Self {
        self.size = Some(bytes);
        self
    }

    /// Sets another option of the definition (`sparse`, `krbd`, …).
    #[must_use]
    pub fn option(mut self, name: &str, value: Value) -> Self {
        self.definition.insert(name.to_owned(), value);
        self
    }
}
