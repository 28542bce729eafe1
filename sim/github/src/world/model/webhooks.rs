//! Webhooks and their deliveries.

use jiff::Timestamp;

use super::scope::Scope;

/// The owner of a webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HookOwner {
    /// App. It receives the jobs of all its installations.
    App(u64),
    /// Repository or organization.
    Scope(Scope),
}

/// A webhook to add.
#[derive(Debug, Clone)]
pub struct WebhookSpec {
    /// Owner.
    pub owner: HookOwner,
    /// URL of the receiver; `http` only.
    pub url: String,
    /// Secret that bodies are signed with.
    pub secret: String,
}

#[derive(Debug, Clone)]
pub(crate) struct Webhook {
    pub(crate) id: u64,
    pub(crate) spec: WebhookSpec,
}

/// An attempt to deliver an event.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Number of the attempt.
    pub id: u64,
    /// Value of `X-GitHub-Delivery`, the same for all attempts at one event.
    pub guid: String,
    /// Action: `queued`, `in_progress` or `completed`.
    pub action: String,
    /// True if the delivery was requested again.
    pub redelivery: bool,
    /// HTTP status of the receiver's answer; 0 while there is none, or if none came in time.
    pub status_code: u16,
    /// Duration in seconds, after the end.
    pub duration: Option<f64>,
    pub(crate) hook: u64,
    pub(crate) delivered_at: Timestamp,
    pub(crate) installation: Option<u64>,
    pub(crate) repository: u32,
    pub(crate) body: Vec<u8>,
}

/// A webhook that is ready to send, with its headers.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    pub(crate) delivery: u64,
    pub(crate) url: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
}
