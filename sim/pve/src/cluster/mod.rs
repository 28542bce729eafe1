//! The cluster: its nodes and which of them answer, its options, its list of everything, tasks.

pub(crate) mod api;
pub(crate) mod datacenter;
pub(crate) mod membership;
pub(crate) mod nodes_api;
pub(crate) mod overview;
pub(crate) mod quorum;
pub(crate) mod resources;
pub(crate) mod tasks;
