//! The choice of a VMID. PVE reserves nothing: a VMID belongs to whoever creates a guest under it first.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ownership::VmidRange;
use pve::{Client, Error};

/// VMIDs that operations of this process are about to use: several templates are often built in one apply.
static RESERVED: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

/// A VMID that no other operation of this process will choose while this lives.
#[derive(Debug)]
pub struct Reservation(u32);

/// No VMID of the range is free.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("every VMID of the range {0} is taken")]
pub struct RangeFull(pub VmidRange);

impl Reservation {
    /// Chooses the first VMID of the range that is neither taken nor in `avoid`, where callers note those that they lost to somebody else.
    ///
    /// # Errors
    /// The outer one when PVE could not be asked, the inner one when nothing is free.
    pub async fn choose(client: &Client, range: VmidRange, avoid: &BTreeSet<u32>) -> Result<Result<Self, RangeFull>, Error> {
        let taken: BTreeSet<u32> = client.guests().await?.iter().map(|guest| guest.vmid).collect();
        for vmid in range.iter().filter(|vmid| !taken.contains(vmid) && !avoid.contains(vmid)) {
            let Some(reservation) = Self::take(vmid) else { continue };
            // The list shows only what the token may see, and lags.
            if client.is_free(vmid).await? {
                return Ok(Ok(reservation));
            }
        }
        Ok(Err(RangeFull(range)))
    }

    fn take(vmid: u32) -> Option<Self> {
        let fresh = reserved().insert(vmid);
        fresh.then(|| Self(vmid))
    }

    /// The VMID.
    #[must_use]
    pub fn vmid(&self) -> u32 {
        self.0
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        reserved().remove(&self.0);
    }
}

fn reserved() -> MutexGuard<'static, BTreeSet<u32>> {
    RESERVED.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vmid_is_reserved_once_until_it_is_given_back() {
        let first = Reservation::take(987_654_321).unwrap();
        assert!(Reservation::take(987_654_321).is_none());
        drop(first);
        assert_eq!(Reservation::take(987_654_321).map(|reservation| reservation.vmid()), Some(987_654_321));
    }
}
