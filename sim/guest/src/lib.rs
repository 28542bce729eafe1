//! Guests that really run: throw-away root directories in namespaces of their own.
//!
//! A simulated VM is a process tree in fresh user, mount, process, host name and IPC namespaces, on an overlay of a real Debian
//! user land. It shares the host's network, of which it may change nothing. A container is a root directory of its own, booted
//! by its own init, in a network of its own ([`network`]). Everything that acts on a guest (provisioners over SSH, seed data, the agent, the image's own
//! units) acts inside, never on the host; nothing of the host's file system can be reached from there.
//!
//! Not there: a kernel of its own, a booted systemd, a VM's network cards, disks as block devices.

mod agent;
mod autoinstall;
pub mod base;
mod bootstrap;
mod cloud_config;
mod container;
mod disks;
mod grub;
mod host;
mod lifeline;
mod log;
mod machine;
mod namespaces;
pub mod network;
pub mod qemu;
mod sandbox;
mod seed;
mod setup;
mod ssh;
mod state;
mod terminal;
mod units;

pub use namespaces::{Namespaces, StartError};
pub use state::StateError;
