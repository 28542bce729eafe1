//! A simulated Proxmox VE: a cluster in memory behind an API server.
//!
//! ```text
//! server ─ front: HTTP, dispatch ─ schema: is the request valid? ─ access: may the caller do this?
//!                        └─ cluster, guests, qemu, lxc, storage: one file per part of the API
//!                                 └─ world: contents of the cluster; engine: tasks, locks, daemon workers; clock
//!                                                            └─ backend: runs the guests
//! ```
//!
//! Answers follow the recordings of a real server; the crate `sim-replay` replays the recordings against this
//! simulator.

mod access;
mod clock;
mod cluster;
mod engine;
mod front;
mod guests;
mod line;
mod lxc;
mod params;
mod qemu;
mod refusal;
mod reply;
pub mod schema;
pub mod scripted;
mod server;
mod storage;
mod timeline;
mod world;

pub use clock::Latency;
pub use cluster::overview::OverviewFilter;
pub use front::in_process::{Refused, Unanswered};
pub use line::{Line, UnknownLine};
pub use server::{Handle, Options, Server, StartError, TaskReport};
pub use sim_http::faults::Fault;
pub use timeline::Event;
pub use world::scale::POOLS;
pub use world::store::Store;
pub use world::{World, WorldError};
