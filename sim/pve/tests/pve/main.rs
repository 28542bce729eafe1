//! A simulated Proxmox VE cluster on virtual time, tested by an HTTP client.

mod access;
mod away;
mod cluster;
mod download;
mod full;
mod half_made;
mod in_process;
mod quirks;
mod scale;
mod scripted_guests;
mod simulated_cluster;
mod snapshots;
mod storages;
mod suspend;
mod tags;
mod values;
