//! The token's privileges.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    call::{Call, Parameters},
    client::Client,
    error::Error,
};

impl Client {
    /// Returns the privileges of the token on one path of PVE's access tree, for example `/storage/local`.
    ///
    /// # Errors
    /// [`Error::is_unauthenticated`]. Every token may read its own privileges.
    pub(crate) async fn privileges_on(&self, path: &str) -> Result<BTreeSet<String>, Error> {
        let call = Call::get("/access/permissions".to_owned(), &Parameters::default().with("path", path));
        let mut paths: BTreeMap<String, BTreeMap<String, u8>> = self.call(call).await?;
        // The number shows whether the privilege also holds below the path.
        Ok(paths.remove(path).unwrap_or_default().into_keys().collect())
    }
}
