//! `GET /meta`: what the service says about itself.

use serde_json::json;

use super::Answer;

/// Addresses from which this service does everything.
const HERE: [&str; 2] = ["127.0.0.0/8", "::1/128"];

/// The fields that a firewall's rules are made from. There is no password here, so none can be verified.
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
