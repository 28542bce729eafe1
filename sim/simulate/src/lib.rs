//! The dispatcher of production in one process with both simulators, on virtual time.
//!
//! Engine, observers, executor and ledger are those of the program. Requests go from its clients straight into the
//! simulators' fronts, guests are fakes on timers, and the runtime has one thread whose clock is paused: when all wait, it
//! jumps to the next timer. Everything that is left to chance comes from the seed, so two runs of a seed are alike to the
//! byte, and a run that fails can be repeated.
//!
//! ```text
//! demand ─ queues jobs ─► simulated GitHub ◄─ network ─┐
//!                              ▲                       dispatcher (run_with)
//!                guests ───────┘  simulated PVE ◄─ network ─┘
//!                   ▲                   │
//!                   └────── backend ────┘      watch: looks at both from outside
//! ```
//!
//! A run of it proves nothing about real sockets, TLS, threads or disks.

mod chance;
mod demand;
mod digest;
mod disturb;
mod farm;
mod guests;
pub mod measure;
mod network;
mod run;
mod runner;
mod site;
mod watch;

pub use run::{Options, Report, run};
