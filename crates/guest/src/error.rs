//! Errors of the steps.

use ownership::{Kind, NodeName, Vmid};

/// A step that did not succeed, with its guest and the reason.
#[derive(Debug, thiserror::Error)]
#[error("unable to {doing} {} {vmid}", thing(*kind))]
pub struct Error {
    /// Verb for the step: `clone`, `configure`, …
    pub doing: &'static str,
    /// Kind of the guest.
    pub kind: Kind,
    /// VMID of the guest.
    pub vmid: Vmid,
    /// Reason.
    #[source]
    pub problem: Problem,
}

fn thing(kind: Kind) -> &'static str {
    match kind {
        Kind::Runner => "runner VM",
        Kind::Template => "template",
        Kind::Verify => "verification clone",
        Kind::Dispatcher => "dispatcher container",
    }
}

/// Reason why a step did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// PVE refused or did not answer.
    #[error("Proxmox VE request failed")]
    Pve(#[from] pve::Error),
    /// The whole cluster has no such guest.
    #[error("it no longer exists")]
    Gone,
    /// No node shows the guest although its VMID is taken. It is being made, moved or destroyed.
    #[error("its VMID is taken, but no node shows the guest")]
    Unseen,
    /// Another guest has the VMID. The step made nothing that would have to be removed.
    #[error("the VMID belongs to another guest")]
    VmidTaken,
    /// The guest failed the proof of ownership.
    #[error("the guest is not provably ours")]
    NotOurs(#[source] ownership::NotOurs),
    /// The VMID has another incarnation than the expected one.
    #[error("the VMID belongs to another guest now")]
    OtherIncarnation,
    /// The marker of a VM that is to be cloned names no template.
    #[error("its marker names no template to clone")]
    NoTemplate,
    /// The guest is a template whose disk linked clones still need.
    #[error("linked clones still need its disk")]
    BaseInUse,
    /// The guest cannot be destroyed because it runs.
    #[error("it is running")]
    StillRunning,
    /// The guest powered off while the step waited for it.
    #[error("it is powered off")]
    PoweredOff,
    /// The guest agent did not answer in time.
    #[error("its guest agent did not answer within {seconds} s")]
    NotReady {
        /// Duration of the wait in seconds.
        seconds: u64,
    },
    /// A clone to the VMID was interrupted. Only root on the node can remove the rest of it.
    #[error(
        "a clone to VMID {vmid} was cut off in the middle, and its rest is locked and in no resource pool: this token can neither \
         see nor remove it. As root on node \"{node}\", check that `qm config {vmid}` shows `lock: clone` and \
         \"qmclone temporary file\", then run `qm unlock {vmid}` and `qm destroy {vmid} --destroy-unreferenced-disks 1`; without \
         that option a disk stays behind which keeps the template from ever being removed"
    )]
    HalfMade {
        /// The VMID.
        vmid: Vmid,
        /// Node on which the clone was made.
        node: NodeName,
    },
    /// The caller cancelled the step.
    #[error("it was interrupted")]
    Cancelled,
}

impl Error {
    /// Returns true if the guest no longer exists in the whole cluster.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(self.problem, Problem::Gone | Problem::Pve(pve::Error::NoGuest { .. }))
    }

    /// Returns true if another attempt later may succeed although nothing else has changed.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match &self.problem {
            Problem::Pve(error) => {
                error.is_outcome_unknown()
                    || error.is_locked()
                    || error.is_digest_conflict()
                    || error.is_agent_unavailable()
            }
            Problem::StillRunning | Problem::Unseen | Problem::Cancelled => true,
            _ => false,
        }
    }
}
