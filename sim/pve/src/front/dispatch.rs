//! The way from an authenticated request to the handler of its call.

use std::sync::Arc;

use crate::cluster;
use crate::engine::{Call, Engine, TaskFault};
use crate::params::Params;
use crate::refusal::{Outcome, Refusal};
use crate::reply::Reply;
use crate::schema::{Route, validate};
use crate::storage::upload::Upload;

/// A request whose caller is authenticated.
pub(crate) struct Request<'a> {
    /// Name of the node that received the request.
    pub(crate) asked: &'a str,
    pub(crate) method: &'a str,
    /// Path below `/api2/<format>`.
    pub(crate) path: &'a str,
    pub(crate) caller: Option<String>,
    pub(crate) params: Params,
    pub(crate) upload: Option<Upload>,
    /// Fault in the middle of the task that the call starts.
    pub(crate) task_fault: Option<TaskFault>,
}

/// Checks permission, node and parameters in PVE's order, then carries the call out.
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
    // A protected call runs in one of the three workers of its node.
    let daemon = if route.protected { engine.daemon(&node).await } else { None };
    if daemon.is_some() && !engine.worker_time.is_zero() {
        engine.wait(engine.worker_time).await;
    }
    validate::check(&engine.schema, route, &mut params)?;
    engine.lock_cluster_file(request.method, &route.path).await?;
    let call = Call { caller, node, params, task_fault: request.task_fault };
    let handler = engine.handlers.of(route.place).ok_or_else(|| not_simulated(route))?;
    let reply = handler(engine, call, request.upload).await?;
    engine.check_answer(request.method, route, &reply);
    Ok(reply)
}

/// Returns the node that carries a call out: the node in the call's path, to which PVE forwards it.
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

/// Returns true for calls about a node that PVE does not forward (its schema has no `proxyto` for them). They reach the
/// node by SSH.
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

fn not_simulated(route: &Route) -> Refusal {
    Refusal::fault(format!("not simulated: {} {}", route.method, route.path))
}

fn no_token(path: &str) -> Refusal {
    let mut refusal = Refusal::permission(&format!("URI '{path}' not available with API token, need proper ticket.\n"));
    refusal.reason = refusal.reason.trim_end().to_owned();
    refusal
}
