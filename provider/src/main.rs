//! `terraform-provider-pxci`: serves the provider to OpenTofu or Terraform. The program has no command-line arguments.

mod boots;
mod clients;
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
