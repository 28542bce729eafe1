//! What GitHub says when it does not do what it was asked, in the shapes of its published description.

use serde_json::{Value, json};

const DOCUMENTATION: &str = "https://docs.github.com/rest";

/// A refusal of a REST call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    BadCredentials,
    RequiresAuthentication,
    /// GitHub hides what a token may not see behind the same answer.
    NotFound,
    /// The permission that the call would have accepted, as in `x-accepted-github-permissions`.
    Forbidden {
        accepted: String,
    },
    NoUserAgent,
    BadJson,
    Unsupplied(Vec<&'static str>),
    Invalid(String),
    Conflict(String),
    PrimaryLimit,
    SecondaryLimit {
        wait_seconds: u64,
    },
}

impl Refusal {
    pub(super) fn status(&self) -> u16 {
        match self {
            Self::BadCredentials | Self::RequiresAuthentication => 401,
            Self::NotFound => 404,
            Self::Forbidden { .. } | Self::NoUserAgent | Self::PrimaryLimit | Self::SecondaryLimit { .. } => 403,
            Self::BadJson => 400,
            Self::Unsupplied(_) | Self::Invalid(_) => 422,
            Self::Conflict(_) => 409,
        }
    }

    pub(super) fn body(&self) -> Value {
        let message = self.message();
        json!({ "message": message, "documentation_url": DOCUMENTATION, "status": self.status().to_string() })
    }

    fn message(&self) -> String {
        match self {
            Self::BadCredentials => "Bad credentials".into(),
            Self::RequiresAuthentication => "Requires authentication".into(),
            Self::NotFound => "Not Found".into(),
            Self::Forbidden { .. } => "Resource not accessible by personal access token".into(),
            Self::NoUserAgent => "Request forbidden by administrative rules. Please make sure your request has a User-Agent header (https://docs.github.com/en/rest/overview/resources-in-the-rest-api#user-agent-required). Check https://developer.github.com for other possible causes.".into(),
            Self::BadJson => "Problems parsing JSON".into(),
            Self::Unsupplied(fields) => unsupplied(fields),
            Self::Invalid(message) | Self::Conflict(message) => message.clone(),
            Self::PrimaryLimit => "API rate limit exceeded for user ID 1.".into(),
            Self::SecondaryLimit { .. } => "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.".into(),
        }
    }
}

fn unsupplied(fields: &[&str]) -> String {
    let list = fields.iter().map(|field| format!("\"{field}\"")).collect::<Vec<_>>().join(", ");
    let verb = if fields.len() == 1 { "wasn't" } else { "weren't" };
    format!("Invalid request.\n\n{list} {verb} supplied.")
}
