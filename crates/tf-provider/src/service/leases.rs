//! Ephemeral resources that are open. A core that is interrupted may end without closing them; so what is left is closed
//! when serving ends.

use std::sync::{Mutex, PoisonError};

use crate::diagnostic::Diagnostics;
use crate::erased::Boxed;

/// Closes what was opened, by its private data.
pub(super) type Closing = Box<dyn FnOnce(Vec<u8>) -> Boxed<'static, Result<(), Diagnostics>> + Send>;

struct Open {
    type_name: String,
    private: Vec<u8>,
    closing: Closing,
}

/// All that is open.
#[derive(Default)]
pub(crate) struct Leases(Mutex<Vec<Open>>);

impl Leases {
    pub(super) fn opened(&self, type_name: String, private: Vec<u8>, closing: Closing) {
        self.lock().push(Open { type_name, private, closing });
    }

    /// From now on the core names it by other private data.
    pub(super) fn renewed(&self, type_name: &str, before: &[u8], private: &[u8]) {
        if let Some(open) = self.lock().iter_mut().find(|open| open.type_name == type_name && open.private == before) {
            open.private = private.to_vec();
        }
    }

    /// The core closes it.
    pub(super) fn closed(&self, type_name: &str, private: &[u8]) {
        let mut all = self.lock();
        let found = all.iter().position(|open| open.type_name == type_name && open.private == private);
        if let Some(index) = found {
            all.swap_remove(index);
        }
    }

    /// Closes what is left. Errors go to the log only.
    pub(crate) async fn close_all(&self) {
        let left = std::mem::take(&mut *self.lock());
        let closing = left.into_iter().map(|open| async move {
            tracing::info!(tf_resource_type = open.type_name, "the core left it open: closing");
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
