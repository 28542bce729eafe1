//! Proxmox VE as a world in memory with its API server in front.
//!
//! ```text
//! server ─ front: HTTP, dispatch ─ schema: is the request one? ─ access: who is it, may they?
//!                        └─ cluster, guests, qemu, lxc, storage: one file per part of the API
//!                                 └─ world: what there is; engine: tasks, locks, daemon workers; clock
//!                                                            └─ backend (whatever runs the guests)
//! ```
//!
//! What it answers follows the recordings of a real server; the crate `sim-replay` replays them against it.

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
pub use cluster::overview::Wanted;
pub use front::in_process::{Refused, Unanswered};
pub use line::{Line, UnknownLine};
pub use server::{Handle, Options, Server, StartError, TaskReport};
pub use sim_http::faults::Fault;
pub use timeline::Happening;
pub use world::scale::POOLS;
pub use world::store::Store;
pub use world::{World, WorldError};
