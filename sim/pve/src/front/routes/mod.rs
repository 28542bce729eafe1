//! The table of calls: one entry, with the function that carries the call out, for each method and path of PVE's schema
//! that is simulated.
//!
//! The schema finds the call of a request. A call's position in the schema is its handler's position in [`Handlers`],
//! so no text is compared twice.

mod access;
mod cluster;
mod containers;
mod nodes;
mod qemu;
mod storage;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::engine::handlers::{Handler, Handlers};
use crate::engine::{Call, Engine};
use crate::guests;
use crate::guests::console::Target;
use crate::refusal::Outcome;
use crate::schema::Schema;
use crate::world::guest::Kind;

/// One call and its handler.
struct Entry {
    method: &'static str,
    /// Path below `/api2/<format>`, written as in the schema.
    path: &'static str,
    handler: Handler,
}

/// Writes a list of entries as `METHOD path => answer;`, where the answer is a value or a whole reply.
macro_rules! entries {
    (|$engine:ident, $call:ident, $upload:ident| $($method:ident $path:literal => $answer:expr;)+) => {
        &[$($crate::front::routes::Entry {
            method: stringify!($method),
            path: $path,
            handler: |$engine, $call, $upload| {
                let _ = (&$engine, &$call, &$upload);
                Box::pin(async move {
                    Ok::<_, $crate::refusal::Refusal>($crate::reply::Reply::from($answer))
                })
            },
        }),+]
    };
}
use entries;

/// All entries, by part of the API.
const TABLE: [&[Entry]; 7] = [
    cluster::ENTRIES,
    nodes::ENTRIES,
    access::ENTRIES,
    storage::ENTRIES,
    qemu::ENTRIES,
    qemu::AGENT_ENTRIES,
    containers::ENTRIES,
];

fn all_entries() -> impl Iterator<Item = &'static Entry> {
    TABLE.into_iter().flatten()
}

/// Returns the handlers of a schema's calls. Entries that only exist in the other line of PVE are left out.
pub(crate) fn handlers(schema: &Schema) -> Handlers {
    let table: HashMap<_, _> = all_entries().map(|entry| ((entry.method, entry.path), entry.handler)).collect();
    Handlers::new(schema.routes().iter().map(|route| table.get(&(route.method.as_str(), route.path.as_str())).copied()))
}

/// Digest of a firewall configuration that is empty.
const NO_RULES: &str = "da39a3ee5e6b4b0d3255bfef95601890afd80709";

fn current(engine: &Engine, kind: Kind, call: &Call) -> Outcome<Value> {
    engine.guest(kind, call.vmid(), &call.node)?;
    let now = engine.clock.now();
    Ok(guests::status::current(&engine.state(), call.vmid(), now))
}

fn console_port(engine: &Engine, kind: Kind, call: &Call) -> Outcome<Value> {
    Ok(json!({ "port": guests::console::check_ticket(engine, call, Target::Guest(kind))?.to_string() }))
}
