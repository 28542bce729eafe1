//! Everything that can go wrong when asking GitHub, classified by what a caller can do about it.

use jiff::Timestamp;

/// Why GitHub did not do what it was asked. `operation` says what was being done, to what; messages are GitHub's own.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It does not exist, or the token may not know that it does.
    #[error("unable to {operation}: GitHub knows no such thing, or the token may not see it ({hint})")]
    NotFound {
        /// The operation that failed.
        operation: String,
        /// The permission that the call needs.
        hint: &'static str,
    },
    /// The token is wrong, expired or revoked.
    #[error("unable to {operation}: GitHub does not accept the token; it may be mistyped, expired or revoked")]
    Unauthorized {
        /// The operation that failed.
        operation: String,
    },
    /// The token lacks a permission.
    #[error("unable to {operation}: GitHub refused ({message}); the token needs {hint}")]
    Forbidden {
        /// The operation that failed.
        operation: String,
        /// GitHub's message.
        message: String,
        /// The permission that the call needs.
        hint: &'static str,
    },
    /// Too many requests; nothing is sent before `until`.
    #[error("unable to {operation}: GitHub's rate limit is used up until {until}")]
    RateLimited {
        /// The operation that failed.
        operation: String,
        /// When asking makes sense again.
        until: Timestamp,
    },
    /// A runner of this name is registered already.
    #[error("unable to {operation}: a runner of that name exists")]
    NameTaken {
        /// The operation that failed.
        operation: String,
    },
    /// The runner has a job, so GitHub keeps its registration.
    #[error("unable to {operation}: it is running a job ({message})")]
    RunnerBusy {
        /// The operation that failed.
        operation: String,
        /// GitHub's message.
        message: String,
    },
    /// GitHub refuses the request's content.
    #[error("unable to {operation}: GitHub refused the request ({status} {message})")]
    Rejected {
        /// The operation that failed.
        operation: String,
        /// HTTP status.
        status: u16,
        /// GitHub's message with its list of errors.
        message: String,
    },
    /// GitHub has trouble of its own.
    #[error("unable to {operation}: GitHub answered {status}")]
    Server {
        /// The operation that failed.
        operation: String,
        /// HTTP status, 500 or more.
        status: u16,
    },
    /// No answer. A request that changes something may have been carried out.
    #[error("unable to {operation}: no answer from GitHub")]
    Transport {
        /// The operation that failed.
        operation: String,
        /// Why. Never holds the URL's query.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An answer that cannot be read.
    #[error("unable to {operation}: GitHub's answer cannot be read")]
    Malformed {
        /// The operation that failed.
        operation: String,
        /// Where the answer is wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The client could not be made.
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

    /// GitHub says that the thing does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// The registration is kept because the runner has a job.
    #[must_use]
    pub fn is_runner_busy(&self) -> bool {
        matches!(self, Self::RunnerBusy { .. })
    }

    /// When asking makes sense again, if a rate limit is the reason.
    #[must_use]
    pub fn retry_at(&self) -> Option<Timestamp> {
        match self {
            Self::RateLimited { until, .. } => Some(*until),
            _ => None,
        }
    }
}
