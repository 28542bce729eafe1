//! Settings of a client.

use crate::endpoint::{ApiToken, Endpoint};
use crate::trust::Trust;

/// Settings of a client.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// API servers of one cluster. If one accepts no connection, the next one is tried.
    pub endpoints: Vec<Endpoint>,
    /// Token of every request.
    pub token: ApiToken,
    /// Rule by which the servers' certificates are trusted.
    pub trust: Trust,
    /// Value of the `User-Agent` header.
    pub user_agent: String,
}
