//! The provider as users meet it: installed from a mirror, driven by OpenTofu (and by Terraform where it is on `PATH`),
//! against simulators of Proxmox VE and GitHub with the privileges that docs/privileges.md asks for, and no more.
//!
//! Every test has simulators, a mirror and a working directory of its own. Guests are scripted: they answer at once; only
//! `site` has guests that run, or real ones, and `machines` whole machines.

mod administrator;
mod bad_input;
mod cleaning;
mod conformance;
mod diagnostic;
mod dispatcher;
mod lab;
mod machines;
mod modules;
mod played_dispatcher;
mod runner_vm;
mod shared_files;
mod site;
mod template;
mod workflow_job;
