//! Refusals of calls, in PVE's forms.

use std::collections::BTreeMap;

/// A refusal as PVE sends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    /// Reason phrase. The field `message` of the body has the same text and a newline.
    pub(crate) reason: String,
    pub(crate) errors: BTreeMap<String, String>,
    pub(crate) body: Body,
    /// Simulated seconds for which the answer is delayed.
    pub(crate) hold: u64,
}

/// The body of a refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Body {
    /// `{"data":null,"message":"…\n"}`
    Message,
    /// The same without a newline, for unknown methods.
    BareMessage,
    /// Plain text with a newline, from the HTTP layer.
    Text,
    /// Plain text without a newline.
    BareText,
    /// No body.
    Empty,
    /// No answer: the connection is closed.
    Closed,
}

impl Refusal {
    /// Returns a refusal with status 500, for errors that are not about parameters.
    pub(crate) fn fault(text: impl Into<String>) -> Self {
        Self::new(500, text, Body::Message)
    }

    pub(crate) fn new(status: u16, reason: impl Into<String>, body: Body) -> Self {
        Self { status, reason: reason.into(), errors: BTreeMap::new(), body, hold: 0 }
    }

    /// Returns a refusal with status 400 and the error of each parameter.
    pub(crate) fn parameters(errors: BTreeMap<String, String>) -> Self {
        Self { errors, ..Self::new(400, "Parameter verification failed.", Body::Message) }
    }

    pub(crate) fn parameter(name: &str, text: impl Into<String>) -> Self {
        Self::parameters(BTreeMap::from([(name.to_owned(), text.into())]))
    }

    /// Returns a refusal with status 403. `what` is the missing privilege, or empty.
    pub(crate) fn permission(what: &str) -> Self {
        let reason = if what.is_empty() {
            "Permission check failed".to_owned()
        } else {
            format!("Permission check failed ({what})")
        };
        Self::new(403, reason, Body::Message)
    }

    /// Returns the refusal of the authentication layer, with status 401.
    pub(crate) fn unauthenticated(reason: &str) -> Self {
        Self { hold: 3, ..Self::new(401, reason, Body::Empty) }
    }

    /// Returns the answer of a node that forwards a call to a node that is off.
    ///
    /// Source: `proxy_request` of pve-http-server, which forwards the error of its HTTP client (595: no connection).
    /// The delay is that of the kernel's three attempts to find the address.
    pub(crate) fn unreachable() -> Self {
        Self::new(595, "No route to host", Body::Empty).held(3)
    }

    pub(crate) fn held(mut self, seconds: u64) -> Self {
        self.hold = seconds;
        self
    }

    /// Returns the text that a task ends with. PVE adds the status to all errors except plain ones.
    pub(crate) fn into_text(self) -> String {
        match self.status {
            500 => self.explained(),
            status => format!("{status} {}", self.explained()),
        }
    }

    /// Returns the reason with the error of each parameter.
    pub(crate) fn explained(self) -> String {
        if self.errors.is_empty() {
            return self.reason;
        }
        let details: Vec<String> = self.errors.iter().map(|(name, text)| format!("{name}: {text}")).collect();
        format!("{}\n{}", self.reason, details.join("\n"))
    }
}

/// Result of a call.
pub(crate) type Outcome<T> = Result<T, Refusal>;
