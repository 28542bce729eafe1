//! Calls about the cluster and about resource pools.

use serde_json::{Value, json};

use super::{Entry, entries};
use crate::engine::{Call, Engine};
use crate::line::Line;
use crate::refusal::{Body, Outcome, Refusal};
use crate::{access, cluster};

pub(super) const ENTRIES: &[Entry] = entries![|engine, call, _upload|
    GET "/version" => engine.state().version.clone();
    GET "/cluster/resources" => cluster::resources::resources(engine, &call)?;
    GET "/cluster/nextid" => cluster::api::next_id(engine, &call)?;
    GET "/cluster/status" => cluster::nodes_api::cluster_status(engine, &call);
    GET "/cluster/tasks" => cluster::tasks::cluster(engine, &call);
    GET "/cluster/log" => cluster::api::log(engine, &call);
    GET "/cluster/options" => cluster::datacenter::read(engine, &call);
    PUT "/cluster/options" => cluster::datacenter::write(engine, &call)?;
    GET "/cluster/backup" => json!([]);
    GET "/cluster/config/nodes" => json!([]);
    GET "/cluster/config/join" => no_join_information()?;
    GET "/cluster/sdn/zones/{zone}" => zone(&call)?;
    GET "/cluster/ha/rules" => json!([]);
    GET "/cluster/ha/groups" => ha_groups(engine)?;
    GET "/cluster/ha/resources" => cluster::api::ha_resources(engine, &call, "list")?;
    POST "/cluster/ha/resources" => cluster::api::ha_resources(engine, &call, "add")?;
    GET "/cluster/ha/resources/{sid}" => cluster::api::ha_resources(engine, &call, "get")?;
    DELETE "/cluster/ha/resources/{sid}" => cluster::api::ha_resources(engine, &call, "delete")?;
    GET "/cluster/ha/status/current" => cluster::membership::ha_status(engine, &call);
    GET "/pools" => access::pools::list(engine, &call)?;
    POST "/pools" => access::pools::create(engine, &call)?;
    PUT "/pools" => access::pools::update(engine, &call)?;
    DELETE "/pools" => access::pools::delete(engine, &call)?;
    GET "/pools/{poolid}" => access::pools::one(engine, &call)?;
    PUT "/pools/{poolid}" => access::pools::update(engine, &call)?;
    DELETE "/pools/{poolid}" => access::pools::delete(engine, &call)?;
];

fn no_join_information() -> Outcome<Value> {
    Err(Refusal::new(424, "node is not in a cluster, no join info available!", Body::BareMessage))
}

fn zone(call: &Call) -> Outcome<Value> {
    Err(Refusal::fault(format!("sdn '{}' does not exist", call.text("zone").unwrap_or_default())))
}

fn ha_groups(engine: &Engine) -> Outcome<Value> {
    match engine.schema.line {
        Line::Eight => Ok(json!([])),
        Line::Nine => Err(Refusal::fault("cannot index groups: ha groups have been migrated to rules")),
    }
}
