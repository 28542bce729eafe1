//! Choice of a VMID from a range. PVE reserves none. The first to create a guest gets the VMID, so the choice is only a proposal.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use ownership::VmidRange;

/// The VMIDs that this process is making guests at: resources of one apply do not propose each other's.
#[derive(Debug, Clone, Default)]
pub(crate) struct Vmids(Arc<Mutex<BTreeSet<u32>>>);

/// A VMID that is this resource's within this process, until dropped.
#[derive(Debug)]
pub(crate) struct Proposal {
    vmids: Vmids,
    vmid: u32,
}

impl Proposal {
    pub(crate) fn vmid(&self) -> u32 {
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
    pub(crate) fn claim(&self, vmid: u32) -> Option<Proposal> {
        let claimed = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(vmid);
        claimed.then(|| Proposal { vmids: self.clone(), vmid })
    }

    /// The lowest free VMID of the range; `None` when it is full. `refused` are those that were lost to others before.
    pub(crate) async fn propose(
        &self,
        pve: &pve::Client,
        range: VmidRange,
        refused: &BTreeSet<u32>,
    ) -> Result<Option<Proposal>, pve::Error> {
        let seen: BTreeSet<u32> = pve.guests().await?.iter().map(|guest| guest.vmid).collect();
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
    use super::Vmids;

    #[test]
    fn a_vmid_is_proposed_to_one_at_a_time() {
        let vmids = Vmids::default();
        let first = vmids.claim(9100).unwrap();
        assert!(vmids.claim(9100).is_none());
        drop(first);
        assert_eq!(vmids.claim(9100).unwrap().vmid(), 9100);
    }
}
