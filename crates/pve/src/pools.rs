//! PVE's resource pools.

use ownership::Vmid;
use serde::Deserialize;

use crate::{
    call::{Call, Parameters, segment},
    client::Client,
    error::Error,
    lenient,
};

/// A member of a resource pool.
#[derive(Debug, Clone, Deserialize)]
pub struct PoolMember {
    /// For example `qemu/8001` or `storage/pve1/local`.
    pub id: String,
    /// VMID; none for storages.
    #[serde(default, deserialize_with = "lenient::optional_vmid")]
    pub vmid: Option<Vmid>,
}

#[derive(Deserialize)]
struct Pool {
    #[serde(default)]
    members: Vec<PoolMember>,
}

impl Client {
    /// Members of a resource pool. Unlike the cluster's list this one does not lag.
    ///
    /// # Errors
    /// A pool that does not exist is a missing permission ([`Error::is_permission_denied`]).
    pub async fn pool_members(&self, pool: &str) -> Result<Vec<PoolMember>, Error> {
        let pool: Pool = self.call(Call::get(format!("/pools/{}", segment(pool)), &Parameters::default())).await?;
        Ok(pool.members)
    }
}
