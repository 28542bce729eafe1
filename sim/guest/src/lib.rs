//! Simulated guests whose programs run: temporary root directories in namespaces.
//!
//! A simulated VM is a process tree in new user, mount, process, host name and IPC namespaces, on an overlay of a real
//! Debian user land. It shares the host's network and cannot change it. A container is a root directory that is booted
//! by its own init, in its own network ([`network`]). Everything that acts on a guest (provisioners over SSH, seed
//! data, the agent, the image's own units) acts inside, never on the host. The host's file system cannot be reached
//! from inside.
//!
//! Such guests have no kernel of their own, no booted systemd, no disks as block devices, and VMs have no network
//! cards.

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

pub use bootstrap::BootstrapError;
pub use namespaces::{Namespaces, StartError};
pub use state::StateError;
