//! Proxmox VE as a world in memory with its API server in front.
//!
//! ```text
//! http ─ tickets ─ dispatch ─ schema/validate ─ one module per area of the API ─ state
//!                                         └─ engine: tasks, guest locks, clock ─ backend (whatever runs)
//! ```
//!
//! What it answers follows the recordings of a real server; [`conformance`] replays them against it.

mod access;
mod access_api;
mod agent;
mod allocation;
pub(crate) mod clock;
mod clone;
mod clone_disks;
mod cloudinit;
mod cluster_api;
pub mod conformance;
mod console;
mod datacenter;
mod disks;
mod dispatch;
mod drives;
mod engine;
mod formats;
mod http;
mod in_process;
mod layout;
mod line;
mod locks;
mod lxc;
mod lxc_life;
mod md5;
mod membership;
mod nodes;
mod nodes_api;
pub(crate) mod overview;
mod params;
mod pending;
mod pools;
mod power;
mod propstring;
mod qemu_checks;
mod qemu_config;
mod qemu_create;
mod qemu_life;
mod quorum;
mod refusal;
mod reply;
mod resources;
mod scale;
pub mod schema;
pub mod scripted;
mod server;
mod snapshots;
mod state;
mod status;
mod storage_api;
mod storage_config;
mod storage_content;
mod storage_files;
mod storages;
mod store;
mod tasks_api;
mod tickets;
mod timeline;
mod upload;
mod validate;
mod virtual_time;
mod volume_access;
mod volumes;
mod world;

pub use crate::faults::Fault;
pub use clock::Latency;
pub use in_process::Refused;
pub use line::{Line, UnknownLine};
pub use scale::POOLS;
pub use server::{Handle, Options, Server, StartError};
pub use store::Store;
pub use timeline::Happening;
pub use world::{World, WorldError};
