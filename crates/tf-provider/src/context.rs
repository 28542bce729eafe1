//! The context of a call from the core.

use std::future::Future;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::element::Model;
use crate::path::Path;
use crate::value::Value;

/// Capabilities of the calling core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// True if the core keeps write-only attributes out of state and plan.
    pub write_only_attributes: bool,
}

/// Context of create, read, update, delete and import, of data sources and of ephemeral resources: the configured
/// provider's data, and the [`Call`].
pub struct Context<D> {
    call: Call,
    data: Arc<D>,
}

impl<D> Context<D> {
    pub(crate) fn new(call: Call, data: Arc<D>) -> Self {
        Self { call, data }
    }

    /// Returns the context of another call with the same data.
    pub(crate) fn with_call(&self, call: Call) -> Self {
        Self { call, data: Arc::clone(&self.data) }
    }

    pub(crate) fn into_call(self) -> Call {
        self.call
    }

    /// Returns the data that `Provider::configure` returned.
    pub fn data(&self) -> &D {
        &self.data
    }
}

impl<D> Deref for Context<D> {
    type Target = Call;

    fn deref(&self) -> &Call {
        &self.call
    }
}

/// Context of a planning hook: the [`Call`], and the provider's data if its configuration is known.
pub struct PlanContext<D> {
    call: Call,
    data: Option<Arc<D>>,
}

impl<D> PlanContext<D> {
    pub(crate) fn new(call: Call, data: Option<Arc<D>>) -> Self {
        Self { call, data }
    }

    /// Returns the data that `Provider::configure` returned; `None` while the provider's configuration is not known
    /// yet.
    pub fn data(&self) -> Option<&D> {
        self.data.as_deref()
    }
}

impl<D> Deref for PlanContext<D> {
    type Target = Call;

    fn deref(&self) -> &Call {
        &self.call
    }
}

/// One call from the core: stop token, deadline, private state, warnings.
pub struct Call {
    type_name: String,
    stop: CancellationToken,
    deadline: Option<Instant>,
    capabilities: Capabilities,
    private: Mutex<Vec<u8>>,
    meta: Value,
    warnings: Mutex<Diagnostics>,
}

impl Call {
    pub(crate) fn new(type_name: &str, stop: CancellationToken) -> Self {
        Self {
            type_name: type_name.to_owned(),
            stop,
            deadline: None,
            capabilities: Capabilities::default(),
            private: Mutex::default(),
            meta: Value::Null,
            warnings: Mutex::default(),
        }
    }

    pub(crate) fn with_deadline(self, deadline: Option<Instant>) -> Self {
        Self { deadline, ..self }
    }

    pub(crate) fn with_stop(self, stop: CancellationToken) -> Self {
        Self { stop, ..self }
    }

    pub(crate) fn with_capabilities(self, capabilities: Capabilities) -> Self {
        Self { capabilities, ..self }
    }

    pub(crate) fn with_private(self, private: Vec<u8>) -> Self {
        Self { private: Mutex::new(private), ..self }
    }

    pub(crate) fn with_meta(self, meta: Value) -> Self {
        Self { meta, ..self }
    }

    pub(crate) fn private_bytes(&self) -> Vec<u8> {
        lock(&self.private).clone()
    }

    pub(crate) fn take_warnings(&self) -> Diagnostics {
        std::mem::take(&mut *lock(&self.warnings))
    }

    /// Returns the name of the resource type. The protocol does not carry the address; the core adds it to every
    /// message.
    pub fn type_name(&self) -> &str {
        &self.type_name
    }

    /// Returns the token that is cancelled when the user interrupts the run. Long work must watch it or use
    /// [`Call::guard`].
    pub fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Returns the deadline of the operation, from the `timeouts` attribute or its declared default.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Returns the capabilities of the calling core.
    pub fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    /// Returns the `provider_meta` block of the resource's module, for types registered with
    /// [`Registry::meta`](crate::Registry::meta); `None` if the module has no such block. Available to plan, create,
    /// update, delete and read.
    ///
    /// # Errors
    /// Fails if `M` is another model than the registered one.
    pub fn meta<M: Model>(&self) -> Result<Option<M>, Diagnostic> {
        if self.meta.is_null() { Ok(None) } else { Ok(Some(M::from_value(&self.meta, &Path::root())?)) }
    }

    /// Runs `work` until it ends, the user interrupts, or the deadline passes. In the last two cases `work` is
    /// dropped at its current await point, so it must be safe to drop at any of them.
    ///
    /// # Errors
    /// Fails with a diagnostic about the interrupt or the deadline.
    pub async fn guard<T>(&self, work: impl Future<Output = T>) -> Result<T, Diagnostic> {
        let deadline = self.deadline.map(tokio::time::Instant::from_std);
        let late = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(Diagnostic::error("Interrupted", "The run was interrupted before this was done.")),
            output = work => Ok(output),
            () = late => Err(Diagnostic::error(
                "Timed out",
                "The operation was not done in time. Its limit can be raised in the resource's `timeouts`.",
            )),
        }
    }

    /// Shows the user a warning.
    pub fn warn(&self, summary: impl Into<String>, detail: impl Into<String>) {
        self.add_warning(Diagnostic::warning(summary, detail));
    }

    /// Adds a prepared warning, for example one with a path.
    pub fn add_warning(&self, warning: Diagnostic) {
        lock(&self.warnings).push(warning);
    }

    /// Returns the private state of the object, which the core stores with the state and does not show. `None` if there
    /// is none, or it has another shape than `T`.
    pub fn private<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(&lock(&self.private)).ok()
    }

    /// Replaces the private state. Not for secrets: the core stores it in the state file.
    ///
    /// # Errors
    /// Fails if `value` cannot be written as JSON.
    pub fn set_private<T: Serialize>(&self, value: &T) -> Result<(), Diagnostic> {
        let bytes = serde_json::to_vec(value)
            .map_err(|error| Diagnostic::error("Unable to store private state", error.to_string()))?;
        *lock(&self.private) = bytes;
        Ok(())
    }
}

/// Locks a mutex. A panic in another thread leaves its contents consistent.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
