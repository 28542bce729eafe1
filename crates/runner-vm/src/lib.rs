//! runner-vm
