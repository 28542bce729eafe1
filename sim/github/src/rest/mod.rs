//! The REST calls: from a request to an answer, on the world alone.

pub(crate) mod app_calls;
pub(crate) mod group_calls;
pub(crate) mod meta;
pub(crate) mod repositories;
pub(crate) mod runners;
pub(crate) mod runs;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::refusal::Refusal;
use crate::world::World;
use crate::world::model::{Caller, RateState, Scope};

/// A parsed REST call.
pub(crate) struct Call<'a> {
    pub(crate) method: &'a str,
    /// Decoded path segments.
    pub(crate) path: Vec<String>,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) body: &'a [u8],
    pub(crate) caller: &'a Caller,
    /// Root URL of the API as the caller wrote it.
    pub(crate) api: &'a str,
    /// Root URL of this server for guests.
    pub(crate) guests: &'a str,
    pub(crate) now: Timestamp,
}

/// An answer: status, body, and for a list the position in it.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Option<Value>,
    pub(crate) pages: Option<Pages>,
}

/// The position of an answer in a list.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pages {
    /// Page number, from 1, and number of the last page.
    Numbered { page: usize, last: usize },
    /// Number of the entry after which the next page begins.
    After(Option<u64>),
}

impl Answer {
    pub(crate) fn ok(body: Value) -> Self {
        Self { status: 200, body: Some(body), pages: None }
    }

    pub(crate) fn created(body: Value) -> Self {
        Self { status: 201, body: Some(body), pages: None }
    }

    pub(crate) fn empty(status: u16) -> Self {
        Self { status, body: None, pages: None }
    }
}

impl Call<'_> {
    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Result<Value, Refusal> {
        serde_json::from_slice(self.body).map_err(|_| Refusal::BadJson)
    }

    /// Returns one page of `all` in the field `field`.
    pub(crate) fn page(&self, field: &str, all: Vec<Value>) -> Answer {
        let total = all.len();
        let (entries, pages) = self.cut(all);
        Answer { pages: Some(pages), ..Answer::ok(json!({ "total_count": total, field: entries })) }
    }

    /// Returns one page of `all` as a list.
    pub(crate) fn bare_page(&self, all: Vec<Value>) -> Answer {
        let (entries, pages) = self.cut(all);
        Answer { pages: Some(pages), ..Answer::ok(entries.into()) }
    }

    /// Returns one page of numbered entries as a list. The next page begins after `cursor`.
    pub(crate) fn cursor_page(&self, all: Vec<(u64, Value)>) -> Answer {
        let after = self.query("cursor").and_then(|cursor| cursor.parse::<u64>().ok());
        let begin = after.and_then(|after| all.iter().position(|(id, _)| *id == after)).map_or(0, |at| at + 1);
        let rest = all.get(begin..).unwrap_or_default();
        let shown = &rest[..rest.len().min(self.size())];
        let next = shown.last().map(|(id, _)| *id).filter(|_| rest.len() > shown.len());
        let entries: Vec<Value> = shown.iter().map(|(_, entry)| entry.clone()).collect();
        Answer { pages: Some(Pages::After(next)), ..Answer::ok(entries.into()) }
    }

    fn number(&self, name: &str) -> Option<usize> {
        self.query(name).and_then(|text| text.parse::<usize>().ok()).filter(|number| *number > 0)
    }

    fn size(&self) -> usize {
        self.number("per_page").unwrap_or(30).min(100)
    }

    fn cut(&self, all: Vec<Value>) -> (Vec<Value>, Pages) {
        let (page, size) = (self.number("page").unwrap_or(1), self.size());
        let last = all.len().div_ceil(size).max(1);
        let entries = all.into_iter().skip((page - 1).saturating_mul(size)).take(size).collect();
        (entries, Pages::Numbered { page, last })
    }
}

/// Returns true if the call needs no token.
pub(crate) fn is_public(path: &str) -> bool {
    matches!(path, "/repos/actions/runner/releases/latest" | "/rate_limit" | "/meta")
}

/// Returns true if the call does not count towards a limit.
pub(crate) fn is_free(path: &str) -> bool {
    path == "/rate_limit"
}

/// Answers a call whose caller has been authenticated and counted.
pub(crate) fn answer(world: &mut World, call: &Call<'_>) -> Result<Answer, Refusal> {
    let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
    match path.as_slice() {
        ["repos", "actions", "runner", "releases", "latest"] if call.method == "GET" => {
            runners::latest_release(world, call)
        }
        ["app", rest @ ..] => app_calls::app(world, call, rest),
        ["installation", "repositories"] if call.method == "GET" => app_calls::repositories(world, call),
        ["orgs", owner, "installation"] | ["repos", owner, _, "installation"] if call.method == "GET" => {
            app_calls::installation_for(world, call, owner)
        }
        ["rate_limit"] if call.method == "GET" => Ok(rate_limit(world, call)),
        ["meta"] if call.method == "GET" => Ok(meta::answer()),
        ["repos", owner, repo] => repositories::one(world, call, &format!("{owner}/{repo}")),
        ["orgs", login, "repos"] => repositories::of_organization(world, call, login),
        ["repos", owner, repo, "actions", rest @ ..] => {
            let scope = Scope::Repository(format!("{owner}/{repo}"));
            match rest {
                ["runners", rest @ ..] => runners::answer(world, call, &scope, rest),
                _ => runs::answer(world, call, &scope, rest),
            }
        }
        ["orgs", login, "actions", "runner-groups", rest @ ..] => {
            group_calls::answer(world, call, &Scope::Organization((*login).to_owned()), rest)
        }
        ["enterprises", slug, "actions", "runner-groups", rest @ ..] => {
            group_calls::answer(world, call, &Scope::Enterprise((*slug).to_owned()), rest)
        }
        ["enterprises", slug, "actions", "runners", rest @ ..] => {
            runners::answer(world, call, &Scope::Enterprise((*slug).to_owned()), rest)
        }
        ["orgs", login, "actions", "runners", rest @ ..] => {
            runners::answer(world, call, &Scope::Organization((*login).to_owned()), rest)
        }
        _ => Err(Refusal::NotFound),
    }
}

fn rate_limit(world: &mut World, call: &Call<'_>) -> Answer {
    let who = world.limit_key(call.caller);
    let shown = |state: RateState| {
        json!({
            "limit": state.limit,
            "used": state.used,
            "remaining": state.limit.saturating_sub(state.used),
            "reset": state.reset_at.as_second(),
        })
    };
    let [core, registrations] = world.rate_states(&who, call.now).map(shown);
    let resources = json!({ "core": core, "search": core, "actions_runner_registration": registrations });
    Answer::ok(json!({ "resources": resources, "rate": core }))
}
