//! Open ephemeral resources. An interrupted core may end without closing them, so they are closed when serving ends.

use std::sync::{Mutex, PoisonError};

use crate::diagnostic::Diagnostics;
use crate::erased::BoxFuture;

/// A function that closes an open resource, given its private data.
pub(super) type Closing = Box<dyn FnOnce(Vec<u8>) -> BoxFuture<'static, Result<(), Diagnostics>> + Send>;

struct Open {
    type_name: String,
    private: Vec<u8>,
    closing: Closing,
}

/// All open ephemeral resources.
#[derive(Default)]
pub(crate) struct Leases(Mutex<Vec<Open>>);

impl Leases {
    pub(super) fn opened(&self, type_name: String, private: Vec<u8>, closing: Closing) {
        self.lock().push(Open { type_name, private, closing });
    }

    /// Records the private data after a renewal. The core identifies the resource by it from now on.
    pub(super) fn renewed(&self, type_name: &str, before: &[u8], private: &[u8]) {
        if let Some(open) = self.lock().iter_mut().find(|open| open.type_name == type_name && open.private == before) {
            open.private = private.to_vec();
        }
    }

    /// Removes a resource that the core closes.
    pub(super) fn closed(&self, type_name: &str, private: &[u8]) {
        let mut all = self.lock();
        let found = all.iter().position(|open| open.type_name == type_name && open.private == private);
        if let Some(index) = found {
            all.swap_remove(index);
        }
    }

    /// Closes all resources. Errors are only logged.
    pub(crate) async fn close_all(&self) {
        let left = std::mem::take(&mut *self.lock());
        let closing = left.into_iter().map(|open| async move {
            tracing::info!(tf_resource_type = open.type_name, "closing an ephemeral resource that the core left open");
            for diagnostic in (open.closing)(open.private).await.err().unwrap_or_default() {
                tracing::warn!(tf_resource_type = open.type_name, "unable to close: {}", diagnostic.summary);
            }
        });
        futures::future::join_all(closing).await;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Open>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
