//! The REST calls about runs and jobs.

use serde_json::json;

use super::{Answer, Call};
use crate::refusal::Refusal;
use crate::shapes;
use crate::world::World;
use crate::world::model::{Level, Need, Run, Scope};

/// `/repos/{owner}/{repo}/actions/…` except runners.
pub(crate) fn answer(world: &mut World, call: &Call<'_>, scope: &Scope, rest: &[&str]) -> Result<Answer, Refusal> {
    let level = if call.method == "GET" { Level::Read } else { Level::Write };
    world.permit(call.caller, scope, Need::Actions(level))?;
    match (call.method, rest) {
        ("GET", ["runs"]) => Ok(list_runs(world, call, scope)),
        ("GET", ["runs", id]) => {
            let run = run_in(world, scope, id)?;
            Ok(Answer::ok(shapes::run(world, run, call.api, call.now)))
        }
        ("DELETE", ["runs", id]) => {
            let run = run_in(world, scope, id)?;
            let number = run.id;
            world.delete_run(number).map(|()| Answer::empty(204))
        }
        ("GET", ["runs", id, "jobs"]) => list_jobs(world, call, scope, id),
        ("POST", ["runs", id, "cancel"]) => {
            let jobs = run_in(world, scope, id)?.jobs.clone();
            let cancelled = jobs.into_iter().filter(|job| world.cancel_job(*job, call.now)).count();
            if cancelled == 0 {
                return Err(Refusal::Conflict("Cannot cancel a workflow run that is completed.".into()));
            }
            Ok(Answer { status: 202, body: Some(json!({})), pages: None })
        }
        ("POST", ["runs", id, "rerun-failed-jobs"]) => {
            let run = run_in(world, scope, id)?;
            let latest = shapes::jobs_of(world, run, false, call.now);
            let (status, _) = shapes::status_of_all(&latest);
            let failed: Vec<u64> = latest.iter().filter(|job| job.failed()).map(|job| job.id).collect();
            run_again(world, call, status == "completed", &failed)
        }
        ("POST", ["jobs", id, "rerun"]) => {
            let job = id.parse().ok().and_then(|id| world.job(id)).filter(|job| world.covers(scope, &job.repository));
            let job = job.ok_or(Refusal::NotFound)?;
            let (id, completed) = (job.id, job.completed());
            run_again(world, call, completed, &[id])
        }
        ("GET", ["jobs", id]) => one_job(world, call, scope, id),
        _ => Err(Refusal::NotFound),
    }
}

fn run_again(world: &mut World, call: &Call<'_>, completed: bool, jobs: &[u64]) -> Result<Answer, Refusal> {
    if !completed || jobs.is_empty() {
        let kind = world.account(call.caller)?.kind.clone();
        return Err(Refusal::Forbidden { accepted: "actions=write".into(), kind });
    }
    world.rerun(jobs, call.now);
    Ok(Answer::created(json!({})))
}

fn run_in<'a>(world: &'a World, scope: &Scope, id: &str) -> Result<&'a Run, Refusal> {
    let run =
        id.parse().ok().and_then(|id: u64| world.runs.get(&id)).filter(|run| world.covers(scope, &run.repository));
    run.ok_or(Refusal::NotFound)
}

fn list_runs(world: &World, call: &Call<'_>, scope: &Scope) -> Answer {
    let shown = call.now - world.behaviour.list_lag;
    let wanted = |run: &&Run| {
        let (status, conclusion) = shapes::status_of_all(&shapes::jobs_of(world, run, false, shown));
        let status_fits = call.query("status").is_none_or(|word| word == status || Some(word) == conclusion.as_deref());
        let event_fits = call.query("event").is_none_or(|event| event == run.event);
        world.covers(scope, &run.repository) && run.created_at <= shown && status_fits && event_fits
    };
    // Newest first, as in GitHub's lists.
    let runs = world.runs.values().rev().filter(wanted).map(|run| shapes::run(world, run, call.api, shown)).collect();
    call.page("workflow_runs", runs)
}

fn list_jobs(world: &World, call: &Call<'_>, scope: &Scope, id: &str) -> Result<Answer, Refusal> {
    let run = run_in(world, scope, id)?;
    let shown = call.now - world.behaviour.list_lag;
    let all = call.query("filter") == Some("all");
    let jobs = shapes::jobs_of(world, run, all, shown);
    Ok(call.page("jobs", jobs.iter().map(|job| shapes::job(job, &run.event, call.api)).collect()))
}

fn one_job(world: &World, call: &Call<'_>, scope: &Scope, id: &str) -> Result<Answer, Refusal> {
    let job = id.parse().ok().and_then(|id| world.job(id)).filter(|job| world.covers(scope, &job.repository));
    let job = job.ok_or(Refusal::NotFound)?;
    let event = world.runs.get(&job.run_id).map_or("", |run| run.event.as_str());
    Ok(Answer::ok(shapes::job(job, event, call.api)))
}
