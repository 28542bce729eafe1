//! Proxmox VE: a pure world and its HTTPS front.
