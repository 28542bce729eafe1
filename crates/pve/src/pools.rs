//! PVE's resource pools, and reads of their members that several callers share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ownership::Vmid;
use serde::Deserialize;
use tokio::time::sleep;

use crate::{
    call::{Call, Parameters, segment},
    client::Client,
    error::Error,
    lenient,
};

/// A member of a resource pool.
#[derive(Debug, Clone, Deserialize)]
pub struct PoolMember {
    /// Id, for example `qemu/8001` or `storage/pve1/local`.
    pub id: String,
    /// VMID. `None` for a storage.
    #[serde(default, deserialize_with = "lenient::optional_vmid")]
    pub vmid: Option<Vmid>,
}

#[derive(Deserialize)]
struct Pool {
    #[serde(default)]
    members: Vec<PoolMember>,
}

/// The last read of each resource pool, for callers that asked before it began.
#[derive(Debug, Default)]
pub(crate) struct SharedReads {
    /// Number of questions so far. It orders questions and reads.
    asked: AtomicU64,
    pools: Mutex<HashMap<String, Reads>>,
}

/// The last read of one pool. The caller that reads holds the lock, while the others wait for its result or for their
/// turn.
type Reads = Arc<tokio::sync::Mutex<Option<Read>>>;

#[derive(Debug)]
struct Read {
    /// Number of questions that had been asked when the read began.
    asked: u64,
    members: Arc<[PoolMember]>,
}

impl SharedReads {
    fn of(&self, pool: &str) -> Reads {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(pools.entry(pool.to_owned()).or_default())
    }
}

impl Client {
    /// Returns the members of a resource pool. This list does not lag, unlike that of the cluster.
    ///
    /// # Errors
    /// [`Error::is_permission_denied`], also if the resource pool does not exist.
    pub async fn pool_members(&self, pool: &str) -> Result<Vec<PoolMember>, Error> {
        let pool: Pool = self.call(Call::get(format!("/pools/{}", segment(pool)), &Parameters::default())).await?;
        Ok(pool.members)
    }

    /// Returns the members of a resource pool like [`Client::pool_members`], from a read that other callers may share.
    ///
    /// The read begins after this call, so its answer is as new as that of a read of the caller's own. A read that is
    /// already under way is never shared, because it may be older than the change that the caller asks about. `gather`
    /// is the time for which the read waits for other callers.
    ///
    /// # Errors
    /// Those of [`Client::pool_members`]. A failed read is not shared.
    pub async fn pool_members_shared(&self, pool: &str, gather: Duration) -> Result<Arc<[PoolMember]>, Error> {
        let shared = self.shared_reads();
        let question = shared.asked.fetch_add(1, Ordering::SeqCst);
        let reads = shared.of(pool);
        let mut last = reads.lock().await;
        if let Some(read) = last.as_ref().filter(|read| question < read.asked) {
            return Ok(Arc::clone(&read.members));
        }
        if !gather.is_zero() {
            sleep(gather).await;
        }
        let asked = shared.asked.load(Ordering::SeqCst);
        let members: Arc<[PoolMember]> = self.pool_members(pool).await?.into();
        *last = Some(Read { asked, members: Arc::clone(&members) });
        Ok(members)
    }
}
