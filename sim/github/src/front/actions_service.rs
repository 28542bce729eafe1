//! The Actions service for clients of scale sets: registration at the REST host, and all other calls below the URL of a
//! tenant. Calls, fields and errors follow GitHub's published client (`actions/scaleset`), because the service itself
//! has no published description.
//!
//! | Call | Answer |
//! | --- | --- |
//! | `POST /actions/runner-registration` | URL of the tenant and an admin token, for a registration token |
//! | `GET, POST …/_apis/runtime/runnerscalesets`, `GET, PATCH, DELETE …/{id}` | the sets |
//! | `POST …/{id}/sessions`, `PATCH, DELETE …/{id}/sessions/{session}` | one message session for each set |
//! | `GET …/{id}/acquirablejobs`, `POST …/{id}/acquirejobs` | offers |
//! | `POST …/{id}/generatejitconfig` | a registration |
//! | `GET …/_apis/runtime/runnergroups` | groups by name |
//! | `GET …/_apis/distributedtask/pools/0/agents`, `GET, DELETE …/{id}` | registrations |
//! | `GET <queue>`, `DELETE <queue>/{message}` | waits ≤ 50 s for a batch; acknowledges it |

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Shared;
use crate::refusal::Refusal;
use crate::shapes;
use crate::world::World;
use crate::world::model::{MessageSession, Poll, Runner, ScaleSet, Scope};
use crate::world::registration::NewRunner;

const MESSAGE_WAIT: Duration = Duration::from_secs(50);

/// First part of the path of every tenant.
pub(crate) const TENANTS: &str = "pipelines";

/// A call from a client of scale sets.
pub(crate) struct Call<'a> {
    pub(crate) method: &'a str,
    /// Decoded path below the root of all tenants.
    pub(crate) path: &'a [&'a str],
    pub(crate) query: &'a [(String, String)],
    pub(crate) body: &'a [u8],
    /// Secret after the scheme in `Authorization`.
    pub(crate) secret: &'a str,
    pub(crate) accept: &'a str,
    pub(crate) capacity: Option<usize>,
    /// Root URL of this server as the caller wrote it.
    pub(crate) root: &'a str,
    /// Root URL of this server for guests.
    pub(crate) guests: &'a str,
}

/// Status and body.
pub(crate) type Reply = (u16, Option<Value>);

type Outcome = Result<Reply, Reply>;

impl Call<'_> {
    fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn json(&self) -> Result<Value, Reply> {
        serde_json::from_slice(self.body).map_err(|_| {
            error(400, "Microsoft.VisualStudio.Services.Common.VssPropertyValidationException", "The body is not JSON.")
        })
    }
}

/// `POST /actions/runner-registration`
pub(crate) fn register(world: &mut World, call: &Call<'_>, now: Timestamp) -> Reply {
    let not_found =
        || (404, Some(json!({ "message": "Not Found", "documentation_url": "https://docs.github.com/rest" })));
    let Ok(body) = call.json() else { return not_found() };
    let Some((scope, expires_at)) = world.registration_tokens.get(call.secret).cloned() else { return not_found() };
    let path = body["url"].as_str().and_then(|url| url::Url::parse(url).ok()).map(|url| url.path().to_owned());
    let asked = path.unwrap_or_default();
    if now >= expires_at || !asked.trim_matches('/').eq_ignore_ascii_case(&scope.path()) {
        return not_found();
    }
    let age = now.duration_since(expires_at) + crate::world::registration::TOKEN_LIFE;
    if age < world.behaviour.token_propagation {
        return (401, Some(json!({ "message": "Bad credentials" })));
    }
    let ends = now + world.behaviour.admin_token_life;
    let token = world.claim(&json!({ "exp": ends.as_second(), "scp": "Actions.Runtime" }));
    let url = format!("{}/{TENANTS}/{}", call.root, tenant(&scope));
    world.service.admins.insert(token.clone(), (scope, ends));
    (200, Some(json!({ "url": url, "token_schema": "OAuthAccessToken", "token": token })))
}

/// Answers a call below the root of all tenants.
pub(crate) async fn answer(shared: &Arc<Shared>, call: &Call<'_>) -> Reply {
    match (call.method, call.path) {
        ("GET", [_, "scalesets", set, "message"]) => wait_for_message(shared, call, set).await,
        ("DELETE", [_, "scalesets", set, "message", number]) => shared.change(|world, now| {
            let (set, number) = (set.parse().unwrap_or(0), number.parse().unwrap_or(0));
            if world.delete_batch(set, call.secret, number, now) { (204, None) } else { unauthorized() }
        }),
        (_, [tenant, "_apis", rest @ ..]) => {
            shared.change(|world, now| administer(world, call, tenant, rest, now).unwrap_or_else(|refused| refused))
        }
        _ => error(404, "GitHub.Services.WebApi.VssResourceNotFoundException", "There is no such call."),
    }
}

fn administer(world: &mut World, call: &Call<'_>, tenant_id: &str, rest: &[&str], now: Timestamp) -> Outcome {
    if call.query("api-version").is_none() && !call.accept.contains("api-version=") {
        let text = format!("No api-version was supplied for the \"{}\" request.", call.method);
        return Err(error(400, "Microsoft.VisualStudio.Services.WebApi.VssVersionNotSpecifiedException", &text));
    }
    // This is the only call here that a queue's token allows.
    if let ("POST", ["runtime", "runnerscalesets", id, "acquirejobs"]) = (call.method, rest) {
        return acquire(world, call, id, now);
    }
    let scope = world.service.admins.get(call.secret).filter(|(_, ends)| now < *ends).map(|(scope, _)| scope.clone());
    let scope = scope.filter(|scope| tenant(scope) == tenant_id).ok_or_else(unauthorized)?;
    match rest {
        ["runtime", "runnerscalesets"] => sets(world, call, &scope, now),
        ["runtime", "runnerscalesets", id, rest @ ..] => {
            let set = set_in(world, &scope, id)?;
            one_set(world, call, &set, rest, now)
        }
        ["runtime", "runnergroups"] if call.method == "GET" => Ok(groups(world, call, &scope)),
        ["distributedtask", "pools", "0", "agents", rest @ ..] => agents(world, call, &scope, rest, now),
        _ => Err(error(404, "GitHub.Services.WebApi.VssResourceNotFoundException", "There is no such call.")),
    }
}

fn sets(world: &mut World, call: &Call<'_>, scope: &Scope, now: Timestamp) -> Outcome {
    match call.method {
        "GET" => {
            let group = call.query("runnerGroupId").and_then(|id| id.parse::<u64>().ok());
            let name = call.query("name");
            let found = world.service.sets.values().filter(|set| {
                set.scope.is(scope)
                    && group.is_none_or(|group| group == set.group)
                    && name.is_none_or(|name| name.eq_ignore_ascii_case(&set.name))
            });
            Ok(list(found.map(|set| describe(world, set, call.root)).collect()))
        }
        "POST" => create(world, call, scope, now),
        _ => Err(not_allowed()),
    }
}

fn create(world: &mut World, call: &Call<'_>, scope: &Scope, now: Timestamp) -> Outcome {
    let body = call.json()?;
    let name = body["name"].as_str().filter(|name| !name.is_empty());
    let name =
        name.ok_or_else(|| error(400, "System.ArgumentException", "A runner scale set needs a name."))?.to_owned();
    let group = body["runnerGroupId"].as_u64().unwrap_or(crate::world::model::DEFAULT_GROUP);
    world.group(scope, group).map_err(|_| no_group(group))?;
    is_free(world, scope, group, &name, None)?;
    let labels = body["labels"].as_array().into_iter().flatten().filter_map(|label| {
        Some((label["type"].as_str().unwrap_or("System").to_owned(), label["name"].as_str()?.to_owned()))
    });
    let labels = labels.filter(|(_, label)| world.registers(label)).collect();
    world.service.next_set += 1;
    let id = world.service.next_set;
    let set = ScaleSet {
        id,
        scope: scope.clone(),
        name,
        group,
        labels,
        disable_update: body["RunnerSetting"]["disableUpdate"] == true,
        created_on: now,
        queue: crate::world::model::MessageQueue::new(now),
    };
    world.service.sets.insert(id, set.clone());
    Ok((200, Some(describe(world, &set, call.root))))
}

/// Refuses a name that another set of the same group has. `own` is the set that is being renamed.
fn is_free(world: &World, scope: &Scope, group: u64, name: &str, own: Option<u64>) -> Result<(), Reply> {
    let taken = |set: &ScaleSet| {
        Some(set.id) != own && set.scope.is(scope) && set.group == group && set.name.eq_ignore_ascii_case(name)
    };
    if !world.service.sets.values().any(taken) {
        return Ok(());
    }
    let text = format!("Runner scale set {name} already exists.");
    Err(error(409, "GitHub.Actions.Runtime.WebApi.RunnerScaleSetExistsException", &text))
}

fn one_set(world: &mut World, call: &Call<'_>, set: &ScaleSet, rest: &[&str], now: Timestamp) -> Outcome {
    match (call.method, rest) {
        ("GET", []) => Ok((200, Some(describe(world, set, call.root)))),
        ("PATCH", []) => update(world, call, set),
        ("DELETE", []) => {
            world.remove_scale_set(set.id);
            Ok((204, None))
        }
        ("POST", ["sessions"]) => {
            let owner = call.json()?["ownerName"].as_str().unwrap_or_default().to_owned();
            match world.open_message_session(set.id, &owner, now) {
                Some(session) => Ok((200, Some(describe_session(world, set, &session, call.root)))),
                None => {
                    let text = format!("The actions runner scaleset {} already has an active session.", set.name);
                    Err(error(409, "GitHub.Actions.Runtime.WebApi.RunnerScaleSetSessionConflictException", &text))
                }
            }
        }
        ("PATCH", ["sessions", id]) => match world.refresh_message_session(set.id, id, now) {
            Some(session) => Ok((200, Some(describe_session(world, set, &session, call.root)))),
            None => Err(no_session(id)),
        },
        ("DELETE", ["sessions", id]) => match world.close_message_session(set.id, id, now) {
            true => Ok((204, None)),
            false => Err(no_session(id)),
        },
        ("GET", ["acquirablejobs"]) => match world.acquirable(set.id) {
            open if open.is_empty() => Ok((204, None)),
            open => Ok(list(open)),
        },
        ("POST", ["generatejitconfig"]) => mint(world, call, set, now),
        _ => Err(not_allowed()),
    }
}

fn update(world: &mut World, call: &Call<'_>, set: &ScaleSet) -> Outcome {
    let body = call.json()?;
    let group = body["runnerGroupId"].as_u64().filter(|group| *group != 0).unwrap_or(set.group);
    world.group(&set.scope, group).map_err(|_| no_group(group))?;
    let name = body["name"].as_str().filter(|name| !name.is_empty()).unwrap_or(&set.name).to_owned();
    is_free(world, &set.scope, group, &name, Some(set.id))?;
    let Some(known) = world.service.sets.get_mut(&set.id) else { return Err(no_set(&set.id.to_string())) };
    known.name = name;
    known.group = group;
    if let Some(disable) = body["RunnerSetting"]["disableUpdate"].as_bool() {
        known.disable_update = disable;
    }
    // Labels are accepted and have no effect.
    let changed = known.clone();
    Ok((200, Some(describe(world, &changed, call.root))))
}

fn acquire(world: &mut World, call: &Call<'_>, id: &str, now: Timestamp) -> Outcome {
    let set = id.parse().ok().filter(|id| world.service.sets.contains_key(id)).ok_or_else(|| no_set(id))?;
    if !world.reads_queue(set, call.secret, now) {
        return Err(unauthorized());
    }
    let body = call.json()?;
    let requests: Vec<u64> = body.as_array().into_iter().flatten().filter_map(Value::as_u64).collect();
    let taken = world.acquire_for_set(set, &requests, now).into_iter().map(Value::from).collect();
    Ok(list(taken))
}

fn mint(world: &mut World, call: &Call<'_>, set: &ScaleSet, now: Timestamp) -> Outcome {
    let body = call.json()?;
    let new = NewRunner {
        name: body["name"].as_str().unwrap_or_default().to_owned(),
        labels: set.labels.iter().map(|(_, name)| name.clone()).collect(),
        group: set.group,
        scale_set: Some(set.id),
        ephemeral: true,
        work_folder: body["workFolder"].as_str().filter(|folder| !folder.is_empty()).unwrap_or("_work").to_owned(),
    };
    let name = new.name.clone();
    match world.mint(&set.scope, new, call.guests, now) {
        Ok((id, encoded)) => {
            let runner = json!({ "id": id, "name": name, "runnerScaleSetId": set.id });
            Ok((200, Some(json!({ "runner": runner, "encodedJITConfig": encoded }))))
        }
        Err(Refusal::Conflict(_)) => {
            let text = format!("Already exists - A runner with the name {name} already exists.");
            Err(error(409, "GitHub.DistributedTask.WebApi.AgentExistsException", &text))
        }
        Err(refused) => {
            let text = refused.body()["message"].as_str().unwrap_or_default().to_owned();
            Err(error(400, "System.ArgumentException", &text))
        }
    }
}

fn agents(world: &mut World, call: &Call<'_>, scope: &Scope, rest: &[&str], now: Timestamp) -> Outcome {
    let reference = |runner: &Runner| json!({ "id": runner.id, "name": runner.name, "runnerScaleSetId": runner.scale_set.unwrap_or(0) });
    match (call.method, rest) {
        ("GET", []) => {
            let name = call.query("agentName");
            let found = world.runners_in(scope).filter(|runner| name.is_none_or(|name| name == runner.name));
            Ok(list(found.map(reference).collect()))
        }
        ("GET", [id]) => {
            let runner = id.parse().ok().and_then(|id| world.runner_in(scope, id)).ok_or_else(|| no_agent(id))?;
            Ok((200, Some(reference(runner))))
        }
        ("DELETE", [id]) => {
            let number = id.parse().map_err(|_| no_agent(id))?;
            match world.delete_runner(scope, number, now) {
                Ok(()) => Ok((204, None)),
                Err(Refusal::NotFound) => Err(no_agent(id)),
                Err(_) => {
                    let text = format!("Runner {id} is still running a job.");
                    Err(error(400, "GitHub.DistributedTask.WebApi.JobStillRunningException", &text))
                }
            }
        }
        _ => Err(not_allowed()),
    }
}

fn groups(world: &World, call: &Call<'_>, scope: &Scope) -> Reply {
    let all = match scope {
        Scope::Organization(_) | Scope::Enterprise(_) => world.groups_of(&scope.path()),
        Scope::Repository(_) => world.group(scope, crate::world::model::DEFAULT_GROUP).into_iter().collect(),
    };
    let named = all.iter().filter(|group| call.query("groupName").is_none_or(|n| n.eq_ignore_ascii_case(&group.name)));
    let found = named.map(|group| {
        let size = world.runners_of_group(scope, group.id).count();
        json!({ "id": group.id, "name": group.name, "size": size, "isDefaultGroup": group.id == crate::world::model::DEFAULT_GROUP })
    });
    list(found.collect())
}

/// Guard of a waiting poll. It ends the poll also when the client disconnects.
struct Polling {
    shared: Arc<Shared>,
    set: u64,
    session: String,
}

impl Drop for Polling {
    fn drop(&mut self) {
        self.shared.change(|world, now| world.polling(self.set, &self.session, false, now));
    }
}

async fn wait_for_message(shared: &Arc<Shared>, call: &Call<'_>, set: &str) -> Reply {
    let Ok(set) = set.parse() else { return no_set(set) };
    let session = call.query("sessionId").unwrap_or_default().to_owned();
    let last = call.query("lastMessageId").and_then(|number| number.parse().ok()).unwrap_or(0);
    let mut deadline = shared.deadline(MESSAGE_WAIT);
    shared.change(|world, now| {
        world.polling(set, &session, true, now);
        if let Some(set) = world.service.sets.get_mut(&set) {
            set.queue.capacity = call.capacity.or(set.queue.capacity);
        }
    });
    let _polling = Polling { shared: Arc::clone(shared), set, session: session.clone() };
    loop {
        let (poll, statistics) = shared.read_mut(|world, now| {
            let poll = world.poll(set, &session, call.secret, last, now);
            (poll, world.statistics(set))
        });
        match poll {
            Poll::Message(number, batch) => {
                let body = Value::Array(batch).to_string();
                let kind = "RunnerScaleSetJobMessages";
                let message =
                    json!({ "messageId": number, "messageType": kind, "body": body, "statistics": statistics });
                return (200, Some(message));
            }
            Poll::BadToken => return unauthorized(),
            Poll::Gone => return no_session(&session),
            Poll::Nothing => {}
        }
        if !shared.changed(&mut deadline).await {
            return (202, None);
        }
    }
}

fn set_in(world: &World, scope: &Scope, id: &str) -> Result<ScaleSet, Reply> {
    let set = id.parse().ok().and_then(|id: u64| world.service.sets.get(&id)).filter(|set| set.scope.is(scope));
    set.cloned().ok_or_else(|| no_set(id))
}

fn describe(world: &World, set: &ScaleSet, root: &str) -> Value {
    let labels: Vec<Value> = set.labels.iter().map(|(kind, name)| json!({ "type": kind, "name": name })).collect();
    let base = format!("{root}/{TENANTS}/{}/_apis/runtime/runnerscalesets/{}", tenant(&set.scope), set.id);
    json!({
        "id": set.id,
        "name": set.name,
        "runnerGroupId": set.group,
        "runnerGroupName": world.group(&set.scope, set.group).map(|group| group.name).unwrap_or_default(),
        "labels": labels,
        "RunnerSetting": { "ephemeral": true, "disableUpdate": set.disable_update },
        "createdOn": shapes::whole_seconds(set.created_on),
        "runnerJitConfigUrl": format!("{base}/generatejitconfig"),
        "statistics": world.statistics(set.id),
    })
}

fn describe_session(world: &World, set: &ScaleSet, session: &MessageSession, root: &str) -> Value {
    let queue = format!("{root}/{TENANTS}/{}/scalesets/{}/message", tenant(&set.scope), set.id);
    json!({
        "sessionId": session.id,
        "ownerName": session.owner,
        "runnerScaleSet": describe(world, set, root),
        "messageQueueUrl": format!("{queue}?sessionId={}", session.id),
        "messageQueueAccessToken": session.token,
        "statistics": world.statistics(set.id),
    })
}

/// Returns the tenant of a scope.
fn tenant(scope: &Scope) -> String {
    format!("{:08x}", shapes::number_of(&scope.path().to_lowercase()))
}

fn list(value: Vec<Value>) -> Reply {
    (200, Some(json!({ "count": value.len(), "value": value })))
}

fn error(status: u16, kind: &str, message: &str) -> Reply {
    let key = kind.rsplit('.').next().unwrap_or(kind);
    let assembly = kind.trim_end_matches(key).trim_end_matches('.');
    let body = json!({
        "$id": "1",
        "innerException": null,
        "message": message,
        "typeName": format!("{kind}, {assembly}"),
        "typeKey": key,
        "errorCode": 0,
        "eventId": 3000,
    });
    (status, Some(body))
}

fn unauthorized() -> Reply {
    error(401, "GitHub.Services.Security.AccessCheckException", "The token is not valid, or not any more.")
}

fn not_allowed() -> Reply {
    error(405, "GitHub.Services.WebApi.VssMethodNotAllowedException", "There is no such method here.")
}

fn no_set(id: &str) -> Reply {
    let text = format!("No runner scale set found with identifier {id}.");
    error(404, "GitHub.Actions.Runtime.WebApi.RunnerScaleSetNotFoundException", &text)
}

fn no_session(id: &str) -> Reply {
    let text = format!("No session found with identifier {id}.");
    error(404, "GitHub.Actions.Runtime.WebApi.RunnerScaleSetSessionNotFoundException", &text)
}

fn no_group(id: u64) -> Reply {
    let text = format!("No runner group found with identifier {id}.");
    error(404, "GitHub.Actions.Runtime.WebApi.RunnerGroupNotFoundException", &text)
}

fn no_agent(id: &str) -> Reply {
    let text = format!("No agent found with identifier {id}.");
    error(404, "GitHub.DistributedTask.WebApi.AgentNotFoundException", &text)
}
