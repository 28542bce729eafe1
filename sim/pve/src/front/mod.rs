//! From bytes on a socket, or a call of the process itself, to the handler of a call.

pub(crate) mod dispatch;
pub(crate) mod http;
pub(crate) mod in_process;
pub(crate) mod routes;
