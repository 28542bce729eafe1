//! The parts that both simulated services need to answer over HTTPS: certificates, faults, bodies that break off, and a
//! log of requests.

pub mod authority;
pub mod faults;
pub mod payload;
pub mod request_log;
