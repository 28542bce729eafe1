//! What is wrong with a call: the place, what was wrong there, and what is allowed.

use serde_json::{Value, json};

/// A call that was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{what}", self.at.as_ref().map(|at| format!("{at}: ")).unwrap_or_default())]
pub struct Problem {
    /// HTTP status.
    pub status: u16,
    /// Where in the request, as in `when.chance`, `query.limit`; nothing where it is about the whole.
    pub at: Option<String>,
    /// What was wrong.
    pub what: String,
    /// What is allowed there.
    pub allowed: Option<String>,
}

impl Problem {
    pub(super) fn new(status: u16, what: impl Into<String>) -> Self {
        Self { status, at: None, what: what.into(), allowed: None }
    }

    /// A value that is not allowed.
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
