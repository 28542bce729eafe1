//! The resource types. Each has a folder with its lifecycle in `mod.rs`, its schema and state in `model.rs`, and its
//! unit tests in `tests.rs`.

pub(crate) mod cloudinit_snippet;
pub(crate) mod dispatcher_lxc;
pub(crate) mod runner_vm;
pub(crate) mod template;
