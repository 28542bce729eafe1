//! Refusals of changes while the cluster has no quorum, when its file system is read-only.
//!
//! Source: `cfs_lock` of pve-cluster, `file_set_contents` of pve-common, and the prefix that each call puts before
//! their errors.

use std::time::Duration;

use crate::engine::Engine;
use crate::refusal::{Outcome, Refusal};
use crate::world::guest::Kind;

/// Returns the cluster file that a call changes under lock, and the prefix of its error.
fn locked_file(method: &str, path: &str) -> Option<(&'static str, &'static str)> {
    let what = match (method, path) {
        ("POST", "/access/users") => "create user failed: ",
        ("PUT", "/access/users/{userid}") => "update user failed: ",
        ("DELETE", "/access/users/{userid}") => "delete user failed: ",
        ("POST", "/access/users/{userid}/token/{tokenid}") => "generating token failed: ",
        ("PUT", "/access/users/{userid}/token/{tokenid}") => "updating token info failed: ",
        ("DELETE", "/access/users/{userid}/token/{tokenid}") => "deleting token failed: ",
        ("POST", "/access/groups") => "create group failed: ",
        ("PUT", "/access/groups/{groupid}") => "update group failed: ",
        ("DELETE", "/access/groups/{groupid}") => "delete group failed: ",
        ("POST", "/access/roles") => "create role failed: ",
        ("PUT", "/access/roles/{roleid}") => "update role failed: ",
        ("DELETE", "/access/roles/{roleid}") => "delete role failed: ",
        ("PUT", "/access/acl") => "ACL update failed: ",
        ("POST", "/pools") => "create pool failed: ",
        ("PUT", "/pools" | "/pools/{poolid}") => "update pools failed: ",
        ("DELETE", "/pools" | "/pools/{poolid}") => "delete pool failed: ",
        ("PUT", "/cluster/options") => return Some(("datacenter_cfg", "")),
        ("POST", "/storage") => return Some(("storage_cfg", "create storage failed: ")),
        ("PUT", "/storage/{storage}") => return Some(("storage_cfg", "update storage failed: ")),
        ("DELETE", "/storage/{storage}") => return Some(("storage_cfg", "delete storage failed: ")),
        _ => return None,
    };
    Some(("user_cfg", what))
}

impl Engine {
    /// Fails without quorum, after the ten seconds for which PVE tries to lock a file of the cluster.
    pub(crate) async fn lock_cluster_file(&self, method: &str, path: &str) -> Outcome<()> {
        let Some((file, what)) = locked_file(method, path) else { return Ok(()) };
        if self.state().is_quorate() {
            return Ok(());
        }
        self.wait(Duration::from_secs(10)).await;
        Err(Refusal::fault(format!("{what}cfs-lock 'file-{file}' error: no quorum!")))
    }

    /// Checks that a guest's configuration can be written. The error is that of a failed write.
    pub(crate) fn config_is_writable(&self, kind: Kind, vmid: u32, node: &str) -> Result<(), String> {
        let mut state = self.state();
        if state.is_quorate() {
            return Ok(());
        }
        let pid = state.pid();
        Err(format!(
            "unable to open file '/etc/pve/nodes/{node}/{}/{vmid}.conf.tmp.{pid}' - Permission denied",
            kind.directory()
        ))
    }
}
