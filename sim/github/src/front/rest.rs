//! REST over HTTP: authentication, rate limits, conditional requests, headers, and the check of each exchange.

use std::sync::Arc;
use std::time::Duration;

use hyper::Response;
use hyper::header::{IF_NONE_MATCH, USER_AGENT};
use jiff::Timestamp;
use serde_json::Value;
use sha2::{Digest, Sha256};
use url::form_urlencoded;

use super::Shared;
use super::exchange::{Received, reply, segments};
use crate::contract::{self, Exchange};
use crate::refusal::Refusal;
use crate::rest::{self, Answer, Pages};
use crate::world::model::{Account, Caller, Cost, Kind, LimitKey, RateState};
use sim_http::payload::Payload;

/// Decrements the number of running requests on drop, including on cancellation.
struct InFlight {
    shared: Arc<Shared>,
    who: LimitKey,
}

impl InFlight {
    fn begin(shared: &Arc<Shared>, who: LimitKey) -> Self {
        shared.read_mut(|world, _| world.in_flight(&who, true));
        Self { shared: Arc::clone(shared), who }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.shared.read_mut(|world, _| world.in_flight(&self.who, false));
    }
}

/// Answers a REST call after `delay`. Also returns the caller's name.
pub(crate) async fn answer(
    shared: &Arc<Shared>,
    request: &Received<'_>,
    delay: Duration,
) -> (String, Response<Payload>) {
    if request.header(USER_AGENT).is_none() {
        return ("-".to_owned(), refuse(shared, &Refusal::NoUserAgent, None));
    }
    let caller = match shared.read(|world, now| world.recognize(request.secret(), now)) {
        Ok(caller) => caller,
        Err(refusal) => return ("unknown".to_owned(), refused(shared, request, &refusal)),
    };
    let (name, who) = shared.read(|world, _| (world.name_of(&caller), world.limit_key(&caller)));
    if who == LimitKey::Nobody && !rest::is_public(request.rest_path()) {
        return (name, refused(shared, request, &Refusal::RequiresAuthentication));
    }
    let in_flight = InFlight::begin(shared, who);
    shared.wait(delay).await;
    (name, carry_out(shared, request, &caller, &in_flight.who))
}

fn carry_out(shared: &Arc<Shared>, request: &Received<'_>, caller: &Caller, who: &LimitKey) -> Response<Payload> {
    let path = request.rest_path();
    let changes = request.method != "GET";
    let registers = changes && (path.ends_with("/generate-jitconfig") || path.ends_with("/registration-token"));
    let cost = Cost { endpoint: path, changes, registers };
    let admitted = shared.read_mut(|world, now| match rest::is_free(path) {
        true => Ok(world.rate_states(who, now)[0]),
        false => world.count(who, cost, now),
    });
    let mut rate = match admitted {
        Ok(rate) => rate,
        Err((refusal, rate)) => return refuse(shared, &refusal, Some(rate)),
    };
    let api = request.api();
    let act = |world: &mut crate::world::World, now| {
        let call = rest::Call {
            method: request.method,
            path: segments(path.trim_start_matches('/')),
            query: request.query(),
            body: request.body,
            caller,
            api: &api,
            guests: &shared.guests,
            now,
        };
        rest::answer(world, &call)
    };
    let result = if changes { shared.change(act) } else { shared.read_mut(act) };
    check(shared, request, result.as_ref().map(|answer| (answer.status, answer.body.as_ref())));
    let answer = match result {
        Ok(answer) => answer,
        Err(refusal) => return refuse(shared, &refusal, Some(rate)),
    };
    let body = answer.body.as_ref().map(|body| body.to_string().into_bytes()).unwrap_or_default();
    let etag = format!("W/\"{}\"", hex::encode(Sha256::digest(&body)));
    if !changes && request.header(IF_NONE_MATCH) == Some(etag.as_str()) {
        rate.used = shared.read_mut(|world, _| world.uncount(who));
        return respond(shared, 304, Vec::new(), Some(rate), vec![("etag", etag)]);
    }
    let mut more = scopes(shared, caller);
    if !body.is_empty() {
        more.push(("content-type", "application/json; charset=utf-8".to_owned()));
    }
    if !changes {
        more.push(("etag", etag));
    }
    more.extend(link(request, &api, &answer).map(|link| ("link", link)));
    respond(shared, answer.status, body, Some(rate), more)
}

/// Returns the header with a classic token's scopes, which GitHub sends with each answer.
fn scopes(shared: &Shared, caller: &Caller) -> Vec<(&'static str, String)> {
    shared.read(|world, _| match world.account(caller) {
        Ok(Account { kind: Kind::Classic(scopes), .. }) => vec![("x-oauth-scopes", scopes.join(", "))],
        _ => Vec::new(),
    })
}

fn refused(shared: &Shared, request: &Received<'_>, refusal: &Refusal) -> Response<Payload> {
    check(shared, request, Err(refusal));
    refuse(shared, refusal, None)
}

fn check(shared: &Shared, request: &Received<'_>, result: Result<(u16, Option<&Value>), &Refusal>) {
    let path = request.rest_path();
    if path.ends_with("/releases/latest") || path.starts_with("/enterprises/") {
        // The available part of the published description does not have these calls.
        return;
    }
    let query = request.query();
    let body: Option<Value> = serde_json::from_slice(request.body).ok();
    let refusal = result.err().map(Refusal::body);
    let (status, response) = match result {
        Ok(answer) => answer,
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

/// Returns the response of a refusal.
pub(crate) fn refuse(shared: &Shared, refusal: &Refusal, rate: Option<RateState>) -> Response<Payload> {
    let mut more = vec![("content-type", "application/json; charset=utf-8".to_owned())];
    match refusal {
        Refusal::Forbidden { accepted, .. } => more.push(("x-accepted-github-permissions", accepted.clone())),
        Refusal::SecondaryLimit { wait_seconds, .. } => more.push(("retry-after", wait_seconds.to_string())),
        _ => {}
    }
    respond(shared, refusal.status(), refusal.body().to_string().into_bytes(), rate, more)
}

fn respond(
    shared: &Shared,
    status: u16,
    body: Vec<u8>,
    rate: Option<RateState>,
    more: Vec<(&'static str, String)>,
) -> Response<Payload> {
    let now = shared.read(|_, now| now);
    let mut headers = vec![("date", http_date(now)), ("x-github-media-type", "github.v3; format=json".to_owned())];
    if let Some(rate) = rate {
        headers.extend([
            ("x-ratelimit-limit", rate.limit.to_string()),
            ("x-ratelimit-remaining", rate.limit.saturating_sub(rate.used).to_string()),
            ("x-ratelimit-used", rate.used.to_string()),
            ("x-ratelimit-reset", rate.reset_at.as_second().to_string()),
            ("x-ratelimit-resource", rate.resource.to_owned()),
        ]);
    }
    headers.extend(more);
    reply(status, body, &headers)
}

/// Formats a time for the `Date` header (RFC 9110 §5.6.7), from which clients correct their clocks.
fn http_date(now: Timestamp) -> String {
    now.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

fn link(request: &Received<'_>, api: &str, answer: &Answer) -> Option<String> {
    let to = |name: &str, value: String, relation: &str| {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(request.query().into_iter().filter(|(known, _)| known != name));
        query.append_pair(name, &value);
        format!("<{api}{}?{}>; rel=\"{relation}\"", request.rest_path(), query.finish())
    };
    let mut links = Vec::new();
    match answer.pages? {
        Pages::Numbered { page, last } => {
            let to = |page: usize, relation| to("page", page.to_string(), relation);
            if page > 1 {
                links.extend([to(page - 1, "prev"), to(1, "first")]);
            }
            if page < last {
                links.extend([to(page + 1, "next"), to(last, "last")]);
            }
        }
        Pages::After(next) => links.extend(next.map(|id| to("cursor", id.to_string(), "next"))),
    }
    (!links.is_empty()).then(|| links.join(", "))
}
