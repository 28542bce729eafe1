//! One request: headers, rate limit, time limit, and the [`Error`] of each status.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use http::{Method, Request, Response, StatusCode};
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use crate::base_url::BaseUrl;
use crate::budget::Budget;
use crate::error::Error;
use crate::setup::{ClientConfig, Credential};
use crate::transport::{LARGEST_ANSWER, Transport, TransportError};

const API_VERSION: HeaderValue = HeaderValue::from_static("2022-11-28");
const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/vnd.github+json");
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Returns the wall time, in which GitHub states the end of a limit or of a token.
pub(crate) type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// An operation: its name for messages, and the permission that it needs.
#[derive(Debug, Clone)]
pub(crate) struct Operation {
    pub(crate) name: String,
    pub(crate) hint: &'static str,
}

impl Operation {
    pub(crate) fn new(name: String, hint: &'static str) -> Self {
        Self { name, hint }
    }
}

/// Body of a refusal. `errors` is a list of texts or of objects.
#[derive(Debug, Default, Deserialize)]
struct Refusal {
    #[serde(default)]
    message: String,
    #[serde(default)]
    errors: serde_json::Value,
}

/// The requests to one GitHub, with the state of its rate limit.
pub(crate) struct Calls {
    transport: Arc<dyn Transport>,
    pub(crate) base_url: BaseUrl,
    /// Headers of every request.
    headers: HeaderMap,
    budget: Mutex<Budget>,
    clock: Clock,
}

impl Calls {
    pub(crate) fn new(transport: Arc<dyn Transport>, config: &ClientConfig, clock: Clock) -> Result<Self, Error> {
        let user_agent = HeaderValue::from_str(&config.user_agent).map_err(|_| Error::Setup {
            reason: "the user agent contains characters that a header cannot have".into(),
        })?;
        let mut headers = HeaderMap::from_iter([
            (ACCEPT, MEDIA_TYPE),
            (HeaderName::from_static("x-github-api-version"), API_VERSION),
            (USER_AGENT, user_agent),
        ]);
        if let Credential::Token(token) = &config.credential {
            headers.insert(AUTHORIZATION, authorization(token)?);
        }
        let base_url = config.base_url.clone();
        Ok(Self { transport, base_url, headers, budget: Mutex::default(), clock })
    }

    pub(crate) fn budget(&self) -> MutexGuard<'_, Budget> {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// Returns a request with the headers of every request.
    pub(crate) fn request(&self, method: Method, url: &Url, body: Option<&serde_json::Value>) -> Prepared {
        let content = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        let mut headers = self.headers.clone();
        if body.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        Prepared { method, url: url.clone(), headers, body: content }
    }

    /// Sends a request without a body once, with a claim in place of the client's own credential.
    pub(crate) async fn post_as<T: DeserializeOwned>(
        &self,
        operation: &Operation,
        path: &str,
        authorization: HeaderValue,
    ) -> Result<T, Error> {
        let request = self.request(Method::POST, &self.url(operation, path)?, None);
        let response = self.send(operation, request.with(AUTHORIZATION, authorization)).await?;
        decode(operation, response.body())
    }

    /// Sends a request once, unless the rate limit forbids it.
    pub(crate) async fn send(&self, operation: &Operation, request: Prepared) -> Result<Response<Bytes>, Error> {
        self.refuse_while_limited(operation)?;
        let request = request.build().map_err(|error| malformed(operation, error))?;
        let sent = tokio::time::timeout(REQUEST_TIMEOUT, self.transport.send(request)).await;
        let late = |_| {
            let text = format!("no answer within {} s", REQUEST_TIMEOUT.as_secs());
            Err(TransportError::Interrupted(text.into()))
        };
        let response = sent.unwrap_or_else(late).map_err(|error| lost(operation, error))?;
        self.budget().observe(response.headers());
        let status = response.status();
        tracing::debug!(operation = operation.name, status = status.as_u16(), "asked GitHub");
        if !status.is_success() && status != StatusCode::NOT_MODIFIED {
            return Err(self.refused(operation, status, response.headers(), response.body()));
        }
        if response.body().len() > LARGEST_ANSWER {
            return Err(lost(operation, TransportError::Oversized { limit: LARGEST_ANSWER }));
        }
        Ok(response)
    }

    fn refuse_while_limited(&self, operation: &Operation) -> Result<(), Error> {
        let mut budget = self.budget();
        let Some(until) = budget.blocked_until else { return Ok(()) };
        if self.now() < until {
            return Err(Error::RateLimited { operation: operation.name.clone(), until });
        }
        budget.blocked_until = None;
        Ok(())
    }

    fn refused(&self, operation: &Operation, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Error {
        let refusal: Refusal = serde_json::from_slice(body).unwrap_or_default();
        if matches!(status, StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS)
            && let Some(until) = Budget::limited(headers, &refusal.message, self.now())
        {
            self.budget().block(until);
            return Error::RateLimited { operation: operation.name.clone(), until };
        }
        classify(operation, status, &refusal)
    }

    pub(crate) fn url(&self, operation: &Operation, path: &str) -> Result<Url, Error> {
        self.base_url.join(path).ok_or_else(|| malformed(operation, format!("{path} is not a path")))
    }

    pub(crate) fn next_url(&self, operation: &Operation, next: &str) -> Result<Url, Error> {
        let url = Url::parse(next).map_err(|e| malformed(operation, e))?;
        if self.base_url.same_origin(&url) {
            return Ok(url);
        }
        // Every request has the token, so a page on another server is not fetched.
        Err(malformed(operation, "the next page is on another server"))
    }
}

/// Returns the value of `Authorization` for a token.
pub(crate) fn authorization(token: &SecretString) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose_secret().trim()))
        .map_err(|_| Error::Setup { reason: "the token contains characters that a token cannot have".into() })?;
    value.set_sensitive(true);
    Ok(value)
}

fn classify(operation: &Operation, status: StatusCode, refusal: &Refusal) -> Error {
    let name = operation.name.clone();
    match status {
        StatusCode::UNAUTHORIZED => Error::Unauthorized { operation: name },
        StatusCode::FORBIDDEN => {
            Error::Forbidden { operation: name, message: refusal.message.clone(), hint: operation.hint }
        }
        StatusCode::NOT_FOUND => Error::NotFound { operation: name, hint: operation.hint },
        status if status.is_server_error() => Error::Server { operation: name, status: status.as_u16() },
        status => Error::Rejected { operation: name, status: status.as_u16(), message: refusal.text() },
    }
}

impl Refusal {
    fn text(&self) -> String {
        let errors = self.errors.as_array().map(Vec::as_slice).unwrap_or_default();
        let details = errors.iter().filter_map(|e| e.as_str().or_else(|| e.get("message")?.as_str()));
        std::iter::once(self.message.as_str()).chain(details).collect::<Vec<_>>().join("; ")
    }
}

pub(crate) fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}

pub(crate) fn decode<T: DeserializeOwned>(operation: &Operation, body: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|e| malformed(operation, e))
}

pub(crate) fn malformed(operation: &Operation, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Malformed { operation: operation.name.clone(), source: source.into() }
}

fn lost(operation: &Operation, error: TransportError) -> Error {
    match error {
        TransportError::Interrupted(source) => Error::Transport { operation: operation.name.clone(), source },
        error @ TransportError::Oversized { .. } => malformed(operation, error),
    }
}

/// A request to which further headers can be added.
#[derive(Clone)]
pub(crate) struct Prepared {
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Bytes,
}

impl Prepared {
    pub(crate) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    fn build(self) -> Result<Request<Bytes>, http::Error> {
        let mut request = Request::builder().method(self.method).uri(self.url.as_str()).body(self.body)?;
        *request.headers_mut() = self.headers;
        Ok(request)
    }
}
