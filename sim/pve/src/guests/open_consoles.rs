//! The consoles that are open, and the tasks that wait for their clients.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, broadcast, mpsc, oneshot};

/// A container's shell. It continues when its connection ends, and later connections join it.
#[derive(Clone)]
pub(super) struct Shell {
    pub(super) input: mpsc::UnboundedSender<Vec<u8>>,
    pub(super) output: broadcast::Sender<Vec<u8>>,
}

/// Slot in which a client leaves a receiver for its console task. The receiver gets true if the client has shown its
/// ticket, when the connection ends.
pub(super) type Listener = Arc<Mutex<Option<oneshot::Receiver<bool>>>>;

/// All open consoles.
#[derive(Default)]
pub(crate) struct Consoles {
    pub(super) shells: Mutex<HashMap<u32, Shell>>,
    listeners: Mutex<HashMap<u16, Listener>>,
    /// Signal that a client has connected.
    pub(super) arrived: Notify,
}

impl Consoles {
    /// Ends a container's shell.
    pub(crate) fn drop_shell(&self, vmid: u32) {
        self.shells.lock().unwrap_or_else(PoisonError::into_inner).remove(&vmid);
    }

    pub(super) fn take_listener(&self, port: u16) -> Option<Listener> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).remove(&port)
    }

    pub(super) fn listen(&self) -> (u16, Listener) {
        let listener = Listener::default();
        let mut all = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        let port = (5900..6000).find(|port| !all.contains_key(port)).unwrap_or(5999);
        all.insert(port, listener.clone());
        (port, listener)
    }
}
