//! Calls about containers.

use serde_json::json;

use super::{Entry, entries};
use crate::guests::console::Target;
use crate::world::guest::Kind;
use crate::{cluster, guests, lxc};

const PARTS: [&str; 15] = [
    "config",
    "pending",
    "status",
    "vncproxy",
    "termproxy",
    "vncwebsocket",
    "spiceproxy",
    "migrate",
    "clone",
    "rrd",
    "rrddata",
    "firewall",
    "snapshot",
    "resize",
    "interfaces",
];

const STATUS_PARTS: [&str; 6] = ["current", "start", "stop", "shutdown", "reboot", "migrate"];

pub(super) const ENTRIES: &[Entry] = entries![|engine, call, _upload|
    GET "/nodes/{node}/lxc" => cluster::nodes_api::guests(engine, Kind::Lxc, &call);
    POST "/nodes/{node}/lxc" => lxc::create::create(engine, call)?;
    GET "/nodes/{node}/lxc/{vmid}" => cluster::api::subdirs(&PARTS);
    DELETE "/nodes/{node}/lxc/{vmid}" => lxc::life::destroy(engine, &call)?;
    GET "/nodes/{node}/lxc/{vmid}/config" => guests::config::read(engine, Kind::Lxc, &call)?;
    PUT "/nodes/{node}/lxc/{vmid}/config" => lxc::config::write(engine, &call).await?;
    GET "/nodes/{node}/lxc/{vmid}/pending" => guests::config::read_pending(engine, Kind::Lxc, &call)?;
    GET "/nodes/{node}/lxc/{vmid}/status" => cluster::api::subdirs(&STATUS_PARTS);
    GET "/nodes/{node}/lxc/{vmid}/status/current" => super::current(engine, Kind::Lxc, &call)?;
    POST "/nodes/{node}/lxc/{vmid}/status/start" => lxc::power::power(engine, &call, "start")?;
    POST "/nodes/{node}/lxc/{vmid}/status/stop" => lxc::power::power(engine, &call, "stop")?;
    POST "/nodes/{node}/lxc/{vmid}/status/shutdown" => lxc::power::power(engine, &call, "shutdown")?;
    POST "/nodes/{node}/lxc/{vmid}/status/reboot" => lxc::power::power(engine, &call, "reboot")?;
    POST "/nodes/{node}/lxc/{vmid}/status/resume" => lxc::power::power(engine, &call, "resume")?;
    POST "/nodes/{node}/lxc/{vmid}/status/suspend" => lxc::power::power(engine, &call, "suspend")?;
    GET "/nodes/{node}/lxc/{vmid}/interfaces" => lxc::addresses::interfaces(engine, &call).await;
    PUT "/nodes/{node}/lxc/{vmid}/resize" => lxc::resize::resize(engine, &call)?;
    POST "/nodes/{node}/lxc/{vmid}/move_volume" => lxc::move_volume::move_volume(engine, &call)?;
    POST "/nodes/{node}/lxc/{vmid}/template" => lxc::life::template(engine, &call)?;
    POST "/nodes/{node}/lxc/{vmid}/clone" => lxc::clone::clone(engine, &call).await?;
    POST "/nodes/{node}/lxc/{vmid}/termproxy" => guests::console::open(engine, &call, Target::Guest(Kind::Lxc))?;
    GET "/nodes/{node}/lxc/{vmid}/vncwebsocket" => super::console_port(engine, Kind::Lxc, &call)?;
    GET "/nodes/{node}/lxc/{vmid}/feature" => guests::snapshots::feature(engine, Kind::Lxc, &call)?;
    GET "/nodes/{node}/lxc/{vmid}/firewall/options" => json!({ "digest": super::NO_RULES });
    GET "/nodes/{node}/lxc/{vmid}/snapshot" => guests::snapshots::list(engine, Kind::Lxc, &call)?;
    POST "/nodes/{node}/lxc/{vmid}/snapshot" => guests::snapshots::take(engine, Kind::Lxc, &call)?;
    GET "/nodes/{node}/lxc/{vmid}/snapshot/{snapname}" => json!([{ "cmd": "rollback" }, { "cmd": "config" }]);
    DELETE "/nodes/{node}/lxc/{vmid}/snapshot/{snapname}" => guests::snapshots::delete(engine, Kind::Lxc, &call)?;
    GET "/nodes/{node}/lxc/{vmid}/snapshot/{snapname}/config" => guests::snapshots::read(engine, Kind::Lxc, &call)?;
    PUT "/nodes/{node}/lxc/{vmid}/snapshot/{snapname}/config" =>
        guests::snapshots::describe(engine, Kind::Lxc, &call).await?;
    POST "/nodes/{node}/lxc/{vmid}/snapshot/{snapname}/rollback" =>
        guests::snapshots::roll_back(engine, Kind::Lxc, &call)?;
];
