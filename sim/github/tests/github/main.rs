//! The GitHub simulator: polling with a token, Apps, scale sets, webhooks, limits, false answers and faults, tested by
//! an HTTP client.
#![cfg(test)]

mod apps;
mod enterprises;
mod false_answers;
mod faults;
mod groups;
mod in_process;
mod stepped_github;

mod limits;
mod malformed;
mod repositories;
mod rest;
mod scale_sets;
mod webhooks;
