//! From HTTP to the world and back: headers, pagination, conditional requests, the log.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HOST, HeaderMap, HeaderName, IF_NONE_MATCH, USER_AGENT};
use hyper::{Request, Response};
use percent_encoding::percent_decode_str;
use serde_json::Value;
use sha2::{Digest, Sha256};
use url::form_urlencoded;

use super::access::RateState;
use super::contract::{self, Exchange};
use super::refusal::Refusal;
use super::rest::{self, Answer, Pages};
use super::runner_routes;
use super::server::Shared;

/// Largest body that is taken: a job's log.
const BODY_LIMIT: usize = 16 << 20;

/// Where GitHub Enterprise Server has its API; taken beside the root.
const ENTERPRISE_PREFIX: &str = "/api/v3";

pub(super) async fn answer(
    shared: &Arc<Shared>,
    request: Request<Incoming>,
    scheme: &str,
    began: Instant,
) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    let Ok(body) = Limited::new(body, BODY_LIMIT).collect().await else {
        return reply(413, Vec::new(), &[]);
    };
    let body = body.to_bytes();
    let request =
        Received { method: parts.method.as_str(), uri: &parts.uri, scheme, headers: &parts.headers, body: &body };
    let (caller, response) = match request.runner_path() {
        Some(path) => ("runner".to_owned(), runner_call(shared, &request, &path).await),
        None => rest_call(shared, &request),
    };
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    shared.log.record(began, request.method, path, &caller, response.status().as_u16());
    response
}

struct Received<'a> {
    method: &'a str,
    uri: &'a hyper::Uri,
    scheme: &'a str,
    headers: &'a HeaderMap,
    body: &'a [u8],
}

impl Received<'_> {
    fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    fn secret(&self) -> Option<&str> {
        let (scheme, secret) = self.header(&AUTHORIZATION)?.split_once(' ')?;
        matches!(scheme.to_ascii_lowercase().as_str(), "bearer" | "token" | "remoteauth").then_some(secret)
    }

    fn runner_path(&self) -> Option<Vec<String>> {
        Some(segments(self.uri.path().strip_prefix("/_sim/runner/")?))
    }

    /// Root of the API as this caller spells it.
    fn api(&self) -> String {
        let prefix = if self.uri.path().starts_with(ENTERPRISE_PREFIX) { ENTERPRISE_PREFIX } else { "" };
        format!("{}://{}{prefix}", self.scheme, self.header(&HOST).unwrap_or("localhost"))
    }

    fn rest_path(&self) -> &str {
        let path = self.uri.path();
        path.strip_prefix(ENTERPRISE_PREFIX).unwrap_or(path)
    }

    fn query(&self) -> Vec<(String, String)> {
        let text = self.uri.query().unwrap_or_default();
        form_urlencoded::parse(text.as_bytes()).into_owned().collect()
    }
}

async fn runner_call(shared: &Arc<Shared>, request: &Received<'_>, path: &[String]) -> Response<Full<Bytes>> {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let call = runner_routes::Call {
        method: request.method,
        path: &path,
        body: request.body,
        secret: request.secret(),
        version: request.headers.get("x-runner-version").and_then(|v| v.to_str().ok()).unwrap_or_default(),
    };
    let (status, body) = runner_routes::answer(shared, &call).await;
    reply(status, body, &[("content-type", "application/octet-stream".into())])
}

fn rest_call(shared: &Arc<Shared>, request: &Received<'_>) -> (String, Response<Full<Bytes>>) {
    let caller =
        request.secret().map_or_else(|| "-".to_owned(), |secret| shared.read(|world, _| world.token_name(secret)));
    if request.header(&USER_AGENT).is_none() {
        return (caller, refuse(&Refusal::NoUserAgent, None));
    }
    let admitted = shared.read_mut(|world, now| match request.secret() {
        None if rest::is_public(request.rest_path()) => world.admit_nobody(now),
        secret => world.admit(secret, now),
    });
    let mut rate = match admitted {
        Ok(rate) => rate,
        Err((refusal, rate)) => return (caller, refuse(&refusal, rate)),
    };
    let api = request.api();
    let secret = request.secret().unwrap_or_default();
    let act = |world: &mut super::World, now| {
        let call = rest::Call {
            method: request.method,
            path: segments(request.rest_path().trim_start_matches('/')),
            query: request.query(),
            body: request.body,
            token: secret,
            api: &api,
            guests: &shared.guests,
            now,
        };
        rest::answer(world, &call)
    };
    let result = if request.method == "GET" { shared.read_mut(act) } else { shared.change(act) };
    check(shared, request, &result);
    let answer = match result {
        Ok(answer) => answer,
        Err(refusal) => return (caller, refuse(&refusal, Some(rate))),
    };
    let body = answer.body.as_ref().map(|body| body.to_string().into_bytes()).unwrap_or_default();
    let etag = format!("W/\"{}\"", hex::encode(Sha256::digest(&body)));
    if request.method == "GET" && request.header(&IF_NONE_MATCH) == Some(etag.as_str()) {
        rate.used = shared.read_mut(|world, _| world.uncount(secret));
        return (caller, reply(304, Vec::new(), &headers(rate, &[("etag", etag)])));
    }
    let mut more = vec![("content-type", "application/json; charset=utf-8".to_owned())];
    if request.method == "GET" {
        more.push(("etag", etag));
    }
    more.extend(answer.pages.and_then(|pages| link(request, &api, pages)).map(|link| ("link", link)));
    (caller, reply(answer.status, body, &headers(rate, &more)))
}

fn check(shared: &Shared, request: &Received<'_>, result: &Result<Answer, Refusal>) {
    if rest::is_public(request.rest_path()) {
        // Not in the part of the published description that is at hand.
        return;
    }
    let query = request.query();
    let body: Option<Value> = serde_json::from_slice(request.body).ok();
    let refusal = result.as_ref().err().map(Refusal::body);
    let (status, response) = match result {
        Ok(answer) => (answer.status, answer.body.as_ref()),
        Err(refused) => (refused.status(), refusal.as_ref()),
    };
    let exchange = Exchange {
        method: request.method,
        path: request.rest_path(),
        query: &query,
        request: body.as_ref(),
        status,
        response,
    };
    shared.note_violations(contract::check(&exchange));
}

fn refuse(refusal: &Refusal, rate: Option<RateState>) -> Response<Full<Bytes>> {
    let mut more = vec![("content-type", "application/json; charset=utf-8".to_owned())];
    match refusal {
        Refusal::Forbidden { accepted } => more.push(("x-accepted-github-permissions", accepted.clone())),
        Refusal::SecondaryLimit { wait_seconds } => more.push(("retry-after", wait_seconds.to_string())),
        _ => {}
    }
    let headers = match rate {
        Some(rate) => headers(rate, &more),
        None => more,
    };
    reply(refusal.status(), refusal.body().to_string().into_bytes(), &headers)
}

fn headers(rate: RateState, more: &[(&'static str, String)]) -> Vec<(&'static str, String)> {
    let mut headers = vec![
        ("x-ratelimit-limit", rate.limit.to_string()),
        ("x-ratelimit-remaining", rate.limit.saturating_sub(rate.used).to_string()),
        ("x-ratelimit-used", rate.used.to_string()),
        ("x-ratelimit-reset", rate.reset_at.as_second().to_string()),
        ("x-ratelimit-resource", "core".to_owned()),
        ("x-github-media-type", "github.v3; format=json".to_owned()),
    ];
    headers.extend_from_slice(more);
    headers
}

fn link(request: &Received<'_>, api: &str, pages: Pages) -> Option<String> {
    let to = |page: usize, relation: &str| {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(request.query().into_iter().filter(|(name, _)| name != "page"));
        query.append_pair("page", &page.to_string());
        format!("<{api}{}?{}>; rel=\"{relation}\"", request.rest_path(), query.finish())
    };
    let mut links = Vec::new();
    if pages.page > 1 {
        links.extend([to(pages.page - 1, "prev"), to(1, "first")]);
    }
    if pages.page < pages.last {
        links.extend([to(pages.page + 1, "next"), to(pages.last, "last")]);
    }
    (!links.is_empty()).then(|| links.join(", "))
}

fn segments(path: &str) -> Vec<String> {
    path.split('/').map(|part| percent_decode_str(part).decode_utf8_lossy().into_owned()).collect()
}

fn reply(status: u16, body: Vec<u8>, headers: &[(&'static str, String)]) -> Response<Full<Bytes>> {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, value);
    }
    response.body(Full::new(Bytes::from(body))).unwrap_or_default()
}
