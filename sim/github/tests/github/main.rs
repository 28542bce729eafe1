//! The GitHub simulator: polling with a token, Apps, scale sets, webhooks, limits, lies and faults, asked by a
//! plain HTTP client.
#![cfg(test)]

mod apps;
mod enterprises;
mod faults;
mod groups;
mod held_github;
mod in_process;
mod lies;
mod limits;
mod malformed;
mod repositories;
mod rest;
mod scale_sets;
mod webhooks;
