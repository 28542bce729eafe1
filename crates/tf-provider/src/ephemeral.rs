//! What the author of an ephemeral resource writes.

use std::future::{Future, ready};
use std::time::SystemTime;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cx::Cx;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::element::Model;
use crate::known::Known;

/// One type of ephemeral resource: a value that lives as long as a run, such as a token, and is stored nowhere.
/// Methods may be `async fn`.
///
/// The core opens it in each phase that needs it, renews it while it is needed longer than it lasts, and closes it. In
/// the model's declaration, `required`, `optional`, `computed`, `default`, `sensitive`, `equal` and the checks have
/// their meaning; what is about changing or storing an object (`replace`, `keep`, `write_only`, `identity`) has none.
/// `timeouts(read = …)` limits opening.
pub trait EphemeralResource: Send + Sync + 'static {
    /// Type name with the provider's prefix: `pxci_api_token`.
    const TYPE: &'static str;
    /// What the provider's configuration gives.
    type Data: Send + Sync + 'static;
    /// The attributes.
    type Model: Model;
    /// What renew and close need to know, `()` if nothing. The core holds it in memory, as JSON, until it closes; so it
    /// may contain secrets: see [`exposed`](crate::exposed).
    type Private: Serialize + DeserializeOwned + Send;

    /// Checks what the declarations cannot say. Values may be unknown.
    fn validate(&self, _config: &Self::Model, _diagnostics: &mut Diagnostics) {}

    /// Makes the value. In `wanted` stands what the configuration sets, defaults filled in; computed attributes are
    /// unknown and must be known in the result, or null. What the configuration sets must come back as it is.
    ///
    /// # Errors
    /// When it cannot be made. Nothing is closed then: what was made halfway must be undone here.
    fn open(
        &self,
        cx: &Cx<Self::Data>,
        wanted: Known<Self::Model>,
    ) -> impl Future<Output = Result<Opened<Known<Self::Model>, Self::Private>, Diagnostics>> + Send;

    /// Makes the value last longer; its attributes stay as they are. Called if [`Opened::renew_at`] was given.
    ///
    /// # Errors
    /// When it cannot be renewed; the run fails.
    fn renew(
        &self,
        cx: &Cx<Self::Data>,
        _private: Self::Private,
    ) -> impl Future<Output = Result<Renewed<Self::Private>, Diagnostics>> + Send {
        let summary = format!("{} cannot be renewed", cx.type_name());
        ready(Err(Diagnostic::error(summary, "It asked to be renewed, but has no way to. This is a bug.").into()))
    }

    /// Ends the value. It being gone already is a success. What a core leaves open, as after an interrupt, is closed when
    /// the provider ends; cores give it two seconds for that.
    ///
    /// # Errors
    /// When it may still be valid.
    fn close(
        &self,
        _cx: &Cx<Self::Data>,
        _private: Self::Private,
    ) -> impl Future<Output = Result<(), Diagnostics>> + Send {
        ready(Ok(()))
    }
}

/// An ephemeral resource that is open. It cannot be shown: it usually holds a secret.
pub struct Opened<M, P = ()> {
    /// Its attributes.
    pub model: M,
    /// What renew and close get.
    pub private: P,
    /// When the core shall renew it, if it is still needed then. `None`: it lasts as long as a run.
    pub renew_at: Option<SystemTime>,
}

impl<M, P> Opened<M, P> {
    /// Open until it is closed.
    pub fn new(model: M, private: P) -> Self {
        Self { model, private, renew_at: None }
    }

    /// To be renewed at `moment`.
    #[must_use]
    pub fn renew_at(self, moment: SystemTime) -> Self {
        Self { renew_at: Some(moment), ..self }
    }
}

/// An ephemeral resource that lasts longer now.
pub struct Renewed<P> {
    /// What the next renew, and close, get.
    pub private: P,
    /// When the core shall renew it again.
    pub renew_at: Option<SystemTime>,
}
