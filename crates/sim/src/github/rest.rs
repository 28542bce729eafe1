//! The REST calls: from a request to an answer, on the world alone.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::access::{Level, Need};
use super::json;
use super::model::{Run, Scope};
use super::program;
use super::refusal::Refusal;
use super::registration::NewRunner;
use super::world::World;

/// A REST call, taken apart.
pub(super) struct Call<'a> {
    pub(super) method: &'a str,
    /// Decoded path segments.
    pub(super) path: Vec<String>,
    pub(super) query: Vec<(String, String)>,
    pub(super) body: &'a [u8],
    pub(super) token: &'a str,
    /// Root of the API as the caller knows it.
    pub(super) api: &'a str,
    /// Root of this server as guests reach it.
    pub(super) guests: &'a str,
    pub(super) now: Timestamp,
}

/// An answer: status, body, and for a list the number of the last page.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Option<Value>,
    pub(super) pages: Option<Pages>,
}

/// Where in a list an answer is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pages {
    pub(super) page: usize,
    pub(super) last: usize,
}

impl Answer {
    fn ok(body: Value) -> Self {
        Self { status: 200, body: Some(body), pages: None }
    }

    fn created(body: Value) -> Self {
        Self { status: 201, body: Some(body), pages: None }
    }
}

impl Call<'_> {
    fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// One page of `all` below the name `field`.
    fn page(&self, field: &str, all: Vec<Value>) -> Answer {
        let number = |name| self.query(name).and_then(|text| text.parse::<usize>().ok()).filter(|n| *n > 0);
        let size = number("per_page").unwrap_or(30).min(100);
        let page = number("page").unwrap_or(1);
        let total = all.len();
        let entries: Vec<Value> = all.into_iter().skip((page - 1).saturating_mul(size)).take(size).collect();
        let last = total.div_ceil(size).max(1);
        Answer { pages: Some(Pages { page, last }), ..Answer::ok(json!({ "total_count": total, field: entries })) }
    }
}

/// Whether anybody may ask for it.
pub(super) fn is_public(path: &str) -> bool {
    path == "/repos/actions/runner/releases/latest"
}

/// Answers a call. The caller has recognized the token.
pub(super) fn answer(world: &mut World, call: &Call<'_>) -> Result<Answer, Refusal> {
    let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
    match path.as_slice() {
        ["repos", "actions", "runner", "releases", "latest"] if call.method == "GET" => latest_release(world, call),
        ["repos", owner, repo, "actions", rest @ ..] => {
            repository_actions(world, call, &Scope::Repository(format!("{owner}/{repo}")), rest)
        }
        ["orgs", login, "actions", "runners", rest @ ..] => {
            runners(world, call, &Scope::Organization((*login).to_owned()), rest)
        }
        _ => Err(Refusal::NotFound),
    }
}

fn repository_actions(world: &mut World, call: &Call<'_>, scope: &Scope, rest: &[&str]) -> Result<Answer, Refusal> {
    if let ["runners", rest @ ..] = rest {
        return runners(world, call, scope, rest);
    }
    world.permit(call.token, scope, Need::Actions(Level::Read))?;
    match (call.method, rest) {
        ("GET", ["runs"]) => Ok(list_runs(world, call, scope)),
        ("GET", ["runs", id, "jobs"]) => list_jobs(world, call, scope, id),
        ("GET", ["jobs", id]) => one_job(world, call, scope, id),
        _ => Err(Refusal::NotFound),
    }
}

fn list_runs(world: &World, call: &Call<'_>, scope: &Scope) -> Answer {
    let wanted = |run: &&Run| {
        let (status, conclusion) = json::run_status(world, run);
        let status_fits = call.query("status").is_none_or(|word| word == status || Some(word) == conclusion.as_deref());
        let event_fits = call.query("event").is_none_or(|event| event == run.event);
        scope.covers(&run.repository) && status_fits && event_fits
    };
    // Newest first, as GitHub lists them.
    let runs = world.runs.values().rev().filter(wanted).map(|run| json::run(world, run, call.api)).collect();
    call.page("workflow_runs", runs)
}

fn list_jobs(world: &World, call: &Call<'_>, scope: &Scope, id: &str) -> Result<Answer, Refusal> {
    let run = id.parse().ok().and_then(|id: u64| world.runs.get(&id)).filter(|run| scope.covers(&run.repository));
    let run = run.ok_or(Refusal::NotFound)?;
    let jobs = run.jobs.iter().filter_map(|id| world.job(*id)).map(|job| json::job(job, &run.event, call.api));
    Ok(call.page("jobs", jobs.collect()))
}

fn one_job(world: &World, call: &Call<'_>, scope: &Scope, id: &str) -> Result<Answer, Refusal> {
    let job = id.parse().ok().and_then(|id| world.job(id)).filter(|job| scope.covers(&job.repository));
    let job = job.ok_or(Refusal::NotFound)?;
    let event = world.runs.get(&job.run_id).map_or("", |run| run.event.as_str());
    Ok(Answer::ok(json::job(job, event, call.api)))
}

fn runners(world: &mut World, call: &Call<'_>, scope: &Scope, rest: &[&str]) -> Result<Answer, Refusal> {
    let level = if call.method == "GET" { Level::Read } else { Level::Write };
    world.permit(call.token, scope, Need::Runners(level))?;
    match (call.method, rest) {
        ("GET", []) => Ok(list_runners(world, call, scope)),
        ("GET", ["downloads"]) => downloads(world, call),
        ("POST", ["generate-jitconfig"]) => generate_jitconfig(world, call, scope),
        ("POST", ["registration-token"]) => {
            let (token, expires_at) = world.registration_token(scope, call.now);
            Ok(Answer::created(json!({ "token": token, "expires_at": json::whole(expires_at) })))
        }
        ("GET", [id]) => {
            let runner = id.parse().ok().and_then(|id| world.runner_in(scope, id)).ok_or(Refusal::NotFound)?;
            Ok(Answer::ok(json::runner(world, runner, call.now)))
        }
        ("DELETE", [id]) => {
            let id = id.parse().map_err(|_| Refusal::NotFound)?;
            world.delete_runner(scope, id)?;
            Ok(Answer { status: 204, body: None, pages: None })
        }
        _ => Err(Refusal::NotFound),
    }
}

fn list_runners(world: &World, call: &Call<'_>, scope: &Scope) -> Answer {
    let named = world.runners_in(scope).filter(|runner| call.query("name").is_none_or(|name| name == runner.name));
    let runners = named.map(|runner| json::runner(world, runner, call.now)).collect();
    call.page("runners", runners)
}

/// Architectures that the stand-in runner program is offered for.
const ARCHITECTURES: [&str; 2] = ["x64", "arm64"];

fn downloads(world: &World, call: &Call<'_>) -> Result<Answer, Refusal> {
    let version = &world.behaviour.runner_version;
    let archive = packed(version)?;
    let entry = |architecture: &str| {
        json!({
            "os": "linux",
            "architecture": architecture,
            "download_url": program::url(call.guests, architecture, version),
            "filename": program::filename(architecture, version),
            "sha256_checksum": archive.sha256,
        })
    };
    Ok(Answer::ok(json!(ARCHITECTURES.map(entry))))
}

/// The newest release of the runner program: the fields that say what to fetch, as GitHub's releases have them.
fn latest_release(world: &World, call: &Call<'_>) -> Result<Answer, Refusal> {
    let version = &world.behaviour.runner_version;
    let archive = packed(version)?;
    let url = format!("{}/repos/actions/runner/releases/1", call.api);
    let asset = |architecture: &str| {
        json!({
            "name": program::filename(architecture, version),
            "content_type": "application/x-gzip",
            "size": archive.content.len(),
            "digest": format!("sha256:{}", archive.sha256),
            "browser_download_url": program::url(call.guests, architecture, version),
        })
    };
    let (tag, assets) = (format!("v{version}"), ARCHITECTURES.map(asset));
    Ok(Answer::ok(
        json!({ "url": url, "id": 1, "tag_name": tag, "name": tag, "draft": false, "prerelease": false, "assets": assets }),
    ))
}

fn packed(version: &str) -> Result<program::Archive, Refusal> {
    program::pack(version).map_err(|error| Refusal::Invalid(error.to_string()))
}

fn generate_jitconfig(world: &mut World, call: &Call<'_>, scope: &Scope) -> Result<Answer, Refusal> {
    let new = new_runner(call.body)?;
    let (id, encoded) = world.mint(scope, new, call.guests, call.now)?;
    let runner = world.runner_in(scope, id).ok_or(Refusal::NotFound)?;
    let runner = json::runner(world, runner, call.now);
    Ok(Answer::created(json!({ "runner": runner, "encoded_jit_config": encoded })))
}

fn new_runner(body: &[u8]) -> Result<NewRunner, Refusal> {
    let body: Value = serde_json::from_slice(body).map_err(|_| Refusal::BadJson)?;
    let required = ["name", "runner_group_id", "labels"];
    let missing: Vec<&str> = required.into_iter().filter(|field| body.get(field).is_none_or(Value::is_null)).collect();
    if !missing.is_empty() {
        return Err(Refusal::Unsupplied(missing));
    }
    let wrong = |field: &str| Refusal::Invalid(format!("Invalid request.\n\nFor '{field}', the type is wrong."));
    let labels = body["labels"].as_array().ok_or_else(|| wrong("labels"))?;
    let labels = labels.iter().map(|label| label.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>();
    Ok(NewRunner {
        name: body["name"].as_str().ok_or_else(|| wrong("name"))?.to_owned(),
        labels: labels.ok_or_else(|| wrong("labels"))?,
        group: body["runner_group_id"].as_u64().ok_or_else(|| wrong("runner_group_id"))?,
        ephemeral: true,
        work_folder: body["work_folder"].as_str().unwrap_or("_work").to_owned(),
    })
}
