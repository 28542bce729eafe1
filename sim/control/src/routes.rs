//! The calls: one table with the handler of each.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{
    DefaultBodyLimit, FromRequest, FromRequestParts, MatchedPath, RawPathParams, RawQuery, Request, State,
};
use axum::handler::Handler;
use axum::http::request::Parts;
use axum::http::{Method, Uri};
use axum::routing::{self, MethodRouter};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use url::form_urlencoded;

use super::input::{self, Fill, NewJobs, PaceInput, Rules};
use super::problem::Problem;
use super::reply::Reply;
use super::{Control, NewRule, Service, page};

const MAX_BODY: usize = 1 << 20;

const MAX_LIMIT: usize = 10_000;
const DEFAULT_LIMIT: usize = 200;

type Controlled = State<Arc<Control>>;

/// Result of a call.
type Answer = Result<Reply, Problem>;

/// One call.
struct Route {
    method: &'static str,
    path: &'static str,
    /// Description of the call in the answer of `GET /v1`.
    what: &'static str,
    handler: MethodRouter<Arc<Control>>,
}

fn get<H: Handler<T, Arc<Control>>, T: 'static>(path: &'static str, what: &'static str, handler: H) -> Route {
    Route { method: "GET", path, what, handler: routing::get(handler) }
}

fn post<H: Handler<T, Arc<Control>>, T: 'static>(path: &'static str, what: &'static str, handler: H) -> Route {
    Route { method: "POST", path, what, handler: routing::post(handler) }
}

fn delete<H: Handler<T, Arc<Control>>, T: 'static>(path: &'static str, what: &'static str, handler: H) -> Route {
    Route { method: "DELETE", path, what, handler: routing::delete(handler) }
}

/// Returns every call.
fn table() -> Vec<Route> {
    vec![
        get("/v1", "this list", index),
        get(
            "/v1/state",
            "the contents of both simulators; ?limit=1..10000 (200) entries of each list, ?search= in guests",
            state,
        ),
        get("/v1/guests/{vmid}", "a guest, its configuration and console", guest),
        post("/v1/guests/{vmid}/unlock", "removes a guest's lock, as qm unlock does on the node", unlock),
        get("/v1/tasks/{upid}", "a task and its log", task),
        get("/v1/jobs/{id}", "a job, its events and log", job),
        post("/v1/jobs", "queues jobs: repository, labels; name, count, steps, event, fork", queue),
        post("/v1/jobs/{id}/cancel", "cancels a job", cancel),
        post("/v1/jobs/{id}/rerun", "runs an ended job again", rerun),
        post("/v1/nodes/{node}/away", "cuts a node's power", node_away),
        post("/v1/nodes/{node}/back", "boots a node whose power was cut", node_back),
        post("/v1/storages/{storage}/fill", "fills a storage: node, free (bytes that stay free there)", fill),
        get(
            "/v1/requests/{service}",
            "the request log of pve or github; ?first= (0) number, ?limit=1..10000 (200)",
            requests,
        ),
        get("/v1/faults", "rules, and the faults that fired", faults),
        post(
            "/v1/faults",
            "adds a rule (service, path, fault; method, when), or several: {\"rules\": […]}",
            add_faults,
        ),
        delete("/v1/faults", "ends all rules", clear_faults),
        get("/v1/faults/repetition", "rules that hit the same calls again, as POST /v1/faults takes them", repetition),
        get("/v1/clock", "the time and its pace", clock),
        post("/v1/clock", "{\"step\": {\"seconds\": 60}}, \"hold\" or {\"run\": {\"speed\": 10}}", pace),
    ]
}

/// Returns the router of all calls and of the page's files.
pub(super) fn router(control: Arc<Control>) -> Router {
    table()
        .into_iter()
        .fold(page::router(), |router, route| router.route(route.path, route.handler))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(control)
}

async fn no_such_path(uri: Uri) -> Problem {
    Problem::new(404, format!("there is no {}", uri.path())).allowing("the calls that GET /v1 lists")
}

async fn no_such_method(method: Method, uri: Uri, matched: MatchedPath) -> Problem {
    let methods: Vec<&str> =
        table().iter().filter(|route| route.path == matched.as_str()).map(|route| route.method).collect();
    let allowed = if methods.is_empty() { "GET".to_owned() } else { methods.join(", ") };
    Problem::new(405, format!("{method} is not allowed for {}", uri.path())).allowing(allowed)
}

/// The only variable part of a call's path, decoded.
struct InPath(String);

impl<S: Send + Sync> FromRequestParts<S> for InPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let unreadable = || Problem::new(400, "the path cannot be read").allowing("UTF-8");
        let values = RawPathParams::from_request_parts(parts, state).await.map_err(|_| unreadable())?;
        let (_, value) = values.iter().next().ok_or_else(unreadable)?;
        Ok(Self(value.to_owned()))
    }
}

impl InPath {
    /// Parses the part as a number. `name` is its name in the table.
    fn number<T: std::str::FromStr>(&self, name: &str) -> Result<T, Problem> {
        number(name, &self.0)
    }
}

/// The body of a call.
struct Body(Bytes);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let body = Bytes::from_request(request, state).await;
        body.map(Self).map_err(|_| Problem::new(413, "the body is incomplete or too large").allowing("1 MiB"))
    }
}

impl Body {
    fn read<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        input::read(&self.0)
    }
}

async fn index() -> Reply {
    let row = |route: &Route| json!({ "method": route.method, "path": route.path, "what": route.what });
    Reply::ok(json!({ "calls": table().iter().map(row).collect::<Vec<Value>>() }))
}

async fn state(State(control): Controlled, RawQuery(query): RawQuery) -> Answer {
    let query = Query::of(query, &["limit", "search"])?;
    Ok(Reply::ok(control.state(query.limit()?, query.text("search"))))
}

async fn guest(State(control): Controlled, vmid: InPath) -> Answer {
    found(control.guest(vmid.number("vmid")?), "no guest has this number")
}

async fn unlock(State(control): Controlled, vmid: InPath) -> Answer {
    let vmid = vmid.number("vmid")?;
    control.unlock(vmid)?;
    found(control.guest(vmid), "no guest has this number")
}

async fn task(State(control): Controlled, InPath(upid): InPath) -> Answer {
    found(control.task(&upid), "no task has this UPID")
}

async fn job(State(control): Controlled, id: InPath) -> Answer {
    found(control.job(id.number("id")?), "no job has this number")
}

async fn node_away(State(control): Controlled, InPath(node): InPath) -> Answer {
    control.node_away(&node).await?;
    Ok(Reply::ok(control.nodes()))
}

async fn node_back(State(control): Controlled, InPath(node): InPath) -> Answer {
    control.node_back(&node)?;
    Ok(Reply::ok(control.nodes()))
}

async fn fill(State(control): Controlled, InPath(storage): InPath, body: Body) -> Answer {
    let wanted: Fill = body.read()?;
    control.leave_free(&storage, &wanted.node, wanted.free)?;
    Ok(Reply::ok(control.nodes()))
}

async fn faults(State(control): Controlled) -> Reply {
    Reply::ok(control.fault_list())
}

async fn clear_faults(State(control): Controlled) -> Reply {
    Service::ALL.into_iter().for_each(|service| control.faults(service).clear());
    Reply::ok(control.fault_list())
}

async fn repetition(State(control): Controlled) -> Reply {
    Reply::ok(json!({ "rules": control.repetition() }))
}

async fn clock(State(control): Controlled) -> Reply {
    Reply::ok(control.clock())
}

fn found(value: Option<Value>, otherwise: &str) -> Answer {
    value.map(Reply::ok).ok_or_else(|| Problem::new(404, otherwise))
}

fn number<T: std::str::FromStr>(at: &str, text: &str) -> Result<T, Problem> {
    text.parse().map_err(|_| Problem::value(at, format!("{text:?} is not such a number"), "a number, 0 or more"))
}

struct Query(Vec<(String, String)>);

impl Query {
    fn of(query: Option<String>, known: &[&str]) -> Result<Self, Problem> {
        let query = query.unwrap_or_default();
        let pairs: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
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
            return Ok(DEFAULT_LIMIT);
        }
        let limit = text.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
        limit.ok_or_else(|| Problem::value("query.limit", format!("{text:?} is not a limit"), "1 to 10000"))
    }
}

async fn queue(State(control): Controlled, body: Body) -> Answer {
    let new: NewJobs = body.read()?;
    new.check()?;
    Ok(Reply::created(json!({ "jobs": control.queue(&new) })))
}

async fn cancel(State(control): Controlled, id: InPath) -> Answer {
    let id = id.number("id")?;
    let cancelled = control.github().world(|world, now| world.job(id).is_some().then(|| world.cancel_job(id, now)));
    match cancelled {
        None => Err(Problem::new(404, "no job has this number")),
        Some(false) => Err(Problem::new(409, "the job has ended already")),
        Some(true) => found(control.job(id), "no job has this number"),
    }
}

async fn rerun(State(control): Controlled, id: InPath) -> Answer {
    let id = id.number("id")?;
    let again = control.github().world(|world, now| world.job(id).is_some().then(|| world.rerun(&[id], now)));
    match again {
        None => Err(Problem::new(404, "no job has this number")),
        Some(jobs) if jobs.is_empty() => Err(Problem::new(409, "the job has not ended yet")),
        Some(jobs) => Ok(Reply::created(json!({ "jobs": jobs }))),
    }
}

async fn requests(State(control): Controlled, InPath(service): InPath, RawQuery(query): RawQuery) -> Answer {
    let service: Service = serde_json::from_value(service.as_str().into())
        .map_err(|_| Problem::value("service", format!("{service:?} is not a simulator"), "pve, github"))?;
    let query = Query::of(query, &["first", "limit"])?;
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
    Ok(Reply::ok(json!({ "total": log.count(), "items": entries.map(row).collect::<Vec<Value>>() })))
}

async fn add_faults(State(control): Controlled, body: Body) -> Answer {
    let several = serde_json::from_slice::<Value>(&body.0).is_ok_and(|body| body.get("rules").is_some());
    let rules = match several {
        true => body.read::<Rules>()?.rules,
        false => vec![body.read::<NewRule>()?],
    };
    control.add_faults(&rules)?;
    Ok(Reply::created(control.fault_list()))
}

async fn pace(State(control): Controlled, body: Body) -> Answer {
    let pace: PaceInput = body.read()?;
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
    Ok(Reply::ok(control.clock()))
}
