//! `/_sim/runner/…`: the private protocol between this front and the simulated runner program. GitHub has no such
//! calls.
//!
//! | Call | Answer |
//! | --- | --- |
//! | `GET downloads/v{version}/{archive}` | the program |
//! | `POST registrations` | the three files of a runner, for a registration token |
//! | `POST sessions` | a session; 401 registration gone, 403 program too old, 409 another session |
//! | `GET sessions/{session}/message` | waits ≤ 50 s: 200 `job=` and `steps=`, 202 nothing, 401 registration gone |
//! | `POST jobs/{id}/acquire` | 200, or 409 when it was given to another |
//! | `GET jobs/{id}/event`, `…/environment`, `…/steps/{n}` | files of the job |
//! | `GET jobs/{id}/conditions/{n}` | the condition of a step, such as `always()` |
//! | `POST jobs/{id}/log` | takes more of the log |
//! | `GET jobs/{id}/control` | waits ≤ 20 s: `go-on` or `cancel`; 410 when the job is not this runner's |
//! | `POST jobs/{id}/finish` | takes the conclusion |
//! | `DELETE sessions/{session}` | the session is closed |

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::Shared;
use crate::program;
use crate::shapes;
use crate::world::listener::{Control, Message, Session};
use crate::world::model::{Job, JobStep};
use crate::world::registration::NewRunner;

const MESSAGE_WAIT: Duration = Duration::from_secs(50);
const CONTROL_WAIT: Duration = Duration::from_secs(20);

/// A call from a runner program.
pub(crate) struct Call<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a [&'a str],
    pub(crate) body: &'a [u8],
    /// Secret after the scheme in `Authorization`.
    pub(crate) secret: Option<&'a str>,
    pub(crate) version: &'a str,
}

/// Status and body.
pub(crate) type Reply = (u16, Vec<u8>);

pub(crate) async fn answer(shared: &Arc<Shared>, call: &Call<'_>) -> Reply {
    match (call.method, call.path) {
        ("GET", ["downloads", version, filename]) => return download(version, filename),
        ("POST", ["registrations"]) => return register(shared, call),
        _ => {}
    }
    let runner = call.secret.and_then(|secret| shared.read(|world, _| world.runner_of_secret(secret)));
    let Some(runner) = runner else { return text(401, "unknown runner") };
    match (call.method, call.path) {
        ("POST", ["sessions"]) => open_session(shared, runner, call.version),
        ("DELETE", ["sessions", _]) => {
            shared.change(|world, now| world.close_session(runner, now));
            text(204, "")
        }
        ("GET", ["sessions", session, "message"]) => wait_for_message(shared, runner, session).await,
        (_, ["jobs", id, rest @ ..]) => match id.parse() {
            Ok(job) => job_call(shared, call, runner, job, rest).await,
            Err(_) => text(404, "no such job"),
        },
        _ => text(404, "no such call"),
    }
}

async fn job_call(shared: &Arc<Shared>, call: &Call<'_>, runner: u64, job: u64, rest: &[&str]) -> Reply {
    match (call.method, rest) {
        ("POST", ["acquire"]) => {
            let taken = shared.change(|world, now| world.acquire(runner, job, now));
            if taken { text(200, "") } else { text(409, "the job was given to another runner") }
        }
        ("GET", ["control"]) => wait_for_control(shared, runner, job).await,
        ("POST", ["log"]) => {
            let chunk = String::from_utf8_lossy(call.body);
            let known = shared.change(|world, _| world.append_log(runner, job, &chunk));
            if known { text(200, "") } else { text(410, "") }
        }
        ("POST", ["finish"]) => {
            let conclusion = String::from_utf8_lossy(call.body).trim().to_owned();
            if !matches!(conclusion.as_str(), "success" | "failure" | "cancelled") {
                return text(422, "no such conclusion");
            }
            let known = shared.change(|world, now| world.finish(runner, job, &conclusion, now));
            if known { text(200, "") } else { text(410, "") }
        }
        ("GET", file) => job_file(shared, runner, job, file),
        _ => text(404, "no such call"),
    }
}

fn download(version: &str, filename: &str) -> Reply {
    let version = version.trim_start_matches('v');
    if !["x64", "arm64"].iter().any(|architecture| program::filename(architecture, version) == filename) {
        return text(404, "no such archive");
    }
    match program::pack(version) {
        Ok(archive) => (200, archive.content),
        Err(error) => text(500, &error.to_string()),
    }
}

fn register(shared: &Arc<Shared>, call: &Call<'_>) -> Reply {
    let Ok(body) = serde_json::from_slice::<Value>(call.body) else { return text(400, "no JSON") };
    let words = |field: &str| body[field].as_str().unwrap_or_default().to_owned();
    let labels =
        words("labels").split(',').map(str::trim).filter(|label| !label.is_empty()).map(str::to_owned).collect();
    let new = NewRunner {
        name: words("name"),
        labels,
        group: crate::world::model::DEFAULT_GROUP,
        scale_set: None,
        ephemeral: body["ephemeral"] == true,
        work_folder: "_work".into(),
    };
    let token = call.secret.unwrap_or_default();
    let guests = shared.guests.clone();
    match shared.change(|world, now| world.register_by_token(token, new, &guests, now)) {
        Ok(files) => (200, files.to_string().into_bytes()),
        Err(refusal) => (refusal.status(), refusal.body().to_string().into_bytes()),
    }
}

fn open_session(shared: &Arc<Shared>, runner: u64, version: &str) -> Reply {
    match shared.change(|world, now| world.open_session(runner, version, now)) {
        Session::Opened(session) => text(200, &session),
        Session::Gone => text(401, "registration gone"),
        Session::Conflict => text(409, "another session is open"),
        Session::Deprecated => text(403, "runner version deprecated"),
    }
}

/// Guard of a waiting runner. It ends the wait also when the guest is switched off.
struct Listening {
    shared: Arc<Shared>,
    runner: u64,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.shared.change(|world, now| world.stop_listening(self.runner, now));
    }
}

async fn wait_for_message(shared: &Arc<Shared>, runner: u64, session: &str) -> Reply {
    let mut deadline = shared.deadline(MESSAGE_WAIT);
    let _listening = Listening { shared: Arc::clone(shared), runner };
    loop {
        let (message, assigned) = shared.read_mut(|world, now| {
            let message = world.listen(runner, session, now);
            let steps = match message {
                Message::Job(id) => world.job(id).map(|job| (id, job.steps.len())),
                _ => None,
            };
            (message, steps)
        });
        match (message, assigned) {
            (Message::Gone, _) => return text(401, "registration gone"),
            (Message::Job(_), Some((id, steps))) => return text(200, &format!("job={id}\nsteps={steps}\n")),
            _ => {}
        }
        if !shared.changed(&mut deadline).await {
            return text(202, "");
        }
    }
}

async fn wait_for_control(shared: &Arc<Shared>, runner: u64, job: u64) -> Reply {
    let mut deadline = shared.deadline(CONTROL_WAIT);
    loop {
        match shared.read_mut(|world, now| world.renew(runner, job, now)) {
            Control::Cancel => return text(200, "cancel"),
            Control::NotAssigned => return text(410, "not your job"),
            Control::GoOn => {}
        }
        if !shared.changed(&mut deadline).await {
            return text(200, "go-on");
        }
    }
}

fn job_file(shared: &Arc<Shared>, runner: u64, job: u64, file: &[&str]) -> Reply {
    let api = shared.guests.clone();
    let content = shared.read(|world, _| {
        let job = world.job(job).filter(|job| job.runner_id == Some(runner))?;
        match file {
            ["event"] => shapes::event(world, job, &api).map(|event| event.to_string()),
            ["environment"] => {
                let event = world.runs.get(&job.run_id)?.event.as_str();
                Some(environment(job, event, &api))
            }
            ["steps", number] => Some(step(job, number)?.script.clone()),
            ["conditions", number] => Some(step(job, number)?.condition.text().to_owned()),
            _ => None,
        }
    });
    content.map_or_else(|| text(404, "no such file"), |content| (200, content.into_bytes()))
}

/// Returns a step by its number, which counts from 1.
fn step<'job>(job: &'job Job, number: &str) -> Option<&'job JobStep> {
    job.steps.get(number.parse::<usize>().ok()?.checked_sub(1)?)
}

/// Returns the environment variables of a job, one per line, with GitHub's names.
fn environment(job: &Job, event: &str, api: &str) -> String {
    let owner = job.repository.split('/').next().unwrap_or_default();
    let variables = [
        ("CI", "true"),
        ("GITHUB_ACTIONS", "true"),
        ("GITHUB_API_URL", api),
        ("GITHUB_EVENT_NAME", event),
        ("GITHUB_JOB", &job.name.replace('\n', " ")),
        ("GITHUB_REPOSITORY", &job.repository),
        ("GITHUB_REPOSITORY_OWNER", owner),
        ("GITHUB_RUN_ATTEMPT", "1"),
        ("GITHUB_RUN_ID", &job.run_id.to_string()),
        ("GITHUB_SERVER_URL", api),
        ("RUNNER_ARCH", "X64"),
        ("RUNNER_ENVIRONMENT", "self-hosted"),
        ("RUNNER_OS", "Linux"),
    ];
    variables.map(|(name, value)| format!("{name}={value}\n")).concat()
}

fn text(status: u16, body: &str) -> Reply {
    (status, body.as_bytes().to_vec())
}
