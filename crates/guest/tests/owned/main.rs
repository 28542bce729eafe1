//! Guests that are destroyed and guests that are left alone, VMs and containers, on the simulated Proxmox VE.
#![cfg(test)]

mod attempts;
mod chain;
mod containers;
mod diagnostics;
mod lab;
mod moved;
mod refusals;
mod templates;
