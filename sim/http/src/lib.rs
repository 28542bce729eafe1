//! Code that both simulated services need for HTTPS: certificates, faults, incomplete bodies, the request log, and TLS of
//! their clients.

pub mod authority;
pub mod client_tls;
pub mod faults;
pub mod payload;
pub mod request_log;
