//! `GET /meta`: information about the service.

use serde_json::json;

use super::Answer;

/// Addresses of this service, for all purposes.
const LOCAL_ADDRESSES: [&str; 2] = ["127.0.0.0/8", "::1/128"];

/// Returns the fields that firewall rules are made from. The service has no password authentication.
pub(crate) fn answer() -> Answer {
    Answer::ok(json!({
        "verifiable_password_authentication": false,
        "hooks": LOCAL_ADDRESSES,
        "web": LOCAL_ADDRESSES,
        "api": LOCAL_ADDRESSES,
        "git": LOCAL_ADDRESSES,
        "actions": LOCAL_ADDRESSES,
        "domains": { "actions": ["localhost"], "website": ["localhost"] },
    }))
}
