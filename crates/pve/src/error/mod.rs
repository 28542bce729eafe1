//! Errors of requests.
//!
//! PVE uses neither 404 nor 409. Nearly every refusal is a 500, or the exit status of a task, and only its text shows
//! the cause. The module `wording` knows these texts.

mod wording;

use std::{collections::BTreeMap, error::Error as StdError, fmt};

use ownership::Vmid;

use crate::{
    trust::{Fingerprint, TrustError},
    upid::Upid,
};

pub use wording::MissingPrivilege;

/// An answer that refuses a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) status: u16,
    pub(crate) message: String,
    pub(crate) errors: BTreeMap<String, String>,
    pub(crate) token_id: String,
}

impl Refusal {
    /// Returns PVE's text: the message, or the reason phrase if the body is empty, and the texts about single
    /// parameters.
    #[must_use]
    pub fn text(&self) -> String {
        let details: Vec<String> =
            self.errors.iter().map(|(parameter, text)| format!("{parameter}: {}", text.trim())).collect();
        if details.is_empty() {
            return self.message.clone();
        }
        format!("{} {}", self.message, details.join("; "))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}: {} {}", self.method, self.path, self.status, self.text())
    }
}

/// A failed request.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// PVE refused the request.
    #[error("Proxmox VE refused {0}")]
    Refused(Refusal),
    /// The guest does not exist. PVE itself says so only to tokens that may see every guest.
    #[error("there is no guest {vmid} at Proxmox VE")]
    NoGuest {
        /// VMID, which no guest has.
        vmid: Vmid,
    },
    /// No endpoint answers. Nothing was sent.
    #[error("Proxmox VE cannot be reached at {endpoint}")]
    Unreachable {
        /// Endpoint that was tried first.
        endpoint: String,
        /// Why.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The certificate is not trusted. Nothing was sent.
    #[error("the certificate of {endpoint} is not trusted: {reason}")]
    Untrusted {
        /// The endpoint.
        endpoint: String,
        /// Fingerprint of the server's certificate.
        fingerprint: Fingerprint,
        /// Reason for the refusal.
        reason: String,
    },
    /// The connection broke after the request was sent. The request may have been carried out.
    #[error("the connection broke during {method} {path}")]
    Interrupted {
        /// Method of the request.
        method: &'static str,
        /// Path of the request.
        path: String,
        /// Why.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The server at the endpoint is not a PVE API.
    #[error("the server at {endpoint} is not a Proxmox VE API: {detail}")]
    NotPve {
        /// The endpoint.
        endpoint: String,
        /// Text of the server.
        detail: String,
    },
    /// The answer does not have the expected form.
    #[error("the answer to {method} {path} has an unexpected shape")]
    Shape {
        /// Method of the request.
        method: &'static str,
        /// Path of the request.
        path: String,
        /// The mismatch.
        #[source]
        source: serde_json::Error,
    },
    /// The answer is larger than the client's limit. A change that was requested has been carried out.
    #[error("the answer to {method} {path} has more than {} MiB", limit >> 20)]
    Oversized {
        /// Method of the request.
        method: &'static str,
        /// Path of the request.
        path: String,
        /// Largest answer in bytes.
        limit: usize,
    },
    /// A task failed.
    #[error("the task {} of Proxmox VE failed: {exit_status}{}", upid.kind(), tail(log))]
    Task {
        /// The task.
        upid: Upid,
        /// PVE's exit status.
        exit_status: String,
        /// Last lines of its log.
        log: Vec<String>,
    },
    /// A task did not end before the deadline. It continues.
    #[error("the task {} of Proxmox VE was still running at the deadline", upid.kind())]
    Deadline {
        /// The task.
        upid: Upid,
    },
    /// The caller's stop token was cancelled during the wait for a task. The task continues.
    #[error("stopped while waiting for the task {} of Proxmox VE", upid.kind())]
    Cancelled {
        /// The task.
        upid: Upid,
    },
    /// The content is larger than the guest agent's limit for one call.
    #[error("{bytes} bytes are more than the guest agent takes in one call ({limit})")]
    TooLarge {
        /// Size of the content.
        bytes: usize,
        /// Limit in bytes.
        limit: usize,
    },
    /// The console of a container cannot be opened, or failed.
    #[error("the console of guest {vmid} failed: {doing}")]
    Console {
        /// The container.
        vmid: Vmid,
        /// Operation that failed.
        doing: &'static str,
        /// Cause. It never contains the ticket.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// TLS or the HTTP client cannot be set up.
    #[error("the connection to Proxmox VE cannot be set up")]
    Setup(#[source] SetupError),
}

/// Reason why a client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The configuration has no endpoint.
    #[error("no endpoint is given")]
    NoEndpoint,
    /// The certificates cannot be used.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The client uses a transport of the caller, which accepts no uploads.
    #[error("the transport of the caller accepts no uploads")]
    NoUploads,
    /// The HTTP client refused its configuration.
    #[error("the HTTP client refuses its configuration")]
    Http(#[source] Box<dyn StdError + Send + Sync>),
}

fn tail(log: &[String]) -> String {
    log.iter().map(|line| format!("\n  {line}")).collect()
}
