//! The trait of ephemeral resources.

use std::future::{Future, ready};
use std::time::SystemTime;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::context::Context;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::element::Known;
use crate::element::Model;

/// A type of ephemeral resource: a value such as a token, which exists during a run and is not stored. Methods may be
/// `async fn`.
///
/// The core opens it in each phase that needs it, renews it if it is needed for longer than it lasts, and closes it. In
/// the model's declaration, `required`, `optional`, `computed`, `default`, `sensitive`, `equal` and the checks have
/// their usual meaning. Options about changing or storing an object (`replace`, `keep`, `write_only`, `identity`) have
/// none. `timeouts(read = …)` limits opening.
pub trait EphemeralResource: Send + Sync + 'static {
    /// Type name with the provider's prefix: `pxci_api_token`.
    const TYPE: &'static str;
    /// Data from the provider's configuration.
    type Data: Send + Sync + 'static;
    /// The attributes.
    type Model: Model;
    /// Data for renew and close, `()` if they need none. The core keeps it in memory, as JSON, until it closes the
    /// resource. The data may contain secrets: see [`exposed`](crate::exposed).
    type Private: Serialize + DeserializeOwned + Send;

    /// Checks rules that the declarations cannot express. Values may be unknown.
    fn validate(&self, _config: &Self::Model, _diagnostics: &mut Diagnostics) {}

    /// Creates the value. `config` has the configured values and defaults; its computed attributes are unknown. In the
    /// result, computed attributes must be known or null, and all others unchanged.
    ///
    /// # Errors
    /// Fails if the value cannot be created. Close is not called then, so this method must clean up.
    fn open(
        &self,
        cx: &Context<Self::Data>,
        config: Known<Self::Model>,
    ) -> impl Future<Output = Result<Opened<Known<Self::Model>, Self::Private>, Diagnostics>> + Send;

    /// Extends the life of the value. Its attributes do not change. Called if [`Opened::renew_at`] is set.
    ///
    /// # Errors
    /// Fails if the value cannot be renewed. The run fails.
    fn renew(
        &self,
        cx: &Context<Self::Data>,
        _private: Self::Private,
    ) -> impl Future<Output = Result<Renewed<Self::Private>, Diagnostics>> + Send {
        let summary = format!("{} cannot be renewed", cx.type_name());
        let detail = "The resource set a time for renewal, but does not implement it. This is a bug in the provider.";
        ready(Err(Diagnostic::error(summary, detail).into()))
    }

    /// Ends the value. Succeeds if the value no longer exists. If a core leaves a resource open, for example after an
    /// interrupt, the framework closes it when the provider ends. Cores allow two seconds for that.
    ///
    /// # Errors
    /// Fails if the value may still be valid.
    fn close(
        &self,
        _cx: &Context<Self::Data>,
        _private: Self::Private,
    ) -> impl Future<Output = Result<(), Diagnostics>> + Send {
        ready(Ok(()))
    }
}

/// An open ephemeral resource. It has no `Debug`, because it usually contains a secret.
pub struct Opened<M, P = ()> {
    /// Attributes of the resource.
    pub model: M,
    /// Data for renew and close.
    pub private: P,
    /// Time at which the core renews it, if it is still needed. `None` means that it lasts as long as a run.
    pub renew_at: Option<SystemTime>,
}

impl<M, P> Opened<M, P> {
    /// Returns a resource that lasts until it is closed.
    pub fn new(model: M, private: P) -> Self {
        Self { model, private, renew_at: None }
    }

    /// Sets the time of the renewal.
    #[must_use]
    pub fn renew_at(self, time: SystemTime) -> Self {
        Self { renew_at: Some(time), ..self }
    }
}

/// A renewed ephemeral resource.
pub struct Renewed<P> {
    /// Data for the next renew, and for close.
    pub private: P,
    /// Time at which the core renews it again.
    pub renew_at: Option<SystemTime>,
}
