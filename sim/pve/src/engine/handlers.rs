//! The functions that carry calls out, in the order of the schema.

use std::sync::Arc;

use futures::future::BoxFuture;

use super::{Call, Engine};
use crate::refusal::Outcome;
use crate::reply::Reply;
use crate::storage::upload::Upload;

/// A function that carries out one call.
pub(crate) type Handler = for<'a> fn(&'a Arc<Engine>, Call, Option<Upload>) -> BoxFuture<'a, Outcome<Reply>>;

/// The handlers in the order of the schema's calls.
pub(crate) struct Handlers(Vec<Option<Handler>>);

impl Handlers {
    /// Collects `handlers`, one for each call of the schema; `None` for a call that is not simulated.
    pub(crate) fn new(handlers: impl IntoIterator<Item = Option<Handler>>) -> Self {
        Self(handlers.into_iter().collect())
    }

    /// Returns the handler of the call at a position of the schema.
    pub(crate) fn of(&self, place: usize) -> Option<Handler> {
        self.0.get(place).copied().flatten()
    }
}
