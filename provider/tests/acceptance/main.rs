//! The provider as users install it: from a mirror, driven by OpenTofu, and by Terraform if it is on `PATH`. Proxmox VE
//! and GitHub are simulated, and tokens have exactly the privileges that docs/privileges.md lists.
//!
//! Every test has its own simulators, mirror and working directory. Guests are scripted, so they answer at once. Only
//! `site` has guests whose programs run, or real ones, and only `machines` has guests that QEMU runs.

mod administrator;
mod bad_input;
mod cleaning;
mod conformance;
mod diagnostic;
mod dispatcher;
mod fake_dispatcher;
mod lab;
mod machines;
mod modules;
mod runner_vm;
mod shared_files;
mod site;
mod template;
mod workflow_job;
mod working_directory;
