//! Errors of requests to GitHub, classified by the caller's possible reactions.

use jiff::Timestamp;

/// A request that failed. `operation` names the action and its object. Messages are GitHub's.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The object does not exist, or the token may not see it.
    #[error("unable to {operation}: it does not exist at GitHub, or the token may not see it ({hint})")]
    NotFound {
        /// Operation that failed.
        operation: String,
        /// Permission that the request needs.
        hint: &'static str,
    },
    /// The token is wrong, expired or revoked.
    #[error("unable to {operation}: GitHub does not accept the token; it may be mistyped, expired or revoked")]
    Unauthorized {
        /// Operation that failed.
        operation: String,
    },
    /// The token lacks a permission.
    #[error("unable to {operation}: GitHub refused ({message}); the token needs {hint}")]
    Forbidden {
        /// Operation that failed.
        operation: String,
        /// GitHub's message.
        message: String,
        /// Permission that the request needs.
        hint: &'static str,
    },
    /// The rate limit is used up. Nothing is sent before `until`.
    #[error("unable to {operation}: GitHub's rate limit is used up until {until}")]
    RateLimited {
        /// Operation that failed.
        operation: String,
        /// Time of the next possible request.
        until: Timestamp,
    },
    /// A runner of this name is registered already.
    #[error("unable to {operation}: a runner of that name exists")]
    NameTaken {
        /// Operation that failed.
        operation: String,
    },
    /// The runner has a job, so GitHub keeps its registration.
    #[error("unable to {operation}: it is running a job ({message})")]
    RunnerBusy {
        /// Operation that failed.
        operation: String,
        /// GitHub's message.
        message: String,
    },
    /// GitHub refuses the content of the request.
    #[error("unable to {operation}: GitHub refused the request ({status} {message})")]
    Rejected {
        /// Operation that failed.
        operation: String,
        /// HTTP status.
        status: u16,
        /// GitHub's message with its list of errors.
        message: String,
    },
    /// GitHub failed.
    #[error("unable to {operation}: GitHub answered {status}")]
    Server {
        /// Operation that failed.
        operation: String,
        /// HTTP status, 500 or more.
        status: u16,
    },
    /// GitHub did not answer. A change may have been carried out.
    #[error("unable to {operation}: no answer from GitHub")]
    Transport {
        /// Operation that failed.
        operation: String,
        /// Cause. It never contains the query of the URL.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The answer cannot be read.
    #[error("unable to {operation}: GitHub's answer cannot be read")]
    Malformed {
        /// Operation that failed.
        operation: String,
        /// Cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The client cannot be made.
    #[error("unable to set up the connection to GitHub: {reason}")]
    Setup {
        /// The mistake in the configuration.
        reason: String,
    },
}

impl Error {
    /// Returns true if GitHub certainly did not carry the request out.
    #[must_use]
    pub fn is_not_carried_out(&self) -> bool {
        match self {
            Self::NotFound { .. }
            | Self::Unauthorized { .. }
            | Self::Forbidden { .. }
            | Self::RateLimited { .. }
            | Self::NameTaken { .. }
            | Self::RunnerBusy { .. }
            | Self::Rejected { .. }
            | Self::Setup { .. } => true,
            Self::Server { .. } | Self::Transport { .. } | Self::Malformed { .. } => false,
        }
    }

    /// Returns true if the object does not exist at GitHub.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// Returns true if GitHub keeps the registration because the runner has a job.
    #[must_use]
    pub fn is_runner_busy(&self) -> bool {
        matches!(self, Self::RunnerBusy { .. })
    }

    /// Returns the time of the next possible request if a rate limit is the cause.
    #[must_use]
    pub fn retry_at(&self) -> Option<Timestamp> {
        match self {
            Self::RateLimited { until, .. } => Some(*until),
            _ => None,
        }
    }
}
