//! How PVE says no.

use std::collections::BTreeMap;

/// A refusal as it goes over the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    /// Reason phrase; `message` is the same text with a newline.
    pub(crate) reason: String,
    pub(crate) errors: BTreeMap<String, String>,
    pub(crate) body: Body,
    /// Seconds (of the simulator's clock) that the answer is held back.
    pub(crate) hold: u64,
}

/// The body of a refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Body {
    /// `{"data":null,"message":"…\n"}`
    Message,
    /// The same without the newline, as unknown methods get it.
    BareMessage,
    /// Plain text with a newline, as the HTTP layer itself refuses.
    Text,
    /// Plain text without one.
    BareText,
    /// Nothing.
    Empty,
    /// No answer at all: the connection is closed.
    Closed,
}

impl Refusal {
    /// Anything that is wrong beyond the parameters.
    pub(crate) fn fault(text: impl Into<String>) -> Self {
        Self::new(500, text, Body::Message)
    }

    pub(crate) fn new(status: u16, reason: impl Into<String>, body: Body) -> Self {
        Self { status, reason: reason.into(), errors: BTreeMap::new(), body, hold: 0 }
    }

    /// `400`, with what is wrong about each parameter.
    pub(crate) fn parameters(errors: BTreeMap<String, String>) -> Self {
        Self { errors, ..Self::new(400, "Parameter verification failed.", Body::Message) }
    }

    pub(crate) fn parameter(name: &str, text: impl Into<String>) -> Self {
        Self::parameters(BTreeMap::from([(name.to_owned(), text.into())]))
    }

    /// `403`; `what` is empty for the bare form.
    pub(crate) fn permission(what: &str) -> Self {
        let reason = if what.is_empty() {
            "Permission check failed".to_owned()
        } else {
            format!("Permission check failed ({what})")
        };
        Self::new(403, reason, Body::Message)
    }

    /// `401` of the authentication layer.
    pub(crate) fn unauthenticated(reason: &str) -> Self {
        Self { hold: 3, ..Self::new(401, reason, Body::Empty) }
    }

    /// The answer of a node that passes a call on to one that is gone: nobody on the network answers for its address.
    ///
    /// Source: `proxy_request` of pve-http-server, which hands on what its HTTP client reports (595: no connection). The
    /// time is that of three tries of the kernel to find the address.
    pub(crate) fn unreachable() -> Self {
        Self::new(595, "No route to host", Body::Empty).held(3)
    }

    pub(crate) fn held(mut self, seconds: u64) -> Self {
        self.hold = seconds;
        self
    }

    /// Returns the text that a task ends with: PVE puts the status in front of all but plain errors.
    pub(crate) fn into_text(self) -> String {
        match self.status {
            500 => self.explained(),
            status => format!("{status} {}", self.explained()),
        }
    }

    /// Returns the reason, and what is wrong about each parameter.
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
