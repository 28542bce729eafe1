//! The way of a call to its handler, from a socket or from inside the process.

pub(crate) mod dispatch;
pub(crate) mod http;
pub(crate) mod in_process;
pub(crate) mod routes;
