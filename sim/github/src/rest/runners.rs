//! The REST calls about runners, of repositories and organizations.

use serde_json::{Value, json};

use super::{Answer, Call};
use crate::program;
use crate::refusal::Refusal;
use crate::shapes;
use crate::world::World;
use crate::world::model::{Level, Need, Scope};
use crate::world::registration::NewRunner;

/// `…/actions/runners…`
pub(crate) fn answer(world: &mut World, call: &Call<'_>, scope: &Scope, rest: &[&str]) -> Result<Answer, Refusal> {
    let level = if call.method == "GET" { Level::Read } else { Level::Write };
    world.permit(call.caller, scope, Need::Runners(level))?;
    match (call.method, rest) {
        ("GET", []) => Ok(list(world, call, scope)),
        ("GET", ["downloads"]) => downloads(world, call),
        ("POST", ["generate-jitconfig"]) => generate_jitconfig(world, call, scope),
        ("POST", ["registration-token" | "remove-token"]) => {
            let (token, expires_at) = world.registration_token(scope, call.now);
            Ok(Answer::created(json!({ "token": token, "expires_at": shapes::whole_seconds(expires_at) })))
        }
        ("GET", [id]) => {
            let runner = id.parse().ok().and_then(|id| world.runner_in(scope, id)).ok_or(Refusal::NotFound)?;
            Ok(Answer::ok(shapes::runner(world, runner, call.now)))
        }
        ("DELETE", [id]) => {
            let id = id.parse().map_err(|_| Refusal::NotFound)?;
            world.delete_runner(scope, id, call.now)?;
            Ok(Answer::empty(204))
        }
        (_, [id, "labels", rest @ ..]) => {
            let id = id.parse().map_err(|_| Refusal::NotFound)?;
            labels(world, call, scope, id, rest)
        }
        _ => Err(Refusal::NotFound),
    }
}

fn list(world: &World, call: &Call<'_>, scope: &Scope) -> Answer {
    let all = world.listed_runners(scope, call.now).into_iter();
    let named = all.filter(|runner| call.query("name").is_none_or(|name| name == runner.name));
    let runners = named.map(|runner| shapes::runner(world, runner, call.now)).collect();
    call.page("runners", runners)
}

fn labels(world: &mut World, call: &Call<'_>, scope: &Scope, id: u64, rest: &[&str]) -> Result<Answer, Refusal> {
    let mut labels = world.runner_in(scope, id).ok_or(Refusal::NotFound)?.labels.clone();
    match (call.method, rest) {
        ("GET", []) => {}
        ("POST" | "PUT", []) => {
            if call.method == "PUT" {
                labels.clear();
            }
            for label in asked_for(&call.json()?)? {
                if world.registers(&label) && !labels.iter().any(|known| known.eq_ignore_ascii_case(&label)) {
                    labels.push(label);
                }
            }
        }
        ("DELETE", []) => labels.clear(),
        ("DELETE", [name]) => {
            let at = labels.iter().position(|known| known.eq_ignore_ascii_case(name)).ok_or(Refusal::NotFound)?;
            labels.remove(at);
        }
        _ => return Err(Refusal::NotFound),
    }
    let shown = shapes::labels(&labels);
    if let Some(runner) = world.runners.get_mut(&id) {
        runner.labels = labels;
    }
    Ok(Answer::ok(json!({ "total_count": shown.len(), "labels": shown })))
}

fn asked_for(body: &Value) -> Result<Vec<String>, Refusal> {
    let wrong = || Refusal::Invalid("Invalid request.\n\nFor 'labels', the type is wrong.".into());
    let labels = body.get("labels").filter(|labels| !labels.is_null());
    let labels = labels.ok_or_else(|| Refusal::Unsupplied(vec!["labels"]))?.as_array().ok_or_else(wrong)?;
    labels.iter().map(|label| label.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
}

/// Architectures of the simulated runner program.
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

/// Returns the newest release of the runner program, with those fields of GitHub's releases that say what to download.
pub(crate) fn latest_release(world: &World, call: &Call<'_>) -> Result<Answer, Refusal> {
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
    let runner = shapes::runner(world, runner, call.now);
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
    Ok(NewRunner {
        name: body["name"].as_str().ok_or_else(|| wrong("name"))?.to_owned(),
        labels: asked_for(&body)?,
        group: body["runner_group_id"].as_u64().ok_or_else(|| wrong("runner_group_id"))?,
        scale_set: None,
        ephemeral: true,
        work_folder: body["work_folder"].as_str().unwrap_or("_work").to_owned(),
    })
}
