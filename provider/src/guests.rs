//! The cluster's list of guests, shared by all resources, so that a plan of hundreds of resources requests the list
//! every few seconds at most.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ownership::Vmid;
use pve::GuestSummary;
use tokio::sync::Mutex;

/// Time for which the list is reused. PVE itself refreshes the list every ten seconds.
const MAX_AGE: Duration = Duration::from_secs(3);

type Listed = Arc<Vec<GuestSummary>>;

/// The list, with the time at which it was read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Guests(Arc<Mutex<Option<(Instant, Listed)>>>);

impl Guests {
    /// Returns a guest from the list. The list is up to ten seconds old, so confirm a state before acting on it.
    pub(crate) async fn find(&self, pve: &pve::Client, vmid: Vmid) -> Result<Option<GuestSummary>, pve::Error> {
        Ok(self.listed(pve).await?.iter().find(|guest| guest.vmid == vmid).cloned())
    }

    async fn listed(&self, pve: &pve::Client) -> Result<Listed, pve::Error> {
        // The lock is held during the request, so that other callers wait for its answer.
        let mut cached = self.0.lock().await;
        if let Some((read, listed)) = cached.as_ref()
            && read.elapsed() < MAX_AGE
        {
            return Ok(Arc::clone(listed));
        }
        let listed = Arc::new(pve.guests().await?);
        *cached = Some((Instant::now(), Arc::clone(&listed)));
        Ok(listed)
    }
}
