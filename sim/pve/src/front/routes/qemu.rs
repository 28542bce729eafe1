//! Calls about virtual machines.

use serde_json::json;

use super::{Entry, entries};
use crate::engine::Call;
use crate::guests::console::Target;
use crate::world::guest::Kind;
use crate::{cluster, guests, qemu};

const PARTS: [&str; 20] = [
    "config",
    "cloudinit",
    "pending",
    "status",
    "unlink",
    "vncproxy",
    "termproxy",
    "migrate",
    "resize",
    "move",
    "rrd",
    "rrddata",
    "monitor",
    "agent",
    "snapshot",
    "spiceproxy",
    "sendkey",
    "firewall",
    "mtunnel",
    "remote_migrate",
];

const STATUS_PARTS: [&str; 7] = ["current", "start", "stop", "reset", "shutdown", "suspend", "reboot"];

pub(super) const ENTRIES: &[Entry] = entries![|engine, call, _upload|
    GET "/nodes/{node}/qemu" => cluster::nodes_api::guests(engine, Kind::Qemu, &call);
    POST "/nodes/{node}/qemu" => qemu::create::create(engine, call)?;
    GET "/nodes/{node}/qemu/{vmid}" => cluster::api::subdirs(&PARTS);
    DELETE "/nodes/{node}/qemu/{vmid}" => qemu::life::destroy(engine, &call)?;
    GET "/nodes/{node}/qemu/{vmid}/config" => guests::config::read(engine, Kind::Qemu, &call)?;
    PUT "/nodes/{node}/qemu/{vmid}/config" => qemu::config::write(engine, call, false).await?;
    POST "/nodes/{node}/qemu/{vmid}/config" => qemu::config::write(engine, call, true).await?;
    GET "/nodes/{node}/qemu/{vmid}/pending" => guests::config::read_pending(engine, Kind::Qemu, &call)?;
    PUT "/nodes/{node}/qemu/{vmid}/unlink" => qemu::config::write(engine, unlink(call), false).await?;
    GET "/nodes/{node}/qemu/{vmid}/status" => cluster::api::subdirs(&STATUS_PARTS);
    GET "/nodes/{node}/qemu/{vmid}/status/current" => super::current(engine, Kind::Qemu, &call)?;
    POST "/nodes/{node}/qemu/{vmid}/status/start" => qemu::power::start(engine, &call)?;
    POST "/nodes/{node}/qemu/{vmid}/status/stop" => qemu::power::stop(engine, &call)?;
    POST "/nodes/{node}/qemu/{vmid}/status/shutdown" => qemu::power::shutdown(engine, &call)?;
    POST "/nodes/{node}/qemu/{vmid}/status/reboot" => qemu::power::other_power_calls(engine, &call, "reboot")?;
    POST "/nodes/{node}/qemu/{vmid}/status/reset" => qemu::power::other_power_calls(engine, &call, "reset")?;
    POST "/nodes/{node}/qemu/{vmid}/status/resume" => qemu::power::other_power_calls(engine, &call, "resume")?;
    POST "/nodes/{node}/qemu/{vmid}/status/suspend" => qemu::power::other_power_calls(engine, &call, "suspend")?;
    POST "/nodes/{node}/qemu/{vmid}/clone" => qemu::clone::clone(engine, &call)?;
    POST "/nodes/{node}/qemu/{vmid}/template" => qemu::life::template(engine, &call).await?;
    PUT "/nodes/{node}/qemu/{vmid}/resize" => qemu::life::resize(engine, &call)?;
    PUT "/nodes/{node}/qemu/{vmid}/sendkey" => qemu::power::send_key(engine, &call).await?;
    GET "/nodes/{node}/qemu/{vmid}/cloudinit" => qemu::cloudinit::pending(engine, &call)?;
    PUT "/nodes/{node}/qemu/{vmid}/cloudinit" => qemu::cloudinit::regenerate(engine, &call)?;
    GET "/nodes/{node}/qemu/{vmid}/cloudinit/dump" => qemu::cloudinit::dump(engine, &call)?;
    POST "/nodes/{node}/qemu/{vmid}/termproxy" => guests::console::open(engine, &call, Target::Guest(Kind::Qemu))?;
    POST "/nodes/{node}/qemu/{vmid}/vncproxy" => guests::console::open_vnc(engine, &call)?;
    GET "/nodes/{node}/qemu/{vmid}/vncwebsocket" => super::console_port(engine, Kind::Qemu, &call)?;
    GET "/nodes/{node}/qemu/{vmid}/migrate" => qemu::life::migration(engine, &call)?;
    GET "/nodes/{node}/qemu/{vmid}/rrddata" => json!([]);
    GET "/nodes/{node}/qemu/{vmid}/feature" => guests::snapshots::feature(engine, Kind::Qemu, &call)?;
    GET "/nodes/{node}/qemu/{vmid}/firewall/options" => json!({ "digest": super::NO_RULES });
    GET "/nodes/{node}/qemu/{vmid}/snapshot" => guests::snapshots::list(engine, Kind::Qemu, &call)?;
    POST "/nodes/{node}/qemu/{vmid}/snapshot" => guests::snapshots::take(engine, Kind::Qemu, &call)?;
    GET "/nodes/{node}/qemu/{vmid}/snapshot/{snapname}" => json!([{ "cmd": "rollback" }, { "cmd": "config" }]);
    DELETE "/nodes/{node}/qemu/{vmid}/snapshot/{snapname}" => guests::snapshots::delete(engine, Kind::Qemu, &call)?;
    GET "/nodes/{node}/qemu/{vmid}/snapshot/{snapname}/config" => guests::snapshots::read(engine, Kind::Qemu, &call)?;
    PUT "/nodes/{node}/qemu/{vmid}/snapshot/{snapname}/config" =>
        guests::snapshots::describe(engine, Kind::Qemu, &call).await?;
    POST "/nodes/{node}/qemu/{vmid}/snapshot/{snapname}/rollback" =>
        guests::snapshots::roll_back(engine, Kind::Qemu, &call)?;
];

/// Calls to the guest agent.
pub(super) const AGENT_ENTRIES: &[Entry] = entries![|engine, call, _upload|
    GET "/nodes/{node}/qemu/{vmid}/agent" => qemu::agent::index();
    POST "/nodes/{node}/qemu/{vmid}/agent" => {
        let command = call.text("command").unwrap_or_default();
        qemu::agent::call(engine, &call, command).await?
    };
    POST "/nodes/{node}/qemu/{vmid}/agent/exec" => qemu::agent::call(engine, &call, "exec").await?;
    GET "/nodes/{node}/qemu/{vmid}/agent/exec-status" => qemu::agent::call(engine, &call, "exec-status").await?;
    GET "/nodes/{node}/qemu/{vmid}/agent/file-read" => qemu::agent::call(engine, &call, "file-read").await?;
    POST "/nodes/{node}/qemu/{vmid}/agent/file-write" => qemu::agent::call(engine, &call, "file-write").await?;
    POST "/nodes/{node}/qemu/{vmid}/agent/fsfreeze-freeze" =>
        qemu::agent::call(engine, &call, "fsfreeze-freeze").await?;
    POST "/nodes/{node}/qemu/{vmid}/agent/fsfreeze-status" =>
        qemu::agent::call(engine, &call, "fsfreeze-status").await?;
    POST "/nodes/{node}/qemu/{vmid}/agent/fsfreeze-thaw" => qemu::agent::call(engine, &call, "fsfreeze-thaw").await?;
    POST "/nodes/{node}/qemu/{vmid}/agent/fstrim" => qemu::agent::call(engine, &call, "fstrim").await?;
    GET "/nodes/{node}/qemu/{vmid}/agent/get-fsinfo" => qemu::agent::call(engine, &call, "get-fsinfo").await?;
    GET "/nodes/{node}/qemu/{vmid}/agent/get-host-name" => qemu::agent::call(engine, &call, "get-host-name").await?;
    GET "/nodes/{node}/qemu/{vmid}/agent/get-memory-block-info" =>
        qemu::agent::call(engine, &call, "get-memory-block-info").await?;
    GET "/nodes/{node}/qemu/{vmid}/agent/get-memory-blocks" =>
        qemu::agent::call(engine, &call, "get-memory-blocks").await?;
    GET "/nodes/{node}/qemu/{vmid}/agent/get-osinfo" => qemu::agent::call(engine, &call, "get-osinfo").await?;
    GET "/nodes/{node}/qemu/{vmid}/agent/get-time" => qemu::agent::call(engine, &call, "get-time").await?;
    GET "/nodes/{node}/qemu/{vmid}/agent/get-timezone" => qemu::agent::call(engine, &call, "get-timezone").await?;
    GET "/nodes/{node}/qemu/{vmid}/agent/get-users" => qemu::agent::call(engine, &call, "get-users").await?;
    GET "/nodes/{node}/qemu/{vmid}/agent/get-vcpus" => qemu::agent::call(engine, &call, "get-vcpus").await?;
    GET "/nodes/{node}/qemu/{vmid}/agent/info" => qemu::agent::call(engine, &call, "info").await?;
    GET "/nodes/{node}/qemu/{vmid}/agent/network-get-interfaces" =>
        qemu::agent::call(engine, &call, "network-get-interfaces").await?;
    POST "/nodes/{node}/qemu/{vmid}/agent/ping" => qemu::agent::call(engine, &call, "ping").await?;
    POST "/nodes/{node}/qemu/{vmid}/agent/set-user-password" =>
        qemu::agent::call(engine, &call, "set-user-password").await?;
    POST "/nodes/{node}/qemu/{vmid}/agent/shutdown" => qemu::agent::call(engine, &call, "shutdown").await?;
    POST "/nodes/{node}/qemu/{vmid}/agent/suspend-disk" => qemu::agent::call(engine, &call, "suspend-disk").await?;
    POST "/nodes/{node}/qemu/{vmid}/agent/suspend-hybrid" => qemu::agent::call(engine, &call, "suspend-hybrid").await?;
    POST "/nodes/{node}/qemu/{vmid}/agent/suspend-ram" => qemu::agent::call(engine, &call, "suspend-ram").await?;
];

/// Turns `PUT …/unlink` into a change of the configuration, which does the same.
fn unlink(mut call: Call) -> Call {
    if let Some(list) = call.params.take("idlist") {
        call.params.insert_text("delete", list);
    }
    call
}
