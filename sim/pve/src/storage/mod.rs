//! Storages: the calls about them and their contents, and the allocation of volumes.

pub(crate) mod access;
pub(crate) mod allocation;
pub(crate) mod api;
pub(crate) mod config;
pub(crate) mod content;
pub(crate) mod disks;
pub(crate) mod download;
pub(crate) mod files;
pub(crate) mod messages;
mod progress;
pub(crate) mod upload;
mod wget;
