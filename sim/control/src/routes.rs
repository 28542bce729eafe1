//! The calls: which there are, and what each does.

use std::time::Duration;

use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use url::form_urlencoded;

use super::input::{self, Fill, NewJobs, PaceInput, Rules};
use super::problem::Problem;
use super::{Control, NewRule, Service};

/// Every call: method, path, what it does. `GET /v1` answers with it.
const ROUTES: &[(&str, &str, &str)] = &[
    ("GET", "/v1", "this list"),
    ("GET", "/v1/state", "everything; ?limit=1..10000 (200) entries of each list, ?search= in guests"),
    ("GET", "/v1/guests/{vmid}", "a guest, its configuration and console"),
    ("POST", "/v1/guests/{vmid}/unlock", "removes a guest's lock, as qm unlock does on the node"),
    ("GET", "/v1/tasks/{upid}", "a task and its log"),
    ("GET", "/v1/jobs/{id}", "a job, its events and log"),
    ("POST", "/v1/jobs", "queues jobs: repository, labels; name, count, steps, event, fork"),
    ("POST", "/v1/jobs/{id}/cancel", "cancels a job"),
    ("POST", "/v1/jobs/{id}/rerun", "runs an ended job again"),
    ("POST", "/v1/nodes/{node}/away", "cuts a node's power"),
    ("POST", "/v1/nodes/{node}/back", "boots a node that was away"),
    ("POST", "/v1/storages/{storage}/fill", "fills a storage: node, free (bytes that stay free there)"),
    ("GET", "/v1/requests/{service}", "the request log of pve or github; ?first= (0) number, ?limit=1..10000 (200)"),
    ("GET", "/v1/faults", "rules, and the faults that fired"),
    ("POST", "/v1/faults", "adds a rule (service, path, fault; method, when), or several: {\"rules\": […]}"),
    ("DELETE", "/v1/faults", "ends all rules"),
    ("GET", "/v1/faults/repetition", "rules that hit the same calls again, as POST /v1/faults takes them"),
    ("GET", "/v1/clock", "the time, and how it goes"),
    ("POST", "/v1/clock", "{\"step\": {\"seconds\": 60}}, \"hold\" or {\"run\": {\"speed\": 10}}"),
];

const MOST: usize = 10_000;
const USUAL: usize = 200;

/// A call, as it came.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) query: &'a str,
    pub(super) body: &'a [u8],
}

/// Status and body of an answer.
pub(super) type Answer = Result<(u16, Value), Problem>;

/// Carries a call out.
pub(super) async fn answer(control: &Control, call: &Call<'_>) -> Answer {
    let parts: Vec<String> =
        call.path.split('/').skip(1).map(|part| percent_decode_str(part).decode_utf8_lossy().into_owned()).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let ["v1", rest @ ..] = parts.as_slice() else { return Err(no_such_path(call)) };
    match (call.method, rest) {
        ("GET", []) => Ok((200, index())),
        ("GET", ["state"]) => {
            let query = Query::of(call, &["limit", "search"])?;
            Ok((200, control.state(query.limit()?, query.text("search"))))
        }
        ("GET", ["guests", vmid]) => found(control.guest(number("vmid", vmid)?), "no guest has this number"),
        ("POST", ["guests", vmid, "unlock"]) => {
            let vmid = number("vmid", vmid)?;
            control.unlock(vmid)?;
            found(control.guest(vmid), "no guest has this number")
        }
        ("GET", ["tasks", upid]) => found(control.task(upid), "no task has this UPID"),
        ("GET", ["jobs", id]) => found(control.job(number("id", id)?), "no job has this number"),
        ("POST", ["jobs"]) => queue(control, call),
        ("POST", ["jobs", id, "cancel"]) => cancel(control, number("id", id)?),
        ("POST", ["jobs", id, "rerun"]) => rerun(control, number("id", id)?),
        ("POST", ["nodes", node, "away"]) => {
            control.node_away(node).await?;
            Ok((200, control.nodes()))
        }
        ("POST", ["nodes", node, "back"]) => {
            control.node_back(node)?;
            Ok((200, control.nodes()))
        }
        ("POST", ["storages", storage, "fill"]) => {
            let wanted: Fill = input::read(call.body)?;
            control.leave_free(storage, &wanted.node, wanted.free)?;
            Ok((200, control.nodes()))
        }
        ("GET", ["requests", service]) => requests(control, call, service),
        ("GET", ["faults"]) => Ok((200, control.fault_list())),
        ("POST", ["faults"]) => add_faults(control, call),
        ("DELETE", ["faults"]) => {
            Service::ALL.into_iter().for_each(|service| control.faults(service).clear());
            Ok((200, control.fault_list()))
        }
        ("GET", ["faults", "repetition"]) => Ok((200, json!({ "rules": control.repetition() }))),
        ("GET", ["clock"]) => Ok((200, control.clock())),
        ("POST", ["clock"]) => pace(control, call).await,
        _ => Err(no_such_call(call, rest)),
    }
}

fn index() -> Value {
    let row = |(method, path, what): &(&str, &str, &str)| json!({ "method": method, "path": path, "what": what });
    json!({ "calls": ROUTES.iter().map(row).collect::<Vec<Value>>() })
}

fn no_such_path(call: &Call<'_>) -> Problem {
    Problem::new(404, format!("there is no {}", call.path)).allowing("what GET /v1 lists")
}

/// A path with other methods is distinguished from an unknown path.
fn no_such_call(call: &Call<'_>, rest: &[&str]) -> Problem {
    let matches = |template: &str| {
        let wanted: Vec<&str> = template.split('/').skip(2).collect();
        wanted.len() == rest.len()
            && wanted.iter().zip(rest).all(|(wanted, given)| wanted.starts_with('{') || wanted == given)
    };
    let methods: Vec<&str> = ROUTES.iter().filter(|(_, path, _)| matches(path)).map(|(method, _, _)| *method).collect();
    if methods.is_empty() {
        return no_such_path(call);
    }
    Problem::new(405, format!("{} is not for {}", call.method, call.path)).allowing(methods.join(", "))
}

fn found(value: Option<Value>, otherwise: &str) -> Answer {
    value.map(|value| (200, value)).ok_or_else(|| Problem::new(404, otherwise))
}

fn number<T: std::str::FromStr>(at: &str, text: &str) -> Result<T, Problem> {
    text.parse().map_err(|_| Problem::value(at, format!("{text:?} is no such number"), "a number, 0 or more"))
}

struct Query(Vec<(String, String)>);

impl Query {
    fn of(call: &Call<'_>, known: &[&str]) -> Result<Self, Problem> {
        let pairs: Vec<(String, String)> = form_urlencoded::parse(call.query.as_bytes()).into_owned().collect();
        match pairs.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            Some((name, _)) => {
                Err(Problem::value(format!("query.{name}"), "there is no such parameter", known.join(", ")))
            }
            None => Ok(Self(pairs)),
        }
    }

    fn text(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    fn limit(&self) -> Result<usize, Problem> {
        let text = self.text("limit");
        if text.is_empty() {
            return Ok(USUAL);
        }
        let limit = text.parse().ok().filter(|limit| (1..=MOST).contains(limit));
        limit.ok_or_else(|| Problem::value("query.limit", format!("{text:?} is not a limit"), "1 to 10000"))
    }
}

fn queue(control: &Control, call: &Call<'_>) -> Answer {
    let new: NewJobs = input::read(call.body)?;
    new.check()?;
    Ok((201, json!({ "jobs": control.queue(&new) })))
}

fn cancel(control: &Control, id: u64) -> Answer {
    let cancelled = control.github().world(|world, now| world.job(id).is_some().then(|| world.cancel_job(id, now)));
    match cancelled {
        None => Err(Problem::new(404, "no job has this number")),
        Some(false) => Err(Problem::new(409, "the job has ended already")),
        Some(true) => found(control.job(id), "no job has this number"),
    }
}

fn rerun(control: &Control, id: u64) -> Answer {
    let again = control.github().world(|world, now| world.job(id).is_some().then(|| world.rerun(&[id], now)));
    match again {
        None => Err(Problem::new(404, "no job has this number")),
        Some(jobs) if jobs.is_empty() => Err(Problem::new(409, "the job has not ended yet")),
        Some(jobs) => Ok((201, json!({ "jobs": jobs }))),
    }
}

fn requests(control: &Control, call: &Call<'_>, service: &str) -> Answer {
    let service: Service = serde_json::from_value(service.into())
        .map_err(|_| Problem::value("service", format!("{service:?} is not a simulator"), "pve, github"))?;
    let query = Query::of(call, &["first", "limit"])?;
    let first: usize = match query.text("first") {
        "" => 0,
        text => number("query.first", text)?,
    };
    let log = control.log(service);
    let row = |(number, entry): (usize, sim_http::request_log::Entry)| {
        json!({
            "number": number,
            "at": entry.at.as_secs_f64(),
            "took": entry.took.as_secs_f64(),
            "waited": entry.waited.as_secs_f64(),
            "method": entry.method,
            "path": entry.shown_path(),
            "caller": entry.caller,
            "status": entry.status,
        })
    };
    let entries = log.from(first, query.limit()?).into_iter().enumerate().map(|(index, entry)| (first + index, entry));
    Ok((200, json!({ "total": log.count(), "items": entries.map(row).collect::<Vec<Value>>() })))
}

fn add_faults(control: &Control, call: &Call<'_>) -> Answer {
    let several = serde_json::from_slice::<Value>(call.body).is_ok_and(|body| body.get("rules").is_some());
    let rules = match several {
        true => input::read::<Rules>(call.body)?.rules,
        false => vec![input::read::<NewRule>(call.body)?],
    };
    control.add_faults(&rules)?;
    Ok((201, control.fault_list()))
}

async fn pace(control: &Control, call: &Call<'_>) -> Answer {
    let pace: PaceInput = input::read(call.body)?;
    pace.check()?;
    control.needs_stepped_time()?;
    match pace {
        PaceInput::Hold => control.hold(),
        PaceInput::Run { speed } => control.run(speed),
        PaceInput::Step { seconds } => {
            let step = control.step(Duration::from_secs_f64(seconds)).await;
            step.map_err(|busy| Problem::new(409, busy.to_string()))?;
        }
    }
    Ok((200, control.clock()))
}
