//! The idempotent steps that carry one runner VM through its life ([`RunnerVm`]).
//!
//! Used by the dispatcher for its fleet and by the provider for single VMs. Every step may be repeated after a crash or a lost
//! reply, and ends in the same place. No step touches a guest before its marker shows that it is this very incarnation, and
//! nothing is destroyed without the whole proof of ownership.

mod arm;
mod boot_times;
mod clone;
mod configure;
mod destroy;
mod error;
mod power;
mod registration;
mod retry;
mod vm;

pub use arm::GuestState;
pub use boot_times::{BootTimes, Booted};
pub use configure::Shape;
pub use error::{Error, Problem};
pub use power::Starting;
pub use registration::{Removal, deregister, mint};
pub use vm::{Place, RunnerVm};
