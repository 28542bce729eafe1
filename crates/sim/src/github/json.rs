//! Bodies of answers, in GitHub's shape.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::model::{Job, JobState, Run, Runner};
use super::world::World;

/// Fields of a repository that are its API URL with something behind it.
const REPOSITORY_URLS: [(&str, &str); 38] = [
    ("archive_url", "/{archive_format}{/ref}"),
    ("assignees_url", "/assignees{/user}"),
    ("blobs_url", "/git/blobs{/sha}"),
    ("branches_url", "/branches{/branch}"),
    ("collaborators_url", "/collaborators{/collaborator}"),
    ("comments_url", "/comments{/number}"),
    ("commits_url", "/commits{/sha}"),
    ("compare_url", "/compare/{base}...{head}"),
    ("contents_url", "/contents/{+path}"),
    ("contributors_url", "/contributors"),
    ("deployments_url", "/deployments"),
    ("downloads_url", "/downloads"),
    ("events_url", "/events"),
    ("forks_url", "/forks"),
    ("git_commits_url", "/git/commits{/sha}"),
    ("git_refs_url", "/git/refs{/sha}"),
    ("git_tags_url", "/git/tags{/sha}"),
    ("hooks_url", "/hooks"),
    ("issue_comment_url", "/issues/comments{/number}"),
    ("issue_events_url", "/issues/events{/number}"),
    ("issues_url", "/issues{/number}"),
    ("keys_url", "/keys{/key_id}"),
    ("labels_url", "/labels{/name}"),
    ("languages_url", "/languages"),
    ("merges_url", "/merges"),
    ("milestones_url", "/milestones{/number}"),
    ("notifications_url", "/notifications{?since,all,participating}"),
    ("pulls_url", "/pulls{/number}"),
    ("releases_url", "/releases{/id}"),
    ("stargazers_url", "/stargazers"),
    ("statuses_url", "/statuses/{sha}"),
    ("subscribers_url", "/subscribers"),
    ("subscription_url", "/subscription"),
    ("tags_url", "/tags"),
    ("teams_url", "/teams"),
    ("trees_url", "/git/trees{/sha}"),
    ("url", ""),
    ("html_url", ""),
];

/// Fields of a user that are the user's API URL with something behind it.
const USER_URLS: [(&str, &str); 13] = [
    ("avatar_url", "/avatar"),
    ("events_url", "/events{/privacy}"),
    ("followers_url", "/followers"),
    ("following_url", "/following{/other_user}"),
    ("gists_url", "/gists{/gist_id}"),
    ("html_url", ""),
    ("organizations_url", "/orgs"),
    ("received_events_url", "/received_events"),
    ("repos_url", "/repos"),
    ("starred_url", "/starred{/owner}{/repo}"),
    ("subscriptions_url", "/subscriptions"),
    ("url", ""),
    ("gravatar_id", ""),
];

/// Every run has this commit: nothing here reads code.
const COMMIT: &str = "5ba1c0ffee5ba1c0ffee5ba1c0ffee5ba1c0ffee";

pub(super) fn runner(world: &World, runner: &Runner, now: Timestamp) -> Value {
    let started = runner.job.and_then(|id| world.job(id)).and_then(|job| job.started_at);
    let labels: Vec<Value> =
        runner.labels.iter().zip(1..).map(|(name, id)| json!({ "id": id, "name": name, "type": "custom" })).collect();
    json!({
        "id": runner.id,
        "runner_group_id": 1,
        "name": runner.name,
        // GitHub learns the operating system when the runner first connects.
        "os": if runner.version.is_some() { "Linux" } else { "unknown" },
        "status": if runner.online() { "online" } else { "offline" },
        "busy": world.shows_busy(started, now),
        "ephemeral": runner.ephemeral,
        "version": runner.version,
        "labels": labels,
    })
}

pub(super) fn job(job: &Job, event: &str, api: &str) -> Value {
    let repository = format!("{api}/repos/{}", job.repository);
    let (status, conclusion) = status_of(&job.state);
    let taken = job.runner_name.is_some();
    json!({
        "id": job.id,
        "run_id": job.run_id,
        "run_url": format!("{repository}/actions/runs/{}", job.run_id),
        "run_attempt": 1,
        "node_id": format!("CR_{}", job.id),
        "head_sha": COMMIT,
        "url": format!("{repository}/actions/jobs/{}", job.id),
        "html_url": format!("{api}/{}/actions/runs/{}/job/{}", job.repository, job.run_id, job.id),
        "status": status,
        "conclusion": conclusion,
        "created_at": whole(job.created_at),
        // A queued job shows its creation here: GitHub's description knows no null.
        "started_at": whole(job.started_at.unwrap_or(job.created_at)),
        "completed_at": job.completed_at.map(whole),
        "name": job.name,
        "steps": [],
        "check_run_url": format!("{repository}/check-runs/{}", job.id),
        "labels": job.labels,
        "runner_id": if taken { json!(job.runner_id) } else { Value::Null },
        "runner_name": job.runner_name,
        "runner_group_id": if taken { json!(1) } else { Value::Null },
        "runner_group_name": if taken { json!("Default") } else { Value::Null },
        "workflow_name": format!("on {event}"),
        "head_branch": "main",
    })
}

pub(super) fn run(world: &World, run: &Run, api: &str) -> Value {
    let repository = format!("{api}/repos/{}", run.repository);
    let url = format!("{repository}/actions/runs/{}", run.id);
    let (status, conclusion) = run_status(world, run);
    let jobs = run.jobs.iter().filter_map(|id| world.job(*id));
    let updated = jobs.flat_map(|job| job.events.iter().map(|event| event.at)).max().unwrap_or(run.created_at);
    json!({
        "id": run.id,
        "name": format!("on {}", run.event),
        "node_id": format!("WFR_{}", run.id),
        "head_branch": "main",
        "head_sha": COMMIT,
        "path": ".github/workflows/ci.yml",
        "display_title": format!("Run {}", run.number),
        "run_number": run.number,
        "run_attempt": 1,
        "event": run.event,
        "status": status,
        "conclusion": conclusion,
        "workflow_id": 1,
        "check_suite_id": run.id,
        "check_suite_node_id": format!("CS_{}", run.id),
        "url": url,
        "html_url": format!("{api}/{}/actions/runs/{}", run.repository, run.id),
        "pull_requests": [],
        "created_at": whole(run.created_at),
        "updated_at": whole(updated),
        "run_started_at": whole(run.created_at),
        "jobs_url": format!("{url}/jobs"),
        "logs_url": format!("{url}/logs"),
        "check_suite_url": format!("{repository}/check-suites/{}", run.id),
        "artifacts_url": format!("{url}/artifacts"),
        "cancel_url": format!("{url}/cancel"),
        "rerun_url": format!("{url}/rerun"),
        "previous_attempt_url": null,
        "workflow_url": format!("{repository}/actions/workflows/1"),
        "head_commit": {
            "id": COMMIT,
            "tree_id": COMMIT,
            "message": "A commit",
            "timestamp": whole(run.created_at),
            "author": { "name": "Somebody", "email": "somebody@example.com" },
            "committer": { "name": "Somebody", "email": "somebody@example.com" },
        },
        "repository": repository_of(&run.repository, false, api),
        "head_repository": repository_of(run.fork.as_ref().unwrap_or(&run.repository), run.fork.is_some(), api),
    })
}

/// The file at `GITHUB_EVENT_PATH`, as far as trust decisions read it.
pub(super) fn event(world: &World, job: &Job, api: &str) -> Option<Value> {
    let run = world.runs.get(&job.run_id)?;
    let mut event = json!({ "repository": repository_of(&run.repository, false, api) });
    if !run.event.starts_with("pull_request") {
        return Some(event);
    }
    let head = run.fork.as_ref().unwrap_or(&run.repository);
    event["action"] = "opened".into();
    event["number"] = 1.into();
    event["pull_request"] = json!({
        "number": 1,
        "head": { "ref": "topic", "sha": COMMIT, "repo": repository_of(head, run.fork.is_some(), api) },
        "base": { "ref": "main", "sha": COMMIT, "repo": repository_of(&run.repository, false, api) },
    });
    Some(event)
}

/// The state of a run, from its jobs: it says "in progress" while jobs of it still wait.
pub(super) fn run_status(world: &World, run: &Run) -> (&'static str, Option<String>) {
    let states: Vec<&JobState> = run.jobs.iter().filter_map(|id| world.job(*id)).map(|job| &job.state).collect();
    if states.iter().all(|state| matches!(state, JobState::Queued | JobState::Assigned { .. })) && !states.is_empty() {
        return ("queued", None);
    }
    if !states.iter().all(|state| matches!(state, JobState::Completed { .. })) {
        return ("in_progress", None);
    }
    let ended_as = |word: &str| {
        states.iter().any(|state| matches!(state, JobState::Completed { conclusion } if conclusion == word))
    };
    let worst = ["failure", "cancelled"].into_iter().find(|word| ended_as(word));
    ("completed", Some(worst.unwrap_or("success").to_owned()))
}

fn status_of(state: &JobState) -> (&'static str, Option<&str>) {
    match state {
        JobState::Queued | JobState::Assigned { .. } => ("queued", None),
        JobState::InProgress { .. } => ("in_progress", None),
        JobState::Completed { conclusion } => ("completed", Some(conclusion)),
    }
}

fn repository_of(full_name: &str, fork: bool, api: &str) -> Value {
    let (owner, name) = full_name.split_once('/').unwrap_or((full_name, full_name));
    let mut fields = urls(&REPOSITORY_URLS, &format!("{api}/repos/{full_name}"));
    fields.insert("id".into(), number_of(full_name).into());
    fields.insert("node_id".into(), format!("R_{}", number_of(full_name)).into());
    fields.insert("name".into(), name.into());
    fields.insert("full_name".into(), full_name.into());
    fields.insert("owner".into(), user(owner, api));
    fields.insert("private".into(), true.into());
    fields.insert("fork".into(), fork.into());
    fields.insert("description".into(), Value::Null);
    Value::Object(fields)
}

fn user(login: &str, api: &str) -> Value {
    let mut fields = urls(&USER_URLS, &format!("{api}/users/{login}"));
    fields.insert("id".into(), number_of(login).into());
    fields.insert("node_id".into(), format!("U_{}", number_of(login)).into());
    fields.insert("login".into(), login.into());
    fields.insert("type".into(), "User".into());
    fields.insert("site_admin".into(), false.into());
    Value::Object(fields)
}

fn urls(list: &[(&str, &str)], base: &str) -> Map<String, Value> {
    list.iter().map(|(field, rest)| ((*field).to_owned(), format!("{base}{rest}").into())).collect()
}

/// A stable number for a name (FNV-1a, cut to what JavaScript can hold).
fn number_of(name: &str) -> u32 {
    name.bytes().fold(0x811c_9dc5, |hash: u32, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// GitHub's instants have whole seconds.
pub(super) fn whole(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
