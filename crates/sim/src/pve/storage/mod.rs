//! Storages: what is defined, what lies on them, how they name it and what each type can do with it.

pub(crate) mod access;
pub(crate) mod allocation;
pub(crate) mod api;
pub(crate) mod config;
pub(crate) mod content;
pub(crate) mod disks;
pub(crate) mod files;
pub(crate) mod layout;
pub(crate) mod md5;
pub(crate) mod storages;
pub(crate) mod upload;
pub(crate) mod volumes;
