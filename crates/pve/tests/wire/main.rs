//! The client against servers that show every byte: transport, trust, tasks, console.
#![cfg(test)]

mod console;
mod given;
mod pools;
mod server;
mod transport;
