//! The cluster's list of guests, read once for many resources: a plan of hundreds asks for it every few seconds at most.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ownership::Vmid;
use pve::GuestSummary;
use tokio::sync::Mutex;

/// PVE itself refreshes the list every ten seconds.
const FRESH: Duration = Duration::from_secs(3);

type Listed = Arc<Vec<GuestSummary>>;

/// The list and when it was read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Guests(Arc<Mutex<Option<(Instant, Listed)>>>);

impl Guests {
    /// What the list says about a guest. It lags behind: confirm what matters.
    pub(crate) async fn find(&self, pve: &pve::Client, vmid: Vmid) -> Result<Option<GuestSummary>, pve::Error> {
        Ok(self.listed(pve).await?.iter().find(|guest| guest.vmid == vmid).cloned())
    }

    async fn listed(&self, pve: &pve::Client) -> Result<Listed, pve::Error> {
        // The lock is held while reading, so that other callers wait for the one answer.
        let mut kept = self.0.lock().await;
        if let Some((read, listed)) = kept.as_ref()
            && read.elapsed() < FRESH
        {
            return Ok(Arc::clone(listed));
        }
        let listed = Arc::new(pve.guests().await?);
        *kept = Some((Instant::now(), Arc::clone(&listed)));
        Ok(listed)
    }
}
