//! The types of the simulated GitHub's state. They do not depend on [`World`](super::World), so that the code that
//! changes it, shows it or refuses a call can use them.

mod accounts;
mod apps;
mod groups;
mod jobs;
mod limits;
mod message_queue;
mod runners;
mod scale_sets;
mod scope;
mod webhooks;

pub(crate) use accounts::{Account, Caller, Kind, Need};
pub use accounts::{Level, Token};
pub(crate) use apps::{App, Installation, NewToken, TokenLimits};
pub(crate) use groups::{DEFAULT_GROUP, Group};
pub(crate) use jobs::Run;
pub use jobs::{Condition, Event, EventKind, Job, JobSpec, JobState, JobStep, RunSpec};
pub(crate) use limits::{Cost, LimitKey, RateState, Usages};
pub(crate) use message_queue::{MessageQueue, MessageSession, Poll};
pub(crate) use runners::Runner;
pub(crate) use scale_sets::{Offer, ScaleSet, Service};
pub use scope::Scope;
pub use webhooks::{Delivery, HookOwner, WebhookSpec};
pub(crate) use webhooks::{Outgoing, Webhook};
