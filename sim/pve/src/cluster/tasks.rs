//! Lists, status and log of tasks; stopping tasks.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::access::user_of;
use crate::engine::{Call, Engine};
use crate::params::split_list;
use crate::refusal::{Outcome, Refusal};
use crate::reply::Reply;
use crate::world::state::Task;

/// Returns true if a UPID has all its parts.
fn parses(upid: &str) -> bool {
    let parts: Vec<&str> = upid.split(':').collect();
    parts.len() == 9
        && parts[0] == "UPID"
        && parts[8].is_empty()
        && parts[2..5].iter().all(|p| !p.is_empty() && p.chars().all(|c| c.is_ascii_hexdigit()))
}

fn parse(upid: &str) -> Outcome<()> {
    if parses(upid) { Ok(()) } else { Err(Refusal::parameter("upid", "unable to parse worker upid")) }
}

fn owned(caller: &str, task_user: &str) -> bool {
    caller == task_user || (!caller.contains('!') && user_of(task_user) == caller)
}

fn upid_user(upid: &str) -> &str {
    upid.split(':').nth(7).unwrap_or_default()
}

fn row(task: &Task) -> Map<String, Value> {
    let mut row = Map::new();
    row.insert("upid".into(), json!(task.upid));
    row.insert("node".into(), json!(task.node));
    row.insert("pid".into(), json!(task.pid));
    row.insert("pstart".into(), json!(task.pstart));
    row.insert("starttime".into(), json!(task.start));
    row.insert("type".into(), json!(task.kind));
    row.insert("id".into(), json!(task.id));
    row
}

fn with_user(row: &mut Map<String, Value>, user: &str) {
    let (user, token) = user.split_once('!').map_or((user, None), |(user, token)| (user, Some(token)));
    row.insert("user".into(), json!(user));
    if let Some(token) = token {
        row.insert("tokenid".into(), json!(token));
    }
}

pub(crate) fn status(engine: &Engine, call: &Call) -> Outcome<Value> {
    let upid = call.text("upid").unwrap_or_default();
    parse(upid)?;
    let state = engine.state();
    let Some(task) = state.tasks.iter().rev().find(|task| task.upid == upid && task.node == call.node) else {
        return Err(Refusal::parameter("upid", "no such task"));
    };
    if !owned(&call.caller, upid_user(upid)) {
        state.require(&call.caller, &format!("/nodes/{}", call.node), &["Sys.Audit"])?;
    }
    let mut out = row(task);
    with_user(&mut out, &task.user);
    out.insert("status".into(), json!(if task.end.is_some() { "stopped" } else { "running" }));
    if let Some((_, exit)) = &task.end {
        out.insert("exitstatus".into(), json!(exit));
    }
    Ok(Value::Object(out))
}

pub(crate) fn log(engine: &Engine, call: &Call) -> Outcome<Reply> {
    let upid = call.text("upid").unwrap_or_default();
    parse(upid)?;
    let state = engine.state();
    if !owned(&call.caller, upid_user(upid)) {
        state.require(&call.caller, &format!("/nodes/{}", call.node), &["Sys.Audit"])?;
    }
    let download = call.params.flag("download");
    if download && (call.params.has("start") || call.params.has("limit")) {
        return Err(Refusal::fault("'download' cannot be used together with 'start' or 'limit' parameters"));
    }
    let lines: Vec<String> = match state.tasks.iter().rev().find(|task| task.upid == upid) {
        Some(task) => task.log.clone(),
        None => vec!["unable to open file - No such file or directory".to_owned()],
    };
    if download {
        return Ok(Reply::Text(lines.iter().map(|line| format!("{line}\n")).collect()));
    }
    let start = call.params.number("start").and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
    let limit = call.params.number("limit").and_then(|n| usize::try_from(n).ok()).unwrap_or(50);
    let limit = if limit == 0 { usize::MAX } else { limit };
    let lines = if lines.is_empty() { vec!["no content".to_owned()] } else { lines };
    let total = lines.len();
    let shown: Vec<Value> =
        lines.iter().enumerate().skip(start).take(limit).map(|(at, text)| json!({ "n": at + 1, "t": text })).collect();
    Ok(Reply::with(json!(shown), [("total", json!(total))]))
}

pub(crate) async fn stop(engine: &Arc<Engine>, call: &Call) -> Outcome<Value> {
    let upid = call.text("upid").unwrap_or_default();
    parse(upid)?;
    if !engine.state().tasks.iter().any(|task| task.upid == upid && task.node == call.node) {
        return Err(Refusal::parameter("upid", "no such task"));
    }
    if !owned(&call.caller, upid_user(upid)) {
        engine.state().require(&call.caller, &format!("/nodes/{}", call.node), &["Sys.Modify"])?;
    }
    if engine.interrupt(upid) {
        engine.ended(upid).await;
    }
    Ok(Value::Null)
}

pub(crate) fn list(engine: &Engine, call: &Call) -> Reply {
    let state = engine.state();
    let auditor = state.may(&call.caller, &format!("/nodes/{}", call.node), "Sys.Audit");
    let source = call.text("source").unwrap_or("archive");
    let mine: Vec<&Task> = state
        .tasks
        .iter()
        .rev()
        .filter(|task| task.node == call.node && (auditor || owned(&call.caller, &task.user)))
        .filter(|task| wanted(task, call))
        .collect();
    let active = mine.iter().filter(|task| task.end.is_none());
    let ended = mine.iter().filter(|task| task.end.is_some());
    let rows: Vec<Value> = match source {
        "active" => active.map(|task| active_row(task)).collect(),
        "all" => active.map(|task| active_row(task)).chain(ended.map(|task| archived_row(task))).collect(),
        _ => ended.map(|task| archived_row(task)).collect(),
    };
    let total = rows.len();
    let start = call.params.number("start").and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
    let limit = call.params.number("limit").and_then(|n| usize::try_from(n).ok()).unwrap_or(50);
    let shown: Vec<Value> = rows.into_iter().skip(start).take(limit).collect();
    // An empty list has no total.
    if total == 0 {
        return json!([]).into();
    }
    Reply::with(json!(shown), [("total", json!(total))])
}

fn active_row(task: &Task) -> Value {
    let mut out = row(task);
    out.insert("saved".into(), json!("0"));
    out.insert("status".into(), json!("RUNNING"));
    out.insert("user".into(), json!(task.user));
    Value::Object(out)
}

fn archived_row(task: &Task) -> Value {
    let mut out = row(task);
    with_user(&mut out, &task.user);
    if let Some((end, exit)) = &task.end {
        out.insert("endtime".into(), json!(end));
        out.insert("status".into(), json!(exit));
    }
    Value::Object(out)
}

fn wanted(task: &Task, call: &Call) -> bool {
    let exit = task.end.as_ref().map_or("", |(_, exit)| exit.as_str());
    let class = match exit {
        "OK" => "ok",
        text if text.starts_with("WARNINGS: ") => "warning",
        "" => "unknown",
        _ => "error",
    };
    let filters = split_list(call.text("statusfilter").unwrap_or_default());
    let at_least = |name: &str| call.params.number(name).and_then(|n| u64::try_from(n).ok());
    call.text("vmid").is_none_or(|vmid| task.id == vmid)
        && call.text("typefilter").is_none_or(|kind| task.kind == kind)
        && call.text("userfilter").is_none_or(|user| task.user.contains(user))
        && match call.params.flag("errors") {
            // Source: `node_tasks` in pve-manager's `API2/Tasks.pm`.
            true => class != "ok",
            false => filters.is_empty() || filters.iter().any(|f| f == class),
        }
        && at_least("since").is_none_or(|since| task.start >= since)
        && at_least("until").is_none_or(|until| task.start <= until)
}

/// `GET /cluster/tasks`
pub(crate) fn cluster(engine: &Engine, call: &Call) -> Value {
    let state = engine.state();
    let auditor = state.may(&call.caller, "/", "Sys.Audit");
    let rows =
        state.tasks.iter().rev().filter(|task| auditor || owned(&call.caller, &task.user)).take(25).map(|task| {
            let mut out = row(task);
            out.remove("pstart");
            with_user(&mut out, &task.user);
            match &task.end {
                Some((end, exit)) => {
                    out.remove("pid");
                    out.insert("endtime".into(), json!(end));
                    out.insert("status".into(), json!(exit));
                    out.insert("saved".into(), json!("1"));
                }
                None => {
                    out.insert("saved".into(), json!("0"));
                }
            }
            Value::Object(out)
        });
    json!(rows.collect::<Vec<_>>())
}
