//! The snapshots of a guest.

use std::collections::BTreeMap;

/// The configuration of a guest at the time of a snapshot.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    pub(crate) config: BTreeMap<String, String>,
    pub(crate) parent: Option<String>,
    /// Creation time in seconds since the epoch.
    pub(crate) time: u64,
    pub(crate) description: Option<String>,
}

/// Returns the name under which the backend keeps a volume's snapshot.
pub(crate) fn snapshot_volume_name(volid: &str, snapshot: &str) -> String {
    format!("{volid}@{snapshot}")
}
