//! Calls about nodes and their tasks.

use serde_json::json;

use super::{Entry, entries};
use crate::guests::console::Target;
use crate::{cluster, guests, qemu};

pub(super) const ENTRIES: &[Entry] = entries![|engine, call, _upload|
    GET "/nodes" => cluster::nodes_api::list(engine, &call);
    GET "/nodes/{node}" => cluster::nodes_api::index();
    GET "/nodes/{node}/version" => engine.state().version.clone();
    GET "/nodes/{node}/status" => cluster::nodes_api::status(engine, &call);
    GET "/nodes/{node}/time" => {
        json!({ "localtime": engine.clock.seconds(), "time": engine.clock.seconds(), "timezone": "UTC" })
    };
    GET "/nodes/{node}/dns" => json!({ "dns1": "127.0.0.1", "search": "lab" });
    GET "/nodes/{node}/aplinfo" => json!([]);
    GET "/nodes/{node}/network" => cluster::nodes_api::networks(engine, &call);
    GET "/nodes/{node}/network/{iface}" => cluster::nodes_api::network(engine, &call)?;
    GET "/nodes/{node}/firewall/options" => json!({ "digest": super::NO_RULES });
    GET "/nodes/{node}/capabilities/qemu/cpu" => cluster::api::processor_types();
    GET "/nodes/{node}/vzdump/defaults" => cluster::api::backup_defaults();
    POST "/nodes/{node}/startall" => qemu::power::start_all(engine, &call);
    POST "/nodes/{node}/stopall" => qemu::power::stop_all(engine, &call);
    POST "/nodes/{node}/termproxy" => guests::console::open(engine, &call, Target::Node)?;
    GET "/nodes/{node}/tasks" => cluster::tasks::list(engine, &call);
    GET "/nodes/{node}/tasks/{upid}" => json!([{ "name": "log" }, { "name": "status" }]);
    DELETE "/nodes/{node}/tasks/{upid}" => cluster::tasks::stop(engine, &call).await?;
    GET "/nodes/{node}/tasks/{upid}/status" => cluster::tasks::status(engine, &call)?;
    GET "/nodes/{node}/tasks/{upid}/log" => cluster::tasks::log(engine, &call)?;
];
