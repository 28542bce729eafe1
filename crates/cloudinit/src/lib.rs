//! Cloud-init data: templates, checks, and the NoCloud image that carries it.
//!
//! * [`render`] expands `.pkrtpl` files the way Terraform's, OpenTofu's and Packer's `templatefile` does;
//! * [`check_user_data`] finds mistakes in user-data before a guest does, with line and key;
//! * [`SeedIso`] makes the `cidata` image that PVE can take over its API (snippets cannot be uploaded, ISO images can).
//!
//! No I/O: text in, text or bytes out. The same input gives the same bytes, always.

mod check;
mod iso;
mod render;
mod schema;
mod seed;
mod yaml;

pub use check::{Problem, check_network_config, check_user_data};
pub use render::{RenderError, render};
pub use seed::{SeedImage, SeedIso};
