//! The meaning of PVE's texts.

use super::Error;

/// A privilege that the token lacks, as far as PVE named it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingPrivilege {
    /// Path of the access control list, for example `/vms/9000`. `None` if PVE does not name it.
    pub path: Option<String>,
    /// Privileges of which one is enough, for example `VM.Clone`. Empty if PVE names none.
    pub privileges: Vec<String>,
    /// Token that lacks them. `None` if a task failed.
    pub token_id: Option<String>,
}

impl Error {
    fn token_id(&self) -> Option<String> {
        match self {
            Self::Refused(refusal) => Some(refusal.token_id.clone()),
            _ => None,
        }
    }

    /// Returns PVE's text, from a refusal or from the end of a task.
    fn words(&self) -> Option<String> {
        match self {
            Self::Refused(refusal) => Some(refusal.text()),
            Self::Task { exit_status, .. } => Some(exit_status.clone()),
            _ => None,
        }
    }

    fn says(&self, predicate: impl FnOnce(&str) -> bool) -> bool {
        self.words().is_some_and(|words| predicate(&words))
    }

    fn status(&self) -> Option<u16> {
        match self {
            Self::Refused(refusal) => Some(refusal.status),
            _ => None,
        }
    }

    /// Returns true if the guest of the request does not exist on that node as that kind of guest.
    #[must_use]
    pub fn is_guest_missing(&self) -> bool {
        matches!(self, Self::NoGuest { .. })
            || self.says(|words| {
                let configuration =
                    words.contains("Configuration file 'nodes/") && words.contains(".conf' does not exist");
                configuration
                    || words.contains("unable to find configuration file for ")
                    || words.contains("could not find CT ")
            })
    }

    /// Returns true if the change cannot be made while the guest runs.
    #[must_use]
    pub fn is_hotplug_refused(&self) -> bool {
        self.says(|words| words.contains("unable to hotplug ") || words.contains("hotplug problem - "))
    }

    /// Returns true if the storage does not exist.
    #[must_use]
    pub fn is_storage_missing(&self) -> bool {
        self.says(|words| {
            words.contains("No such storage.")
                || (words.contains("storage '") && words.contains("' does not exist") && !words.contains("volume '"))
        })
    }

    /// Returns true if the volume does not exist.
    #[must_use]
    pub fn is_volume_missing(&self) -> bool {
        self.says(|words| {
            (words.contains("volume '") && words.contains("' does not exist")) || words.contains("failed to stat '")
        })
    }

    /// Returns true if the storage does not accept this kind of content.
    #[must_use]
    pub fn is_content_type_refused(&self) -> bool {
        self.says(|words| words.contains("does not support '") && words.contains("' content"))
    }

    /// Returns true if the VMID belongs to another guest. Use another VMID, and never remove that guest.
    #[must_use]
    pub fn is_already_exists(&self) -> bool {
        self.says(|words| words.contains("already exists") || words.contains("File exists"))
    }

    /// Returns true if the guest has a lock, or another worker held its lock file for too long. Another attempt may
    /// succeed.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.says(|words| {
            let file = words.contains("can't lock file '") && words.contains("got timeout");
            file || words.contains("VM is locked (") || words.contains("CT is locked (")
        })
    }

    /// Returns true if the configuration was changed after its digest was read.
    #[must_use]
    pub fn is_digest_conflict(&self) -> bool {
        self.says(|words| words.contains("file change by other user") || words.contains("file changed by other user"))
    }

    /// Returns true if the guest runs, and this request needs a stopped guest.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.says(|words| {
            words.contains(" already running")
                || words.contains("is running - destroy failed")
                || words.contains("container is running")
        })
    }

    /// Returns true if the guest does not run, and this request needs a running guest.
    #[must_use]
    pub fn is_not_running(&self) -> bool {
        let agent = self.is_agent_unavailable();
        self.says(|words| !agent && (words.contains(" is not running") || words.ends_with(" not running")))
    }

    /// Returns true if the guest agent does not answer, or not yet.
    #[must_use]
    pub fn is_agent_unavailable(&self) -> bool {
        self.says(|words| {
            words.contains("guest agent is not running")
                || (words.contains(" qga command ") && words.contains("got timeout"))
        })
    }

    /// Returns true if the guest's configuration has no agent.
    #[must_use]
    pub fn is_agent_not_configured(&self) -> bool {
        self.says(|words| words.contains("No QEMU guest agent configured"))
    }

    /// Returns true if the agent did not find the file.
    #[must_use]
    pub fn is_guest_file_missing(&self) -> bool {
        self.says(|words| words.contains("Agent error: ") && words.contains("No such file or directory"))
    }

    /// Returns true if a template cannot be destroyed because linked clones need its disk.
    #[must_use]
    pub fn is_base_in_use(&self) -> bool {
        self.says(|words| words.contains("is still in use by linked clone"))
    }

    /// Returns true if `protection=1` forbids the request.
    #[must_use]
    pub fn is_protected(&self) -> bool {
        self.says(|words| words.contains("protection mode enabled"))
    }

    /// Returns true if PVE has no free VMID in the datacenter's range.
    #[must_use]
    pub fn is_range_full(&self) -> bool {
        self.says(|words| words.contains("unable to get any free VMID in range"))
    }

    /// Returns true if the cluster has no such node.
    #[must_use]
    pub fn is_node_unknown(&self) -> bool {
        self.says(|words| words.contains("hostname lookup '") || words.contains("no such cluster node '"))
    }

    /// Returns true if the resource pool does not exist, which PVE reports as a missing permission.
    #[must_use]
    pub fn is_pool_missing(&self) -> bool {
        self.says(|words| words.contains("pool '") && words.contains("' does not exist"))
    }

    /// Returns true if the token is wrong, expired or unknown, which PVE does not distinguish.
    #[must_use]
    pub fn is_unauthenticated(&self) -> bool {
        self.status() == Some(401)
    }

    /// Returns true if the token lacks a privilege.
    #[must_use]
    pub fn is_permission_denied(&self) -> bool {
        self.status() == Some(403) || self.says(|words| words.contains("Permission check failed"))
    }

    /// Returns the privilege that the token lacks, or `None` for another kind of error.
    #[must_use]
    pub fn missing_privilege(&self) -> Option<MissingPrivilege> {
        if !self.is_permission_denied() || self.is_pool_missing() {
            return None;
        }
        let words = self.words()?;
        let token_id = self.token_id();
        let inside = words.split_once("Permission check failed (").and_then(|(_, rest)| rest.split_once(')'));
        let named = inside.and_then(|(inside, _)| inside.rsplit_once(", ")).filter(|(path, _)| path.starts_with('/'));
        let Some((path, privileges)) = named else {
            return Some(MissingPrivilege { path: None, privileges: Vec::new(), token_id });
        };
        let privileges = privileges.split('|').map(str::to_owned).collect();
        Some(MissingPrivilege { path: Some(path.to_owned()), privileges, token_id })
    }

    /// Returns true if the request was certainly not carried out, because no server accepted it.
    ///
    /// The API proxy answers `595` if a daemon or a node accepts no connection. It answers `596` after it has passed
    /// the request on.
    #[must_use]
    pub fn is_not_carried_out(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Untrusted { .. }) || self.status() == Some(595)
    }

    /// Returns true if the node's API daemon is down, for example during a restart.
    pub(crate) fn is_daemon_down(&self) -> bool {
        self.status() == Some(595) && self.says(|words| words.contains("Connection refused"))
    }

    /// Returns true if the node's API daemon died during the request. The request may have been carried out.
    pub(crate) fn is_daemon_lost(&self) -> bool {
        self.status() == Some(596) && self.says(|words| words.contains("Connection reset by peer"))
    }

    /// Returns true if the request failed on its way, so that another attempt may succeed. The request may have been
    /// carried out, unless [`Error::is_not_carried_out`].
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Interrupted { .. }) || matches!(self.status(), Some(595..=599))
    }

    /// Returns true if the answer to a request was lost, or the wait for its task ended early. The request may have
    /// been done, or may still be done.
    #[must_use]
    pub fn is_outcome_unknown(&self) -> bool {
        self.is_transient() || matches!(self, Self::Deadline { .. } | Self::Cancelled { .. })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::error::Refusal;
    use crate::upid::Upid;

    fn refused(status: u16, message: &str) -> Error {
        Error::Refused(Refusal {
            method: "GET",
            path: "/x".into(),
            status,
            message: message.into(),
            errors: BTreeMap::new(),
            token_id: "ci@pve!t1".into(),
        })
    }

    fn refused_parameter(parameter: &str, text: &str) -> Error {
        let errors = BTreeMap::from([(parameter.to_owned(), text.to_owned())]);
        Error::Refused(Refusal {
            method: "GET",
            path: "/x".into(),
            status: 400,
            message: "Parameter verification failed.".into(),
            errors,
            token_id: "ci@pve!t1".into(),
        })
    }

    fn task(exit_status: &str) -> Error {
        let upid = Upid::parse("UPID:pve1:000002E8:0002A2C8:6B02BFC8:qmclone:9000:ci@pve!t1:").unwrap();
        Error::Task { upid, exit_status: exit_status.into(), log: vec!["TASK ERROR".into()] }
    }

    #[test]
    fn a_missing_guest_is_recognised_by_its_text() {
        assert!(
            refused(500, "Configuration file 'nodes/pve1/qemu-server/7777.conf' does not exist").is_guest_missing()
        );
        assert!(refused(500, "Configuration file 'nodes/pve1/lxc/7777.conf' does not exist").is_guest_missing());
        assert!(refused(500, "unable to find configuration file for VM 7777 on node 'pve1'").is_guest_missing());
        assert!(task("Configuration file 'nodes/pve1/qemu-server/7777.conf' does not exist").is_guest_missing());
        assert!(!refused(500, "volume 'local:iso/none.iso' does not exist").is_guest_missing());
    }

    #[test]
    fn a_taken_vmid_is_recognised_in_all_texts() {
        assert!(refused(500, "unable to create VM 8100: config file already exists").is_already_exists());
        assert!(task("unable to create VM 8100: config file already exists").is_already_exists());
        assert!(
            task("close (rename) atomic file '/etc/pve/nodes/pve1/qemu-server/200.conf' failed: File exists")
                .is_already_exists()
        );
        assert!(refused(500, "CT 8200 already exists on node 'pve1'").is_already_exists());
        assert!(refused_parameter("vmid", "VM 9000 already exists").is_already_exists());
    }

    #[test]
    fn locked_guests_are_recognised() {
        assert!(refused(500, "can't lock file '/var/lock/qemu-server/lock-9010.conf' - got timeout").is_locked());
        assert!(task("can't lock file '/run/lock/lxc/pve-config-8303.lock' - got timeout").is_locked());
        assert!(refused(500, "VM is locked (clone)").is_locked());
        assert!(!task("VM quit/powerdown failed - got timeout").is_locked());
    }

    #[test]
    fn the_three_refusals_of_the_agent_are_distinguished() {
        let (absent, off, booting) = (
            refused(500, "No QEMU guest agent configured"),
            refused(500, "VM 9010 is not running"),
            refused(500, "QEMU guest agent is not running"),
        );
        assert!(absent.is_agent_not_configured() && !absent.is_not_running() && !absent.is_agent_unavailable());
        assert!(off.is_not_running() && !off.is_agent_unavailable());
        assert!(booting.is_agent_unavailable() && !booting.is_not_running());
        assert!(refused(500, "VM 8001 qga command 'guest-exec' failed - got timeout").is_agent_unavailable());
        assert!(refused(500, "CT 200 not running").is_not_running());
    }

    #[test]
    fn a_missing_privilege_names_path_and_privileges() {
        let missing = refused(403, "Permission check failed (/storage/local, Datastore.Audit|Datastore.AllocateSpace)")
            .missing_privilege()
            .unwrap();
        assert_eq!(missing.path.as_deref(), Some("/storage/local"));
        assert_eq!(missing.privileges, ["Datastore.Audit", "Datastore.AllocateSpace"]);
        assert_eq!(missing.token_id.as_deref(), Some("ci@pve!t1"));
        let bare = refused(403, "Permission check failed").missing_privilege().unwrap();
        assert_eq!((bare.path, bare.privileges.len()), (None, 0));
        let changing = refused(
            403,
            "Permission check failed (changing feature flags (except nesting) is only allowed for root@pam)",
        );
        assert_eq!(changing.missing_privilege().unwrap().path, None);
        let pool = refused(403, "Permission check failed (pool 'nopool' does not exist)");
        assert!(pool.is_pool_missing() && pool.missing_privilege().is_none());
        assert!(refused(500, "no options specified").missing_privilege().is_none());
    }

    #[test]
    fn refusals_about_storages_nodes_and_conflicts_are_recognised() {
        assert!(refused_parameter("storage", "No such storage.").is_storage_missing());
        assert!(refused(500, "storage 'nope' does not exist").is_storage_missing());
        assert!(refused(500, "storage 'store' does not support 'iso' content").is_content_type_refused());
        assert!(refused(500, "volume 'local:snippets/x.yaml' does not exist").is_volume_missing());
        assert!(
            refused(500, "hostname lookup 'nope' failed - failed to get address info for: nope: Temporary failure")
                .is_node_unknown()
        );
        assert!(refused(500, "no such cluster node 'nope'").is_node_unknown());
        assert!(refused(500, "checksum mismatch (file change by other user?)").is_digest_conflict());
        assert!(
            refused(500, "detected modified configuration - file changed by other user? Try again.")
                .is_digest_conflict()
        );
        assert!(refused(500, "can't remove VM 8600 - protection mode enabled").is_protected());
        assert!(
            task("base volume 'vmdir:9000/base-9000-disk-0.qcow2' is still in use by linked cloned").is_base_in_use()
        );
        assert!(task("VM 8010 already running").is_running());
        assert!(refused(500, "VM 8010 is running - destroy failed").is_running());
        assert!(refused(500, "unable to get any free VMID in range [100, 101]").is_range_full());
        assert!(refused(401, "Authentication failed!").is_unauthenticated());
        assert!(refused(596, "Broken pipe").is_transient());
        assert!(refused(596, "Broken pipe").is_outcome_unknown());
        assert!(!refused(500, "no such storage").is_outcome_unknown());
    }

    #[test]
    fn a_daemon_that_is_down_accepted_nothing_and_one_that_died_may_have() {
        let down = refused(595, "Connection refused");
        assert!(down.is_transient() && down.is_not_carried_out() && down.is_daemon_down() && !down.is_daemon_lost());
        let dying = refused(596, "Connection reset by peer");
        assert!(
            dying.is_transient() && !dying.is_not_carried_out() && dying.is_daemon_lost() && !dying.is_daemon_down()
        );
        let away = refused(595, "No route to host");
        assert!(away.is_transient() && away.is_not_carried_out() && !away.is_daemon_down());
        assert!(!refused(500, "VM is locked (clone)").is_not_carried_out());
    }

    #[test]
    fn the_text_names_the_parameter_and_the_log() {
        let text = refused_parameter("vmid", "type check ('integer') failed - got 'abc'").to_string();
        assert_eq!(
            text,
            "Proxmox VE refused GET /x: 400 Parameter verification failed. vmid: type check ('integer') failed - got 'abc'"
        );
        assert!(task("boom").to_string().ends_with("failed: boom\n  TASK ERROR"));
    }
}
