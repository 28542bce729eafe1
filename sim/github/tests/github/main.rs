//! The GitHub simulator beyond polling with a token: Apps, scale sets, webhooks, limits, lies and faults, asked by a
//! plain HTTP client.
#![cfg(test)]

mod apps;
mod enterprises;
mod faults;
mod groups;
mod lies;
mod limits;
mod malformed;
mod repositories;
mod scale_sets;
mod site;
mod webhooks;
