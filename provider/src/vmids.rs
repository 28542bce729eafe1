//! Choice of a VMID from a range. PVE does not reserve VMIDs: the first program that creates a guest gets the VMID, so
//! a choice is only a proposal.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use ownership::{Vmid, VmidRange};

/// VMIDs at which this process is making guests. Resources of one apply never propose the same VMID.
#[derive(Debug, Clone, Default)]
pub(crate) struct Vmids(Arc<Mutex<BTreeSet<Vmid>>>);

/// A VMID that no other resource of this process proposes until this value is dropped.
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
    /// Claims a VMID. Returns `None` if another resource of this process has claimed it.
    pub(crate) fn claim(&self, vmid: Vmid) -> Option<Proposal> {
        let claimed = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(vmid);
        claimed.then(|| Proposal { vmids: self.clone(), vmid })
    }

    /// Proposes the lowest free VMID of the range, except those in `refused`, at which a guest could not be made.
    /// Returns `None` if every VMID is taken.
    pub(crate) async fn propose(
        &self,
        pve: &pve::Client,
        range: VmidRange,
        refused: &BTreeSet<Vmid>,
    ) -> Result<Option<Proposal>, pve::Error> {
        let taken: BTreeSet<Vmid> = pve.guests().await?.iter().map(|guest| guest.vmid).collect();
        for vmid in range.iter().filter(|vmid| !taken.contains(vmid) && !refused.contains(vmid)) {
            let Some(proposal) = self.claim(vmid) else { continue };
            // The list does not contain guests that the token may not see.
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
    fn a_claimed_vmid_cannot_be_claimed_until_it_is_dropped() {
        let (vmids, vmid) = (Vmids::default(), Vmid::new(9100).unwrap());
        let first = vmids.claim(vmid).unwrap();
        assert!(vmids.claim(vmid).is_none());
        drop(first);
        assert_eq!(vmids.claim(vmid).unwrap().vmid(), vmid);
    }
}
