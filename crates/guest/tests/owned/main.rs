//! What is destroyed and what is left alone, for VMs and containers, against the simulated Proxmox VE.
#![cfg(test)]

mod attempts;
mod containers;
mod lab;
mod moved;
mod refusals;
mod templates;
