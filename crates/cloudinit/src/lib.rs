//! Cloud-init data: templates, checks, and the seed ISO for the NoCloud data source.
//!
//! * [`render`] expands `.pkrtpl` files like `templatefile` of Terraform, OpenTofu and Packer.
//! * [`check_user_data`] finds mistakes in user-data before a guest boots with it, with line and key.
//! * [`SeedIso`] makes the `cidata` image. PVE's API accepts uploads of ISO images, but not of snippets.
//!
//! This crate does no I/O. The same input always gives the same bytes.

mod check;
mod iso;
mod render;
mod schema;
mod seed;
mod yaml;

pub use check::{Problem, check_network_config, check_user_data};
pub use render::{RenderError, render};
pub use seed::{SeedImage, SeedIso};
