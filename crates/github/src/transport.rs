//! One request: rate limit, and the way from a status to an [`Error`].

use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{StatusCode, Url};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::base_url::BaseUrl;
use crate::budget::Budget;
use crate::error::Error;

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

/// Body of a refusal; `errors` is a list of texts or of objects.
#[derive(Debug, Default, Deserialize)]
struct Refusal {
    #[serde(default)]
    message: String,
    #[serde(default)]
    errors: serde_json::Value,
}

/// The way to one GitHub, with what its answers said about the rate limit.
pub(crate) struct Transport {
    pub(crate) http: reqwest::Client,
    pub(crate) base_url: BaseUrl,
    budget: Mutex<Budget>,
}

impl Transport {
    pub(crate) fn new(http: reqwest::Client, base_url: BaseUrl) -> Self {
        Self { http, base_url, budget: Mutex::default() }
    }

    pub(crate) fn budget(&self) -> MutexGuard<'_, Budget> {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends nothing but who asks, once, with a claim in place of the client's own credential.
    pub(crate) async fn post_as<T: DeserializeOwned>(
        &self,
        operation: &Operation,
        path: &str,
        authorization: HeaderValue,
    ) -> Result<T, Error> {
        let request = self.http.post(self.url(operation, path)?).header(AUTHORIZATION, authorization);
        let response = self.send(operation, request).await?;
        let body = response.bytes().await.map_err(|e| transport(operation, e))?;
        decode(operation, &body)
    }

    /// Sends a request once, unless the rate limit forbids it.
    pub(crate) async fn send(
        &self,
        operation: &Operation,
        request: reqwest::RequestBuilder,
    ) -> Result<reqwest::Response, Error> {
        self.refuse_while_limited(operation)?;
        let response = request.send().await.map_err(|e| transport(operation, e))?;
        self.budget().observe(response.headers());
        let status = response.status();
        tracing::debug!(operation = operation.name, status = status.as_u16(), "asked GitHub");
        if status.is_success() || status == StatusCode::NOT_MODIFIED {
            return Ok(response);
        }
        let headers = response.headers().clone();
        // A body that breaks off must not hide the status.
        let body = response.bytes().await.unwrap_or_default();
        Err(self.refused(operation, status, &headers, &body))
    }

    fn refuse_while_limited(&self, operation: &Operation) -> Result<(), Error> {
        let mut budget = self.budget();
        let Some(until) = budget.blocked_until else { return Ok(()) };
        if Timestamp::now() < until {
            return Err(Error::RateLimited { operation: operation.name.clone(), until });
        }
        budget.blocked_until = None;
        Ok(())
    }

    fn refused(&self, operation: &Operation, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Error {
        let refusal: Refusal = serde_json::from_slice(body).unwrap_or_default();
        if matches!(status, StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS)
            && let Some(until) = Budget::limited(headers, &refusal.message, Timestamp::now())
        {
            self.budget().blocked_until = Some(until);
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
        // The token goes with every request, so a page elsewhere is not fetched.
        Err(malformed(operation, "the next page is on another server"))
    }
}

/// Returns the value of `Authorization` for a token.
pub(crate) fn authorization(token: &SecretString) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose_secret().trim()))
        .map_err(|_| Error::Setup { reason: "the token contains characters that no token has".into() })?;
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

pub(crate) fn transport(operation: &Operation, source: reqwest::Error) -> Error {
    Error::Transport { operation: operation.name.clone(), source: source.without_url() }
}
