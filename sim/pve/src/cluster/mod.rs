//! The cluster: its nodes and their availability, its options, its list of resources, and tasks.

pub(crate) mod api;
pub(crate) mod datacenter;
pub(crate) mod membership;
pub(crate) mod nodes_api;
pub(crate) mod overview;
pub(crate) mod quorum;
pub(crate) mod resources;
pub(crate) mod tasks;
