//! Settings of a client.

use crate::endpoint::{ApiToken, Endpoint};
use crate::trust::Trust;

/// Settings of a client.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// API servers of one and the same cluster. When one takes no connection, the next is tried.
    pub endpoints: Vec<Endpoint>,
    /// The token that every request carries.
    pub token: ApiToken,
    /// Rule by which the servers' certificates are trusted.
    pub trust: Trust,
    /// Value of the `User-Agent` header.
    pub user_agent: String,
}
