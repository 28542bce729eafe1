//! One folder a type: `mod.rs` has its schema and lifecycle, `model.rs` its typed state, `tests.rs` its tests.

pub(crate) mod cloudinit_snippet;
pub(crate) mod dispatcher_lxc;
pub(crate) mod runner_vm;
pub(crate) mod template;
