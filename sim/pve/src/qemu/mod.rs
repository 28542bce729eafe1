//! VMs: creation, cloning, configuration, power, removal.

pub(crate) mod agent;
pub(crate) mod cards;
pub(crate) mod checks;
pub(crate) mod clone;
pub(crate) mod clone_disks;
pub(crate) mod cloudinit;
pub(crate) mod config;
pub(crate) mod create;
pub(crate) mod life;
pub(crate) mod power;
pub(crate) mod ssh_keys;
pub(crate) mod suspend;
