//! Errors of calls, and how to distinguish them.
//!
//! PVE knows neither 404 nor 409: nearly every refusal is a 500, late ones are the exit status of a task, and only the text tells
//! them apart. All knowledge of those texts is in `wording`.

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
    /// PVE's explanation: its message, or the reason phrase where the body is empty, and what it says of single parameters.
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

/// A failed call.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// PVE said no.
    #[error("Proxmox VE refused {0}")]
    Refused(Refusal),
    /// There is no such guest. PVE itself says so only to those who may see every guest.
    #[error("there is no guest {vmid} at Proxmox VE")]
    NoGuest {
        /// The VMID, which nobody has.
        vmid: Vmid,
    },
    /// Nobody answers at any of the endpoints; nothing was sent.
    #[error("Proxmox VE cannot be reached at {endpoint}")]
    Unreachable {
        /// The endpoint tried first.
        endpoint: String,
        /// Why.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The certificate did not pass; nothing was sent.
    #[error("the certificate of {endpoint} is not trusted: {reason}")]
    Untrusted {
        /// The endpoint.
        endpoint: String,
        /// The server's certificate.
        fingerprint: Fingerprint,
        /// Why it was refused.
        reason: String,
    },
    /// The connection broke after the request had been sent: it may have taken effect.
    #[error("the connection broke during {method} {path}")]
    Interrupted {
        /// Method of the request.
        method: &'static str,
        /// Its path.
        path: String,
        /// Why.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// Something answers, but it is not a PVE API.
    #[error("what answers at {endpoint} is not a Proxmox VE API: {detail}")]
    NotPve {
        /// The endpoint.
        endpoint: String,
        /// The server's text.
        detail: String,
    },
    /// The answer has not the expected shape.
    #[error("the answer to {method} {path} has an unexpected shape")]
    Shape {
        /// Method of the request.
        method: &'static str,
        /// Its path.
        path: String,
        /// The mismatch.
        #[source]
        source: serde_json::Error,
    },
    /// The answer is larger than any that the client reads. A request that changes something was carried out.
    #[error("the answer to {method} {path} has more than {} MiB", limit >> 20)]
    Oversized {
        /// Method of the request.
        method: &'static str,
        /// Its path.
        path: String,
        /// Largest answer in bytes.
        limit: usize,
    },
    /// A task ended badly.
    #[error("the task {} of Proxmox VE failed: {exit_status}{}", upid.kind(), tail(log))]
    Task {
        /// The task.
        upid: Upid,
        /// How it ended, in PVE's words.
        exit_status: String,
        /// Last lines of its log.
        log: Vec<String>,
    },
    /// A task takes longer than it may. It goes on.
    #[error("the task {} of Proxmox VE was still running when the time was up", upid.kind())]
    Deadline {
        /// The task.
        upid: Upid,
    },
    /// The caller's stop token was cancelled during the wait for a task. The task goes on.
    #[error("stopped while waiting for the task {} of Proxmox VE", upid.kind())]
    Cancelled {
        /// The task.
        upid: Upid,
    },
    /// More than the guest agent takes in one call.
    #[error("{bytes} bytes are more than the guest agent takes in one call ({limit})")]
    TooLarge {
        /// Size of the content.
        bytes: usize,
        /// Most that fits.
        limit: usize,
    },
    /// The console of a container could not be opened, or failed.
    #[error("the console of guest {vmid} failed: {doing}")]
    Console {
        /// The container.
        vmid: Vmid,
        /// Operation that failed.
        doing: &'static str,
        /// Why. Never holds the ticket.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// TLS or the HTTP client could not be set up.
    #[error("the connection to Proxmox VE cannot be set up")]
    Setup(#[source] SetupError),
}

/// Why a client could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// No endpoint at all.
    #[error("no endpoint is given")]
    NoEndpoint,
    /// Certificates.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The client was given a transport of its own, which takes no files.
    #[error("the transport that was given takes no uploads")]
    NoUploads,
    /// The HTTP client.
    #[error("the HTTP client refuses its configuration")]
    Http(#[source] Box<dyn StdError + Send + Sync>),
}

fn tail(log: &[String]) -> String {
    log.iter().map(|line| format!("\n  {line}")).collect()
}
