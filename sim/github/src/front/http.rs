//! From an HTTP request to the world and back: routing by path, faults, the request log.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Body;
use hyper::{Request, Response};
use serde_json::Value;
use tokio::time::Instant;

use super::Shared;
use super::actions_service;
use super::exchange::{Received, reply, segments};
use super::rest;
use super::runner_program;
use crate::refusal::Refusal;
use crate::world::model::Caller;
use sim_http::faults::Fault;
use sim_http::payload::Payload;

/// Largest accepted body in bytes. The longest bodies are logs of jobs.
const BODY_LIMIT: usize = 16 << 20;

/// The connection is closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("closed without an answer")]
pub(crate) struct Closed;

/// Answers a request, or closes the connection if a fault requires it.
pub(crate) async fn answer<B>(
    shared: &Arc<Shared>,
    request: Request<B>,
    scheme: &str,
    began: Instant,
) -> Result<Response<Payload>, Closed>
where
    B: Body<Data = Bytes, Error: std::error::Error + Send + Sync + 'static>,
{
    let (parts, body) = request.into_parts();
    let Ok(body) = Limited::new(body, BODY_LIMIT).collect().await else {
        return Ok(reply(413, Vec::new(), &[]));
    };
    let body = body.to_bytes();
    let request =
        Received { method: parts.method.as_str(), uri: &parts.uri, scheme, headers: &parts.headers, body: &body };
    let (caller, response) = with_faults(shared, &request).await;
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let status = response.as_ref().map_or(0, |response| response.status().as_u16());
    shared.log.record(began, request.method, path, &caller, status);
    response
}

async fn with_faults(shared: &Arc<Shared>, request: &Received<'_>) -> (String, Result<Response<Payload>, Closed>) {
    let fault = shared.faults.take(request.method, request.rest_path(), |fault| !fault.needs_proxmox_ve());
    match fault {
        Some(Fault::Refuse { status, text }) => {
            let refusal = Refusal::Injected { status, text };
            return (caller_of(shared, request), Ok(rest::refuse(shared, &refusal, None)));
        }
        Some(Fault::DropRequest | Fault::Restart) => return (caller_of(shared, request), Err(Closed)),
        _ => {}
    }
    let delay = match &fault {
        Some(Fault::Delay(time)) => *time,
        _ => std::time::Duration::ZERO,
    };
    let (caller, response) = dispatch(shared, request, delay).await;
    match fault {
        Some(Fault::DropReply) => (caller, Err(Closed)),
        Some(Fault::Cut { after }) => (caller, Ok(response.map(|body| body.cut(after)))),
        _ => (caller, Ok(response)),
    }
}

fn caller_of(shared: &Shared, request: &Received<'_>) -> String {
    shared.read(|world, now| {
        let caller = world.recognize(request.secret(), now).unwrap_or(Caller::Nobody);
        world.name_of(&caller)
    })
}

async fn dispatch(
    shared: &Arc<Shared>,
    request: &Received<'_>,
    delay: std::time::Duration,
) -> (String, Response<Payload>) {
    let path = segments(request.rest_path().trim_start_matches('/'));
    let path: Vec<&str> = path.iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
    match path.as_slice() {
        ["_sim", "runner", path @ ..] => {
            shared.wait(delay).await;
            ("runner".to_owned(), runner_call(shared, request, path).await)
        }
        [actions_service::TENANTS, path @ ..] => {
            shared.wait(delay).await;
            ("scale set".to_owned(), service_call(shared, request, path).await)
        }
        ["actions", "runner-registration"] if request.method == "POST" => {
            shared.wait(delay).await;
            ("scale set".to_owned(), service_call(shared, request, &[]).await)
        }
        _ => rest::answer(shared, request, delay).await,
    }
}

async fn runner_call(shared: &Arc<Shared>, request: &Received<'_>, path: &[&str]) -> Response<Payload> {
    let call = runner_program::Call {
        method: request.method,
        path,
        body: request.body,
        secret: request.secret(),
        version: request.header("x-runner-version").unwrap_or_default(),
    };
    let (status, body) = runner_program::answer(shared, &call).await;
    reply(status, body, &[("content-type", "application/octet-stream".into())])
}

/// Carries out a call of the Actions service. An empty path is the registration that returns the tenant's URL.
async fn service_call(shared: &Arc<Shared>, request: &Received<'_>, path: &[&str]) -> Response<Payload> {
    let call = actions_service::Call {
        method: request.method,
        path,
        query: &request.query(),
        body: request.body,
        secret: request.secret().unwrap_or_default(),
        accept: request.header("accept").unwrap_or_default(),
        capacity: request.header("x-scalesetmaxcapacity").and_then(|number| number.parse().ok()),
        root: &request.root(),
        guests: &shared.guests,
    };
    let (status, body) = match path {
        [] => shared.change(|world, now| actions_service::register(world, &call, now)),
        _ => actions_service::answer(shared, &call).await,
    };
    let body = body.as_ref().map(|body: &Value| body.to_string().into_bytes()).unwrap_or_default();
    let activity = shared.read_mut(|world, _| world.uuid());
    reply(status, body, &[("content-type", "application/json; charset=utf-8".into()), ("activityid", activity)])
}
