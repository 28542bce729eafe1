//! Errors of calls: the position, the mistake, and the allowed values.

use serde_json::{Value, json};

/// The error of a call that was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{what}", self.at.as_ref().map(|at| format!("{at}: ")).unwrap_or_default())]
pub struct Problem {
    /// HTTP status.
    pub status: u16,
    /// Position in the request such as `when.chance` or `query.limit`, or `None` for the whole request.
    pub at: Option<String>,
    /// Description of the mistake.
    pub what: String,
    /// Allowed values.
    pub allowed: Option<String>,
}

impl Problem {
    pub(super) fn new(status: u16, what: impl Into<String>) -> Self {
        Self { status, at: None, what: what.into(), allowed: None }
    }

    /// Returns the problem of a value that is not allowed.
    pub(super) fn value(at: impl Into<String>, what: impl Into<String>, allowed: impl Into<String>) -> Self {
        Self { at: Some(at.into()), allowed: Some(allowed.into()), ..Self::new(422, what) }
    }

    pub(super) fn allowing(self, allowed: impl Into<String>) -> Self {
        Self { allowed: Some(allowed.into()), ..self }
    }

    pub(super) fn body(&self) -> Value {
        json!({ "error": { "at": self.at, "what": self.what, "allowed": self.allowed } })
    }
}
