//! Bodies of answers in GitHub's format.

mod repository;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::world::World;
use crate::world::model::{Delivery, Event, Job, JobState, Run, Runner};
pub(crate) use repository::{
    full_repository, minimal_repository, number_of, one_repository, organization, repository_of, user,
    webhook_repository,
};

/// Commit of every run, because the simulator has no code.
const COMMIT: &str = "5ba1c0ffee5ba1c0ffee5ba1c0ffee5ba1c0ffee";

pub(crate) fn runner(world: &World, runner: &Runner, now: Timestamp) -> Value {
    json!({
        "id": runner.id,
        "runner_group_id": runner.group,
        "name": runner.name,
        // GitHub learns the operating system when the runner first connects.
        "os": if runner.version.is_some() { "Linux" } else { "unknown" },
        "status": if runner.online() { "online" } else { "offline" },
        "busy": world.shows_busy(runner, now),
        "ephemeral": runner.ephemeral,
        "version": runner.version,
        "labels": labels(&runner.labels),
    })
}

/// Returns the labels of a runner. All of them were requested by name.
pub(crate) fn labels(names: &[String]) -> Vec<Value> {
    names.iter().zip(1..).map(|(name, id)| json!({ "id": id, "name": name, "type": "custom" })).collect()
}

pub(crate) fn job(job: &Job, event: &str, api: &str) -> Value {
    let repository = format!("{api}/repos/{}", job.repository);
    let (status, conclusion) = status_of(&job.state);
    let taken = job.runner_name.is_some();
    let group = job.runner_group.as_ref().filter(|_| taken);
    json!({
        "id": job.id,
        "run_id": job.run_id,
        "run_url": format!("{repository}/actions/runs/{}", job.run_id),
        "run_attempt": job.attempt,
        "node_id": format!("CR_{}", job.id),
        "head_sha": COMMIT,
        "url": format!("{repository}/actions/jobs/{}", job.id),
        "html_url": format!("{api}/{}/actions/runs/{}/job/{}", job.repository, job.run_id, job.id),
        "status": status,
        "conclusion": conclusion,
        "created_at": whole_seconds(job.created_at),
        // For a queued job this is its creation, because GitHub's description does not allow null.
        "started_at": whole_seconds(job.started_at.unwrap_or(job.created_at)),
        "completed_at": job.completed_at.map(whole_seconds),
        "name": job.name,
        "steps": [],
        "check_run_url": format!("{repository}/check-runs/{}", job.id),
        "labels": job.labels,
        "runner_id": if taken { json!(job.runner_id) } else { Value::Null },
        "runner_name": job.runner_name,
        "runner_group_id": group.map(|(id, _)| id),
        "runner_group_name": group.map(|(_, name)| name),
        "workflow_name": format!("on {event}"),
        "head_branch": "main",
    })
}

/// Returns a run as it was at `at`.
pub(crate) fn run(world: &World, run: &Run, api: &str, at: Timestamp) -> Value {
    let repository = format!("{api}/repos/{}", run.repository);
    let url = format!("{repository}/actions/runs/{}", run.id);
    let jobs = jobs_of(world, run, false, at);
    let (status, conclusion) = status_of_all(&jobs);
    let updated = jobs.iter().flat_map(|job| job.events.iter().map(|Event { at, .. }| *at)).max();
    let updated = updated.unwrap_or(run.created_at);
    json!({
        "id": run.id,
        "name": format!("on {}", run.event),
        "node_id": format!("WFR_{}", run.id),
        "head_branch": "main",
        "head_sha": COMMIT,
        "path": ".github/workflows/ci.yml",
        "display_title": format!("Run {}", run.number),
        "run_number": run.number,
        "run_attempt": run.attempt,
        "event": run.event,
        "status": status,
        "conclusion": conclusion,
        "workflow_id": 1,
        "check_suite_id": run.id,
        "check_suite_node_id": format!("CS_{}", run.id),
        "url": url,
        "html_url": format!("{api}/{}/actions/runs/{}", run.repository, run.id),
        "pull_requests": [],
        "created_at": whole_seconds(run.created_at),
        "updated_at": whole_seconds(updated),
        "run_started_at": whole_seconds(run.created_at),
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
            "timestamp": whole_seconds(run.created_at),
            "author": { "name": "Somebody", "email": "somebody@example.com" },
            "committer": { "name": "Somebody", "email": "somebody@example.com" },
        },
        "repository": repository_of(&run.repository, false, api),
        "head_repository": repository_of(run.fork.as_ref().unwrap_or(&run.repository), run.fork.is_some(), api),
    })
}

/// Returns the part of the file at `GITHUB_EVENT_PATH` that trust decisions read.
pub(crate) fn event(world: &World, job: &Job, api: &str) -> Option<Value> {
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

/// Returns the jobs of a run as they were at `at`: of all attempts, or the newest of each name.
pub(crate) fn jobs_of(world: &World, run: &Run, all: bool, at: Timestamp) -> Vec<Job> {
    let jobs: Vec<Job> = run.jobs.iter().filter_map(|id| world.job(*id)).filter_map(|job| job.as_of(at)).collect();
    let newest = |job: &Job| !jobs.iter().any(|other| other.name == job.name && other.attempt > job.attempt);
    let newest: Vec<bool> = jobs.iter().map(|job| all || newest(job)).collect();
    jobs.into_iter().zip(newest).filter(|(_, kept)| *kept).map(|(job, _)| job).collect()
}

/// Returns the status and conclusion of a run from its jobs. The status is "in progress" while some of its jobs wait.
pub(crate) fn status_of_all(jobs: &[Job]) -> (&'static str, Option<String>) {
    let states: Vec<&JobState> = jobs.iter().map(|job| &job.state).collect();
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

/// Formats a time in whole seconds, as GitHub does.
pub(crate) fn whole_seconds(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Formats a time for the Actions service, which uses a zero time for none.
pub(crate) fn instant(at: Option<Timestamp>) -> String {
    at.map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), whole_seconds)
}

/// Returns an attempt to deliver a webhook.
pub(crate) fn delivery(delivery: &Delivery) -> Value {
    let status = match delivery.status_code {
        200..=299 => "OK",
        0 if delivery.duration.is_none() => "pending",
        0 => "timed out",
        _ => "Invalid HTTP Response",
    };
    json!({
        "id": delivery.id,
        "guid": delivery.guid,
        "delivered_at": whole_seconds(delivery.delivered_at),
        "redelivery": delivery.redelivery,
        "duration": delivery.duration.unwrap_or(0.0),
        "status": status,
        "status_code": delivery.status_code,
        "event": "workflow_job",
        "action": delivery.action,
        "installation_id": delivery.installation,
        "repository_id": delivery.repository,
        "throttled_at": null,
    })
}

/// Returns the body of a `workflow_job` webhook.
pub(crate) fn webhook(
    job: &Job,
    event: &str,
    action: &str,
    organization: Option<&str>,
    installation: Option<u64>,
) -> Value {
    const API: &str = "https://api.github.com";
    let owner = job.repository.split('/').next().unwrap_or_default();
    let mut payload = json!({
        "action": action,
        "workflow_job": self::job(job, event, API),
        "repository": webhook_repository(&job.repository, API),
        "sender": user(owner, API),
    });
    if let Some(login) = organization {
        payload["organization"] = self::organization(login, API);
    }
    if let Some(id) = installation {
        payload["installation"] = json!({ "id": id, "node_id": format!("I_{id}") });
    }
    payload
}
