//! Choice of a VMID from a range. PVE reserves none. The first to create a guest gets the VMID, so the choice is only a proposal.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use ownership::{Vmid, VmidRange};

/// The VMIDs that this process is making guests at: resources of one apply do not propose each other's.
#[derive(Debug, Clone, Default)]
pub(crate) struct Vmids(Arc<Mutex<BTreeSet<Vmid>>>);

/// A VMID that is this resource's within this process, until dropped.
#[derive(Debug)]
pub(crate) struct Proposal {
    vmids: Vmids,
    vmid: Vmid,
}

impl Proposal {
    pub(crate) fn vmid(&self) -> Vmid {
        self.vmid
    }
}

impl Drop for Proposal {
    fn drop(&mut self) {
        self.vmids.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.vmid);
    }
}

impl Vmids {
    /// The VMID, unless another resource of this process has it.
    pub(crate) fn claim(&self, vmid: Vmid) -> Option<Proposal> {
        let claimed = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(vmid);
        claimed.then(|| Proposal { vmids: self.clone(), vmid })
    }

    /// The lowest free VMID of the range; `None` when it is full. `refused` are those that were lost to others before.
    pub(crate) async fn propose(
        &self,
        pve: &pve::Client,
        range: VmidRange,
        refused: &BTreeSet<Vmid>,
    ) -> Result<Option<Proposal>, pve::Error> {
        let seen: BTreeSet<Vmid> = pve.guests().await?.iter().map(|guest| guest.vmid).collect();
        for vmid in range.iter().filter(|vmid| !seen.contains(vmid) && !refused.contains(vmid)) {
            let Some(proposal) = self.claim(vmid) else { continue };
            // The list leaves out guests that the token may not see.
            if pve.is_free(vmid).await? {
                return Ok(Some(proposal));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::{Vmid, Vmids};

    #[test]
    fn a_vmid_is_proposed_to_one_at_a_time() {
        let (vmids, vmid) = (Vmids::default(), Vmid::new(9100).unwrap());
        let first = vmids.claim(vmid).unwrap();
        assert!(vmids.claim(vmid).is_none());
        drop(first);
        assert_eq!(vmids.claim(vmid).unwrap().vmid(), vmid);
    }
}
