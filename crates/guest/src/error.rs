//! What can go wrong in a step.

use ownership::{Kind, NodeName, Vmid};

/// A step that did not succeed: what was being done, to which guest, and why.
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

/// Why a step did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// Proxmox VE refused or did not answer.
    #[error("Proxmox VE request failed")]
    Pve(#[from] pve::Error),
    /// The whole cluster has no such guest.
    #[error("it no longer exists")]
    Gone,
    /// No node shows the guest although its VMID is taken. It is being made, moved or destroyed.
    #[error("its VMID is taken, but no node shows the guest")]
    Unseen,
    /// Somebody else has the VMID. It is theirs: nothing is to be cleaned up.
    #[error("the VMID belongs to another guest")]
    VmidTaken,
    /// The guest cannot be proven to be ours.
    #[error("the guest is not provably ours")]
    NotOurs(#[source] ownership::NotOurs),
    /// The VMID carries another incarnation than the one meant.
    #[error("the VMID belongs to another guest now")]
    OtherIncarnation,
    /// The marker of a VM that is to be cloned names no template.
    #[error("its marker names no template to clone")]
    NoTemplate,
    /// A template whose disk linked clones still need.
    #[error("linked clones still need its disk")]
    BaseInUse,
    /// It was to be destroyed, and runs.
    #[error("it is running")]
    StillRunning,
    /// It was to be waited for, and is powered off.
    #[error("it is powered off")]
    PoweredOff,
    /// The guest did not become ready in time.
    #[error("its guest agent did not answer within {seconds} s")]
    NotReady {
        /// How long it was waited for.
        seconds: u64,
    },
    /// A clone to the VMID was cut off in the middle. Only root on the node can remove what is left of it.
    #[error(
        "a clone to VMID {vmid} was cut off in the middle, and its rest is locked and in no resource pool: this token can neither \
         see nor remove it. As root on node \"{node}\", check that `qm config {vmid}` shows `lock: clone` and \
         \"qmclone temporary file\", then run `qm unlock {vmid}` and `qm destroy {vmid} --destroy-unreferenced-disks 1`; without \
         that option a disk stays behind which keeps the template from ever being removed"
    )]
    HalfMade {
        /// The VMID.
        vmid: Vmid,
        /// Node that the clone was made on.
        node: NodeName,
    },
    /// The caller asked to stop.
    #[error("it was interrupted")]
    Cancelled,
}

impl Error {
    /// Returns true if the guest that was meant no longer exists in the whole cluster.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(self.problem, Problem::Gone | Problem::Pve(pve::Error::NoGuest { .. }))
    }

    /// Whether trying again later can help without anything else changing.
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
