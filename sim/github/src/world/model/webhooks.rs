//! Webhooks and their deliveries.

use jiff::Timestamp;

use super::scope::Scope;

/// Whose webhook it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HookOwner {
    /// An App's: it gets the jobs of all its installations.
    App(u64),
    /// A repository's or an organization's.
    Scope(Scope),
}

/// A webhook to be set up.
#[derive(Debug, Clone)]
pub struct WebhookSpec {
    /// Whose it is.
    pub owner: HookOwner,
    /// Where it goes; `http` only.
    pub url: String,
    /// What its bodies are signed with.
    pub secret: String,
}

#[derive(Debug, Clone)]
pub(crate) struct Webhook {
    pub(crate) id: u64,
    pub(crate) spec: WebhookSpec,
}

/// One attempt to send an event.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Number of the attempt.
    pub id: u64,
    /// What `X-GitHub-Delivery` says: the same for all attempts at one event.
    pub guid: String,
    /// `queued`, `in_progress`, `completed`.
    pub action: String,
    /// Whether somebody asked for it to be sent again.
    pub redelivery: bool,
    /// HTTP status of the receiver's answer; 0 while there is none, or where none came in time.
    pub status_code: u16,
    /// In seconds, once it has ended.
    pub duration: Option<f64>,
    pub(crate) hook: u64,
    pub(crate) delivered_at: Timestamp,
    pub(crate) installation: Option<u64>,
    pub(crate) repository: u32,
    pub(crate) body: Vec<u8>,
}

/// What is to be sent now, headers and all.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    pub(crate) delivery: u64,
    pub(crate) url: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
}
