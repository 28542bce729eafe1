//! From a checked request to the handler of its call.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::engine::{Call, Engine, Halfway};
use crate::guests::console::Of;
use crate::line::Line;
use crate::params::Params;
use crate::refusal::{Body, Outcome, Refusal};
use crate::reply::Reply;
use crate::schema::{Route, validate};
use crate::storage::files::Upload;
use crate::world::state::Kind;
use crate::{access, cluster, guests, lxc, qemu, storage};

/// A request whose caller is known.
pub(crate) struct Request<'a> {
    /// The node whose server was asked.
    pub(crate) asked: &'a str,
    pub(crate) method: &'a str,
    /// Below `/api2/<format>`.
    pub(crate) path: &'a str,
    pub(crate) caller: Option<String>,
    pub(crate) params: Params,
    pub(crate) upload: Option<Upload>,
    /// A fault in the middle of the task that the call starts.
    pub(crate) halfway: Option<Halfway>,
}

/// Checks permission, node and parameters, in PVE's order, then carries the call out.
pub(crate) async fn run(engine: &Arc<Engine>, request: Request<'_>) -> Outcome<Reply> {
    if request.method == "GET" && request.path == "/" {
        return Ok(cluster::api::subdirs(&["version", "cluster", "nodes", "storage", "access", "pools"]).into());
    }
    let (route, values) = engine
        .schema
        .find(request.method, request.path)
        .map_err(|_| cluster::api::not_implemented(request.method, request.path))?;
    let mut params = request.params;
    for (name, value) in values {
        params.insert_text(&name, value);
    }
    let caller = request.caller.unwrap_or_default();
    permitted(engine, route, &caller, &params)?;
    let node = executing_node(engine, request.asked, request.method, route, &params)?;
    if request.upload.is_some() {
        params.insert_text("tmpfilename", format!("/var/tmp/pveupload-{}", "0".repeat(32)));
    }
    // Everything that the schema calls protected runs in one of three workers of its node.
    let _daemon = if route.protected { engine.daemon(&node).await } else { None };
    validate::check(&engine.schema, route, &mut params)?;
    engine.lock_cluster_file(request.method, &route.path).await?;
    let call = Call { caller, node, params, halfway: request.halfway };
    let reply = handle(engine, request.method, &route.path, call, request.upload).await?;
    engine.check_answer(request.method, route, &reply);
    Ok(reply)
}

/// The node that carries a call out: the one in its path, to which the one that was asked passes it on.
fn executing_node(engine: &Engine, asked: &str, method: &str, route: &Route, params: &Params) -> Outcome<String> {
    let named = params.text("node").filter(|node| *node != "localhost");
    let Some(node) = named.filter(|_| route.path.starts_with("/nodes/{node}")) else { return Ok(asked.to_owned()) };
    let state = engine.state();
    if !state.nodes.contains_key(node) {
        return Err(Refusal::fault(format!(
            "hostname lookup '{node}' failed - failed to get address info for: {node}: Temporary failure in name resolution"
        )));
    }
    if !state.is_online(node) && !is_carried_out_where_asked(method, &route.path) {
        return Err(Refusal::unreachable());
    }
    Ok(node.to_owned())
}

/// Calls that are about a node but are not passed on to it (no `proxyto` in PVE's schema): they reach it by SSH.
fn is_carried_out_where_asked(method: &str, path: &str) -> bool {
    let console = ["/termproxy", "/vncproxy", "/vncwebsocket"].iter().any(|end| path.ends_with(end));
    let figures = path.ends_with("/rrd") || path.ends_with("/rrddata");
    let index = matches!(path, "/nodes/{node}" | "/nodes/{node}/tasks/{upid}" | "/nodes/{node}/storage/{storage}");
    console || figures || path.ends_with("/upload") || (method == "GET" && index)
}

fn permitted(engine: &Engine, route: &Route, caller: &str, params: &Params) -> Outcome<()> {
    if route.user.as_deref() == Some("world") {
        if route.no_token && caller.contains('!') {
            return Err(no_token(&route.path));
        }
        return Ok(());
    }
    if route.no_token && caller.contains('!') {
        return Err(no_token(&route.path));
    }
    if route.user.as_deref() == Some("all") && !caller.is_empty() {
        return Ok(());
    }
    if route.check.is_null() && route.user.is_none() && caller != "root@pam" {
        return Err(Refusal::permission("user != root@pam"));
    }
    engine.state().check_declared(caller, &route.check, params)
}

fn no_token(path: &str) -> Refusal {
    let mut refusal = Refusal::permission(&format!("URI '{path}' not available with API token, need proper ticket.\n"));
    refusal.reason = refusal.reason.trim_end().to_owned();
    refusal
}

async fn handle(engine: &Arc<Engine>, method: &str, path: &str, call: Call, upload: Option<Upload>) -> Outcome<Reply> {
    if let Some(rest) = path.strip_prefix("/nodes/{node}/qemu") {
        return qemu(engine, method, rest, call).await;
    }
    if let Some(rest) = path.strip_prefix("/nodes/{node}/lxc") {
        return containers(engine, method, rest, call).await;
    }
    if path.starts_with("/access") {
        return access(engine, method, path, &call);
    }
    if path.starts_with("/nodes/{node}/storage") || path.starts_with("/storage") {
        return storage(engine, method, path, &call, upload).await;
    }
    let value = match (method, path) {
        ("GET", "/version" | "/nodes/{node}/version") => engine.state().version.clone(),
        ("GET", "/cluster/resources") => return cluster::resources::resources(engine, &call),
        ("GET", "/cluster/nextid") => cluster::api::next_id(engine, &call)?,
        ("GET", "/cluster/status") => cluster::nodes_api::cluster_status(engine, &call),
        ("GET", "/cluster/tasks") => cluster::tasks::cluster(engine, &call),
        ("GET", "/cluster/config/nodes" | "/cluster/ha/rules" | "/cluster/backup" | "/nodes/{node}/aplinfo") => {
            json!([])
        }
        ("GET", "/cluster/ha/resources") => cluster::api::ha_resources(engine, &call, "list")?,
        ("POST", "/cluster/ha/resources") => cluster::api::ha_resources(engine, &call, "add")?,
        ("DELETE", "/cluster/ha/resources/{sid}") => cluster::api::ha_resources(engine, &call, "delete")?,
        ("GET", "/cluster/ha/resources/{sid}") => cluster::api::ha_resources(engine, &call, "get")?,
        ("GET", "/cluster/ha/status/current") => cluster::membership::ha_status(engine, &call),
        ("GET", "/cluster/sdn/zones/{zone}") => {
            return Err(Refusal::fault(format!("sdn '{}' does not exist", call.text("zone").unwrap_or_default())));
        }
        ("GET", "/cluster/ha/groups") if engine.schema.line == Line::Eight => json!([]),
        ("GET", "/cluster/ha/groups") => {
            return Err(Refusal::fault("cannot index groups: ha groups have been migrated to rules"));
        }
        ("GET", "/cluster/config/join") => {
            return Err(Refusal::new(424, "node is not in a cluster, no join info available!", Body::BareMessage));
        }
        ("GET", "/nodes/{node}/firewall/options") => json!({ "digest": "da39a3ee5e6b4b0d3255bfef95601890afd80709" }),
        ("GET", "/cluster/log") => cluster::api::log(engine, &call),
        ("GET", "/nodes/{node}/capabilities/qemu/cpu") => cluster::api::processor_types(),
        ("GET", "/nodes/{node}/vzdump/defaults") => cluster::api::backup_defaults(),
        ("GET", "/nodes") => cluster::nodes_api::list(engine, &call),
        ("GET", "/nodes/{node}") => cluster::nodes_api::index(),
        ("POST", "/nodes/{node}/startall") => qemu::power::start_all(engine, &call),
        ("POST", "/nodes/{node}/stopall") => qemu::power::stop_all(engine, &call),
        ("GET", "/nodes/{node}/status") => cluster::nodes_api::status(engine, &call),
        ("GET", "/nodes/{node}/time") => {
            json!({ "localtime": engine.clock.seconds(), "time": engine.clock.seconds(), "timezone": "UTC" })
        }
        ("GET", "/nodes/{node}/dns") => json!({ "dns1": "127.0.0.1", "search": "lab" }),
        ("GET", "/nodes/{node}/network") => cluster::nodes_api::networks(engine, &call),
        ("GET", "/nodes/{node}/network/{iface}") => cluster::nodes_api::network(engine, &call)?,
        ("POST", "/nodes/{node}/termproxy") => guests::console::open(engine, &call, Of::Node)?,
        ("GET", "/nodes/{node}/tasks") => return Ok(cluster::tasks::list(engine, &call)),
        ("GET", "/nodes/{node}/tasks/{upid}") => json!([{ "name": "log" }, { "name": "status" }]),
        ("GET", "/nodes/{node}/tasks/{upid}/status") => cluster::tasks::status(engine, &call)?,
        ("GET", "/nodes/{node}/tasks/{upid}/log") => return cluster::tasks::log(engine, &call),
        ("DELETE", "/nodes/{node}/tasks/{upid}") => cluster::tasks::stop(engine, &call).await?,
        ("GET", "/pools") => access::pools::list(engine, &call)?,
        ("GET", "/pools/{poolid}") => access::pools::one(engine, &call)?,
        ("POST", "/pools") => access::pools::create(engine, &call)?,
        ("PUT", "/pools" | "/pools/{poolid}") => access::pools::update(engine, &call)?,
        ("DELETE", "/pools" | "/pools/{poolid}") => access::pools::delete(engine, &call)?,
        ("GET", "/cluster/options") => cluster::datacenter::read(engine, &call),
        ("PUT", "/cluster/options") => cluster::datacenter::write(engine, &call)?,
        _ => return Err(not_simulated(method, path)),
    };
    Ok(value.into())
}

fn not_simulated(method: &str, path: &str) -> Refusal {
    Refusal::fault(format!("not simulated: {method} {path}"))
}

async fn qemu(engine: &Arc<Engine>, method: &str, rest: &str, call: Call) -> Outcome<Reply> {
    let of = Of::Guest(Kind::Qemu);
    if let Some(outcome) = snapshot(engine, Kind::Qemu, method, rest, &call).await {
        return Ok(outcome?.into());
    }
    if let Some(command) = rest.strip_prefix("/{vmid}/agent/") {
        return Ok(qemu::agent::call(engine, &call, command).await?.into());
    }
    if method == "POST"
        && let Some(verb) = rest.strip_prefix("/{vmid}/status/")
    {
        let value = match verb {
            "start" => qemu::power::start(engine, &call)?,
            "stop" => qemu::power::stop(engine, &call)?,
            "shutdown" => qemu::power::shutdown(engine, &call)?,
            verb => qemu::power::others(engine, &call, verb)?,
        };
        return Ok(value.into());
    }
    let value = match (method, rest) {
        ("GET", "") => cluster::nodes_api::guests(engine, Kind::Qemu, &call),
        ("POST", "") => qemu::create::create(engine, call)?,
        ("GET", "/{vmid}") => cluster::api::subdirs(&[
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
        ]),
        ("DELETE", "/{vmid}") => qemu::life::destroy(engine, &call)?,
        ("GET", "/{vmid}/config") => guests::config::read(engine, Kind::Qemu, &call)?,
        ("PUT", "/{vmid}/config") => qemu::config::write(engine, call, false).await?,
        ("POST", "/{vmid}/config") => qemu::config::write(engine, call, true).await?,
        ("GET", "/{vmid}/pending") => guests::config::read_pending(engine, Kind::Qemu, &call)?,
        ("PUT", "/{vmid}/unlink") => qemu::config::write(engine, unlink(call), false).await?,
        ("GET", "/{vmid}/status") => {
            cluster::api::subdirs(&["current", "start", "stop", "reset", "shutdown", "suspend", "reboot"])
        }
        ("GET", "/{vmid}/status/current") => current(engine, Kind::Qemu, &call)?,
        ("POST", "/{vmid}/clone") => qemu::clone::clone(engine, &call)?,
        ("POST", "/{vmid}/template") => qemu::life::template(engine, &call).await?,
        ("PUT", "/{vmid}/resize") => qemu::life::resize(engine, &call)?,
        ("PUT", "/{vmid}/sendkey") => qemu::power::send_key(engine, &call).await?,
        ("GET", "/{vmid}/agent") => qemu::agent::index(),
        ("POST", "/{vmid}/agent") => {
            let command = call.text("command").unwrap_or_default().to_owned();
            qemu::agent::call(engine, &call, &command).await?
        }
        ("GET", "/{vmid}/cloudinit") => qemu::cloudinit::pending(engine, &call)?,
        ("PUT", "/{vmid}/cloudinit") => qemu::cloudinit::regenerate(engine, &call)?,
        ("GET", "/{vmid}/cloudinit/dump") => qemu::cloudinit::dump(engine, &call)?,
        ("POST", "/{vmid}/termproxy") => guests::console::open(engine, &call, of)?,
        ("POST", "/{vmid}/vncproxy") => guests::console::open_vnc(engine, &call)?,
        ("GET", "/{vmid}/migrate") => qemu::life::migration(engine, &call)?,
        ("GET", "/{vmid}/rrddata") => json!([]),
        ("GET", "/{vmid}/vncwebsocket") => {
            json!({ "port": guests::console::check_ticket(engine, &call, of)?.to_string() })
        }
        ("GET", "/{vmid}/feature") => guests::snapshots::feature(engine, Kind::Qemu, &call)?,
        ("GET", "/{vmid}/firewall/options") => json!({ "digest": "da39a3ee5e6b4b0d3255bfef95601890afd80709" }),
        _ => return Err(not_simulated(method, rest)),
    };
    Ok(value.into())
}

/// `PUT …/unlink` is a change of configuration by another name.
fn unlink(mut call: Call) -> Call {
    if let Some(list) = call.params.take("idlist") {
        call.params.insert_text("delete", list);
    }
    call
}

fn current(engine: &Engine, kind: Kind, call: &Call) -> Outcome<Value> {
    engine.guest(kind, call.vmid(), &call.node)?;
    let now = engine.clock.now();
    Ok(guests::status::current(&engine.state(), call.vmid(), now))
}

/// Calls about a guest's snapshots; `None` for other calls.
async fn snapshot(engine: &Arc<Engine>, kind: Kind, method: &str, rest: &str, call: &Call) -> Option<Outcome<Value>> {
    Some(match (method, rest.strip_prefix("/{vmid}/snapshot")?) {
        ("GET", "") => guests::snapshots::list(engine, kind, call),
        ("POST", "") => guests::snapshots::take(engine, kind, call),
        ("GET", "/{snapname}") => Ok(json!([{ "cmd": "rollback" }, { "cmd": "config" }])),
        ("DELETE", "/{snapname}") => guests::snapshots::delete(engine, kind, call),
        ("GET", "/{snapname}/config") => guests::snapshots::read(engine, kind, call),
        ("PUT", "/{snapname}/config") => guests::snapshots::describe(engine, kind, call).await,
        ("POST", "/{snapname}/rollback") => guests::snapshots::roll_back(engine, kind, call),
        _ => return None,
    })
}

async fn containers(engine: &Arc<Engine>, method: &str, rest: &str, call: Call) -> Outcome<Reply> {
    let of = Of::Guest(Kind::Lxc);
    if let Some(outcome) = snapshot(engine, Kind::Lxc, method, rest, &call).await {
        return Ok(outcome?.into());
    }
    if method == "POST"
        && let Some(verb) = rest.strip_prefix("/{vmid}/status/")
    {
        return Ok(lxc::power::power(engine, &call, verb)?.into());
    }
    let value = match (method, rest) {
        ("GET", "") => cluster::nodes_api::guests(engine, Kind::Lxc, &call),
        ("POST", "") => lxc::create::create(engine, call)?,
        ("GET", "/{vmid}") => cluster::api::subdirs(&[
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
        ]),
        ("DELETE", "/{vmid}") => lxc::life::destroy(engine, &call)?,
        ("GET", "/{vmid}/config") => guests::config::read(engine, Kind::Lxc, &call)?,
        ("PUT", "/{vmid}/config") => lxc::config::write(engine, &call).await?,
        ("GET", "/{vmid}/pending") => guests::config::read_pending(engine, Kind::Lxc, &call)?,
        ("GET", "/{vmid}/status") => {
            cluster::api::subdirs(&["current", "start", "stop", "shutdown", "reboot", "migrate"])
        }
        ("GET", "/{vmid}/status/current") => current(engine, Kind::Lxc, &call)?,
        ("GET", "/{vmid}/interfaces") => lxc::addresses::interfaces(engine, &call).await,
        ("PUT", "/{vmid}/resize") => lxc::resize::resize(engine, &call)?,
        ("POST", "/{vmid}/move_volume") => lxc::move_volume::move_volume(engine, &call)?,
        ("POST", "/{vmid}/template") => lxc::life::template(engine, &call)?,
        ("POST", "/{vmid}/clone") => lxc::clone::clone(engine, &call).await?,
        ("POST", "/{vmid}/termproxy") => guests::console::open(engine, &call, of)?,
        ("GET", "/{vmid}/vncwebsocket") => {
            json!({ "port": guests::console::check_ticket(engine, &call, of)?.to_string() })
        }
        ("GET", "/{vmid}/feature") => guests::snapshots::feature(engine, Kind::Lxc, &call)?,
        ("GET", "/{vmid}/firewall/options") => json!({ "digest": "da39a3ee5e6b4b0d3255bfef95601890afd80709" }),
        _ => return Err(not_simulated(method, rest)),
    };
    Ok(value.into())
}

fn access(engine: &Engine, method: &str, path: &str, call: &Call) -> Outcome<Reply> {
    let value = match (method, path) {
        ("GET", "/access") => cluster::api::subdirs(&[
            "users", "groups", "roles", "acl", "domains", "openid", "tfa", "ticket", "password",
        ]),
        ("GET", "/access/ticket") => Value::Null,
        ("POST", "/access/ticket") => access::session::login(engine, call)?,
        ("PUT", "/access/password") => access::session::password(engine, call)?,
        ("GET", "/access/permissions") => access::session::permissions(engine, call)?,
        ("GET", "/access/users") => access::users::users(engine, call),
        ("POST", "/access/users") => access::users::user_create(engine, call)?,
        ("GET", "/access/users/{userid}") => access::users::user(engine, call)?,
        ("PUT", "/access/users/{userid}") => access::users::user_update(engine, call)?,
        ("DELETE", "/access/users/{userid}") => access::users::user_delete(engine, call)?,
        ("GET", "/access/users/{userid}/token") => access::tokens::tokens(engine, call)?,
        ("GET", "/access/users/{userid}/token/{tokenid}") => access::tokens::token(engine, call)?,
        ("POST", "/access/users/{userid}/token/{tokenid}") => access::tokens::token_create(engine, call)?,
        ("PUT", "/access/users/{userid}/token/{tokenid}") => access::tokens::token_update(engine, call)?,
        ("DELETE", "/access/users/{userid}/token/{tokenid}") => access::tokens::token_delete(engine, call)?,
        ("GET", "/access/roles") => access::roles::roles(engine),
        ("POST", "/access/roles") => access::roles::role_change(engine, call, "create")?,
        ("GET", "/access/roles/{roleid}") => access::roles::role(engine, call)?,
        ("PUT", "/access/roles/{roleid}") => access::roles::role_change(engine, call, "update")?,
        ("DELETE", "/access/roles/{roleid}") => access::roles::role_change(engine, call, "delete")?,
        ("GET", "/access/acl") => access::acl::acl(engine, call),
        ("PUT", "/access/acl") => access::acl::acl_update(engine, call)?,
        ("GET", "/access/groups") => access::groups::groups(engine, call),
        ("POST", "/access/groups") => access::groups::group_change(engine, call, "create")?,
        ("GET", "/access/groups/{groupid}") => access::groups::group_change(engine, call, "get")?,
        ("PUT", "/access/groups/{groupid}") => access::groups::group_change(engine, call, "update")?,
        ("DELETE", "/access/groups/{groupid}") => access::groups::group_change(engine, call, "delete")?,
        ("GET", "/access/domains") => access::session::domains(),
        ("GET", "/access/tfa") => json!([]),
        _ => return Err(not_simulated(method, path)),
    };
    Ok(value.into())
}

async fn storage(
    engine: &Arc<Engine>,
    method: &str,
    path: &str,
    call: &Call,
    upload: Option<Upload>,
) -> Outcome<Reply> {
    let value = match (method, path) {
        ("GET", "/storage") => storage::api::definitions(engine, call),
        ("POST", "/storage") => storage::config::create(engine, call)?,
        ("PUT", "/storage/{storage}") => storage::config::update(engine, call)?,
        ("DELETE", "/storage/{storage}") => storage::config::delete(engine, call)?,
        ("GET", "/storage/{storage}") => storage::api::one_definition(engine, call)?,
        ("GET", "/nodes/{node}/storage") => storage::api::on_node(engine, call)?,
        ("GET", "/nodes/{node}/storage/{storage}/status") => storage::api::status(engine, call)?,
        ("GET", "/nodes/{node}/storage/{storage}/import-metadata") => {
            let volume = call.text("volume").unwrap_or_default();
            return Err(Refusal::fault(format!("unable to parse directory volume name '{volume}'")));
        }
        ("GET", "/nodes/{node}/storage/{storage}/content") => storage::content::content(engine, call)?,
        ("POST", "/nodes/{node}/storage/{storage}/content") => storage::content::allocate(engine, call).await?,
        ("GET", "/nodes/{node}/storage/{storage}/content/{volume}") => storage::content::volume(engine, call)?,
        ("DELETE", "/nodes/{node}/storage/{storage}/content/{volume}") => {
            storage::content::delete(engine, call).await?
        }
        ("POST", "/nodes/{node}/storage/{storage}/download-url") => storage::files::download(engine, call)?,
        ("POST", "/nodes/{node}/storage/{storage}/upload") => match upload {
            Some(file) => storage::files::upload(engine, call, file)?,
            None => return Err(storage::files::bad_request()),
        },
        _ => return Err(not_simulated(method, path)),
    };
    Ok(value.into())
}
