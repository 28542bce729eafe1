//! What VMs and containers have in common: drives, pending changes, states, snapshots, consoles.

pub(crate) mod config;
pub(crate) mod console;
pub(crate) mod drives;
pub(crate) mod pending;
pub(crate) mod snapshots;
pub(crate) mod status;
