//! The GitHub simulator: polling with a token, Apps, scale sets, webhooks, limits, false answers and faults, tested by
//! an HTTP client.
#![cfg(test)]

mod apps;
mod enterprises;
mod faults;
mod groups;
mod held_github;
mod lies;
mod limits;
mod malformed;
mod repositories;
mod rest;
mod scale_sets;
mod webhooks;
