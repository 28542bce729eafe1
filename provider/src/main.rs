//! `terraform-provider-pxci`: handshake and serve, nothing else on its command line.

mod boots;
mod connection;
mod diagnostics;
mod guests;
mod holders;
mod nodes;
mod provider;
mod resources;
mod vmids;
mod waiting;

use std::process::ExitCode;

fn main() -> ExitCode {
    tf_provider::serve(provider::Pxci)
}
