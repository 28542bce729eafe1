//! cloudinit
