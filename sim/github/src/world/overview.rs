//! The state of the simulated GitHub as JSON for the control API, without GitHub's own API and its tokens.
//!
//! The overview holds no secrets: no tokens and no keys of registrations.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::World;
use super::model::{Condition, EventKind, Job, JobState, JobStep, Runner, Scope};

impl World {
    /// Returns the whole state as JSON, without secrets. Lists have at most `limit` entries.
    #[must_use]
    pub fn overview(&self, now: Timestamp, limit: usize) -> Value {
        overview(self, now, limit)
    }

    /// Returns a job with its steps, events and log, or `None` if no job has this number.
    #[must_use]
    pub fn job_details(&self, id: u64) -> Option<Value> {
        job(self, id)
    }
}

/// Returns repositories, the newest jobs, runners and scale sets. Lists have at most `limit` entries.
fn overview(world: &World, now: Timestamp, limit: usize) -> Value {
    let jobs: Vec<Value> = world.jobs.values().rev().take(limit).map(job_row).collect();
    let runners: Vec<Value> = world.runners.values().take(limit).map(runner_row).collect();
    json!({
        "now": now.as_second(),
        "repositories": world.repositories,
        "organizations": world.organizations,
        "runs": world.runs.len(),
        "jobs": { "total": world.jobs.len(), "items": jobs },
        "runners": { "total": world.runners.len(), "items": runners },
        "minted": world.minted,
        "webhooks": { "delivered": world.deliveries.len(), "lost": world.lost_webhooks },
    })
}

/// Returns a step as a job's author writes it: the script, with its condition if it declares one.
fn step(step: &JobStep) -> Value {
    match step.condition {
        Condition::Success => json!(step.script),
        condition => json!({ "run": step.script, "if": condition.text() }),
    }
}

/// Returns a job with its steps, events and log, or `None` if no job has this number.
fn job(world: &World, id: u64) -> Option<Value> {
    let job = world.jobs.get(&id)?;
    let mut row = job_row(job);
    row["steps"] = job.steps.iter().map(step).collect();
    row["log"] = json!(job.log);
    row["events"] =
        job.events.iter().map(|event| json!({ "at": seconds_of(event.at), "what": event_text(&event.kind) })).collect();
    Some(row)
}

fn seconds_of(at: Timestamp) -> f64 {
    at.as_duration().as_secs_f64()
}

fn event_text(kind: &EventKind) -> String {
    match kind {
        EventKind::Queued => "queued".to_owned(),
        EventKind::Assigned(runner) => format!("assigned to {runner}"),
        EventKind::Requeued(runner) => format!("back in the queue: {runner} did not fetch it"),
        EventKind::Started(runner) => format!("started on {runner}"),
        EventKind::Completed(conclusion) => format!("completed: {conclusion}"),
    }
}

fn job_row(job: &Job) -> Value {
    let (state, conclusion) = match &job.state {
        JobState::Queued => ("queued", None),
        JobState::Assigned { .. } => ("assigned", None),
        JobState::InProgress { .. } => ("in_progress", None),
        JobState::Completed { conclusion } => ("completed", Some(conclusion)),
    };
    json!({
        "id": job.id,
        "run": job.run_id,
        "attempt": job.attempt,
        "repository": job.repository,
        "name": job.name,
        "labels": job.labels,
        "state": state,
        "conclusion": conclusion,
        "runner": job.runner_name,
        "queued": seconds_of(job.created_at),
        "started": job.started_at.map(seconds_of),
        "completed": job.completed_at.map(seconds_of),
    })
}

fn runner_row(runner: &Runner) -> Value {
    let (kind, name) = match &runner.scope {
        Scope::Repository(name) => ("repository", name),
        Scope::Organization(name) => ("organization", name),
        Scope::Enterprise(name) => ("enterprise", name),
    };
    json!({
        "id": runner.id,
        "name": runner.name,
        "scope": { "type": kind, "name": name },
        "group": runner.group,
        "scale_set": runner.scale_set,
        "labels": runner.labels,
        "ephemeral": runner.ephemeral,
        "online": runner.online(),
        "job": runner.job,
        "version": runner.version,
        "registered": seconds_of(runner.registered_at),
    })
}
