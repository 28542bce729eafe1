//! Containers: creating, configuring, powering, moving volumes, destroying.

pub(crate) mod addresses;
pub(crate) mod checks;
pub(crate) mod clone;
pub(crate) mod config;
pub(crate) mod create;
pub(crate) mod life;
pub(crate) mod move_volume;
pub(crate) mod power;
pub(crate) mod resize;
pub(crate) mod setup;
pub(crate) mod volumes;
