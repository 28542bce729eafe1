//! `GET /meta`: information about the service.

use serde_json::json;

use super::Answer;

/// Addresses of this service, for all purposes.
const HERE: [&str; 2] = ["127.0.0.0/8", "::1/128"];

/// Returns the fields that firewall rules are made from. The service has no password authentication.
pub(crate) fn answer() -> Answer {
    Answer::ok(json!({
        "verifiable_password_authentication": false,
        "hooks": HERE,
        "web": HERE,
        "api": HERE,
        "git": HERE,
        "actions": HERE,
        "domains": { "actions": ["localhost"], "website": ["localhost"] },
    }))
}
