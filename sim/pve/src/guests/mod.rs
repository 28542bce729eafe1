//! Code for both VMs and containers: configuration, pending changes, states, snapshots, consoles.

pub(crate) mod config;
pub(crate) mod console;
pub(crate) mod observed;
pub(crate) mod open_consoles;
pub(crate) mod pending;
pub(crate) mod snapshots;
pub(crate) mod status;
pub(crate) mod tags;
