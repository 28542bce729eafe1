//! Refusals of REST calls, in the formats of GitHub's published description.

use super::world::model::{Kind, LimitKey};
use serde_json::{Value, json};

const DOCUMENTATION: &str = "https://docs.github.com/rest";

/// A refusal of a REST call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    BadCredentials,
    RequiresAuthentication,
    /// An App's signed claim is not valid; the text is GitHub's.
    BadClaim(&'static str),
    /// Only an App with a signed claim can make the call.
    AppsOnly,
    /// An App with a signed claim cannot make the call.
    NotForApps,
    /// The installation is suspended.
    Suspended,
    /// The thing does not exist, or the token may not see it. GitHub answers both alike.
    NotFound,
    /// The claim names an App that does not exist.
    UnknownApp,
    /// A permission is missing. `x-accepted-github-permissions` names it.
    Forbidden {
        accepted: String,
        kind: Kind,
    },
    NoUserAgent,
    BadJson,
    Unsupplied(Vec<&'static str>),
    Invalid(String),
    /// One field of a repository has a value that is not possible.
    Field {
        message: &'static str,
        field: &'static str,
        what: &'static str,
    },
    Conflict(String),
    PrimaryLimit(LimitKey),
    SecondaryLimit {
        wait_seconds: u64,
        status: u16,
    },
    /// An injected fault.
    Injected {
        status: u16,
        text: String,
    },
}

impl Refusal {
    pub(crate) fn status(&self) -> u16 {
        match self {
            Self::BadCredentials
            | Self::RequiresAuthentication
            | Self::BadClaim(_)
            | Self::AppsOnly
            | Self::NotForApps => 401,
            Self::NotFound | Self::UnknownApp => 404,
            Self::Forbidden { .. } | Self::NoUserAgent | Self::PrimaryLimit(_) | Self::Suspended => 403,
            Self::BadJson => 400,
            Self::Unsupplied(_) | Self::Invalid(_) | Self::Field { .. } => 422,
            Self::Conflict(_) => 409,
            Self::SecondaryLimit { status, .. } | Self::Injected { status, .. } => *status,
        }
    }

    pub(crate) fn body(&self) -> Value {
        let message = self.message();
        let mut body =
            json!({ "message": message, "documentation_url": DOCUMENTATION, "status": self.status().to_string() });
        if let Self::Field { field, what, .. } = self {
            body["errors"] = json!([{ "resource": "Repository", "code": "custom", "field": field, "message": what }]);
        }
        body
    }

    fn message(&self) -> String {
        match self {
            Self::BadCredentials | Self::NotForApps => "Bad credentials".into(),
            Self::RequiresAuthentication => "Requires authentication".into(),
            Self::BadClaim(words) => (*words).into(),
            Self::AppsOnly => "A JSON web token could not be decoded".into(),
            Self::Suspended => "This installation has been suspended".into(),
            Self::NotFound => "Not Found".into(),
            Self::UnknownApp => "Integration not found".into(),
            Self::Forbidden { kind: Kind::FineGrained, .. } => {
                "Resource not accessible by personal access token".into()
            }
            Self::Forbidden { kind: Kind::Installation(_), .. } => "Resource not accessible by integration".into(),
            Self::Forbidden { kind: Kind::Classic(_), .. } => "Must have admin rights to Repository.".into(),
            Self::NoUserAgent => "Request forbidden by administrative rules. Please make sure your request has a User-Agent header (https://docs.github.com/en/rest/overview/resources-in-the-rest-api#user-agent-required). Check https://developer.github.com for other possible causes.".into(),
            Self::BadJson => "Problems parsing JSON".into(),
            Self::Unsupplied(fields) => unsupplied(fields),
            Self::Field { message, .. } => (*message).into(),
            Self::Invalid(message) | Self::Conflict(message) => message.clone(),
            Self::PrimaryLimit(LimitKey::Installation(id)) => format!("API rate limit exceeded for installation ID {id}."),
            Self::PrimaryLimit(LimitKey::User(id)) => format!("API rate limit exceeded for user ID {id}."),
            Self::PrimaryLimit(_) => "API rate limit exceeded for 127.0.0.1. (But here's the good news: Authenticated requests get a higher rate limit. Check out the documentation for more details.)".into(),
            Self::SecondaryLimit { .. } => "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.".into(),
            Self::Injected { text, .. } => text.clone(),
        }
    }
}

fn unsupplied(fields: &[&str]) -> String {
    let list = fields.iter().map(|field| format!("\"{field}\"")).collect::<Vec<_>>().join(", ");
    let verb = if fields.len() == 1 { "wasn't" } else { "weren't" };
    format!("Invalid request.\n\n{list} {verb} supplied.")
}
