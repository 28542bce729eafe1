//! The simulated Proxmox VE cluster as a client meets it, on virtual time.

mod access;
mod away;
mod cluster;
mod download;
mod full;
mod habits;
mod half_made;
mod in_process;
mod scale;
mod scripted_guests;
mod simulated_cluster;
mod snapshots;
mod storages;
mod suspend;
mod tags;
mod values;
