//! The simulated Proxmox VE cluster as a client meets it, on virtual time.

mod away;
mod cluster;
mod full;
mod habits;
mod half_made;
mod scale;
mod simulated_cluster;
mod snapshots;
mod storages;
mod tags;
