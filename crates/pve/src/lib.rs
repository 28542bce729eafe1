//! Typed client of Proxmox VE's API, for the calls that pxci needs. It knows neither Terraform nor GitHub.
//!
//! The client supports the API of 8.4 and 9.x, and follows the behaviour of real servers. Errors are distinguished by their
//! texts ([`Error`]), values of any JSON type are read, and a task that ends with warnings has succeeded. The client
//! must never show a secret in an error, a log line or a `Debug` output. It must never repeat a request that may have
//! been carried out. It must never have more than two guest agent calls in flight per node, because a node has three
//! workers for all its users.

mod access;
mod agent;
mod answer;
mod call;
mod certificate;
mod client;
mod cluster;
pub mod console;
mod delivery;
mod endpoint;
mod error;
mod guest;
mod lenient;
mod lxc;
mod pools;
mod properties;
mod qemu;
mod setup;
mod storage;
mod tasks;
mod transport;
mod trust;
mod turns;
mod upid;

pub use agent::{Agent, Exit, Interface};
pub use client::Client;
pub use cluster::{GuestKind, GuestSummary, NodeSummary};
pub use endpoint::{ApiToken, Endpoint, EndpointError, TokenError};
pub use error::{Error, MissingPrivilege, Refusal, SetupError};
pub use guest::{Config, Status};
pub use lxc::{ContainerInterface, Lxc};
pub use pools::PoolMember;
pub use properties::Properties;
pub use qemu::{CloneRequest, Qemu};
pub use setup::ClientConfig;
pub use storage::{Content, Storage, StorageStatus, Volume};
pub use tasks::{TaskEnd, WaitOptions};
pub use transport::{Transport, TransportError};
pub use trust::{Fingerprint, FingerprintError, Trust, TrustError};
pub use upid::Upid;
