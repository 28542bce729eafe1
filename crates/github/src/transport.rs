//! One request: counters, rate limit, conditional requests, and the way from a status to an [`Error`].

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use jiff::Timestamp;
use reqwest::header::{AUTHORIZATION, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH, LINK};
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::budget::Budget;
use crate::cache::Page;
use crate::client::Client;
use crate::error::Error;
use crate::link;

/// Pages read of one list at most: GitHub cuts filtered lists at 1 000 entries, runner groups end at 10 000.
const MAX_PAGES: usize = 100;

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

impl Client {
    /// All pages of a list, each turned into entries by `entries`.
    pub(crate) async fn list<P, T>(
        &self,
        operation: &Operation,
        path: &str,
        entries: fn(P) -> Vec<T>,
    ) -> Result<Vec<T>, Error>
    where
        P: DeserializeOwned,
    {
        let mut url = self.url(operation, path)?;
        let mut all = Vec::new();
        for _ in 0..MAX_PAGES {
            let page = self.get_page(operation, &url).await?;
            all.extend(entries(decode(operation, &page.body)?));
            let Some(next) = &page.next else { return Ok(all) };
            url = self.next_url(operation, next)?;
        }
        Err(malformed(operation, format!("the list has more than {MAX_PAGES} pages")))
    }

    /// One object.
    pub(crate) async fn get<T: DeserializeOwned>(&self, operation: &Operation, path: &str) -> Result<T, Error> {
        let url = self.url(operation, path)?;
        let page = self.get_page(operation, &url).await?;
        decode(operation, &page.body)
    }

    /// Sends `body` once; there is no retry because a lost answer may hide a success.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        operation: &Operation,
        path: &str,
        body: &serde_json::Value,
    ) -> Result<T, Error> {
        let request = self.shared.http.post(self.url(operation, path)?).json(body);
        let response = self.send(operation, request).await?;
        let body = response.bytes().await.map_err(|e| transport(operation, e))?;
        decode(operation, &body)
    }

    /// Deletes once.
    pub(crate) async fn delete(&self, operation: &Operation, path: &str) -> Result<(), Error> {
        let request = self.shared.http.delete(self.url(operation, path)?);
        self.send(operation, request).await.map(drop)
    }

    async fn get_page(&self, operation: &Operation, url: &Url) -> Result<Arc<Page>, Error> {
        let policy = ExponentialBuilder::default().with_min_delay(Duration::from_millis(200)).with_max_times(2);
        (|| self.get_page_once(operation, url))
            .retry(policy)
            .when(|error| matches!(error, Error::Transport { .. } | Error::Server { .. }))
            .await
    }

    async fn get_page_once(&self, operation: &Operation, url: &Url) -> Result<Arc<Page>, Error> {
        let known = self.shared.cache().get(url.as_str());
        let mut request = self.shared.http.request(Method::GET, url.clone());
        if let Some(etag) = known.as_ref().and_then(|page| page.etag.as_deref()) {
            request = request.header(IF_NONE_MATCH, etag);
        }
        let response = self.send(operation, request).await?;
        if response.status() == StatusCode::NOT_MODIFIED
            && let Some(page) = known
        {
            self.shared.not_modified.fetch_add(1, Ordering::Relaxed);
            return Ok(page);
        }
        let etag = header(response.headers(), ETAG.as_str());
        let next = header(response.headers(), LINK.as_str()).and_then(|l| link::next(&l).map(str::to_owned));
        let body = response.bytes().await.map_err(|e| transport(operation, e))?.to_vec();
        let page = Arc::new(Page { etag, next, body });
        if page.etag.is_some() {
            self.shared.cache().put(url.as_str(), Arc::clone(&page));
        }
        Ok(page)
    }

    /// Sends nothing but who asks, once, with a claim in place of the client's own credential.
    pub(crate) async fn post_as<T: DeserializeOwned>(
        &self,
        operation: &Operation,
        path: &str,
        authorization: HeaderValue,
    ) -> Result<T, Error> {
        let request = self.shared.http.post(self.url(operation, path)?).header(AUTHORIZATION, authorization);
        let response = self.send_as_is(operation, request).await?;
        let body = response.bytes().await.map_err(|e| transport(operation, e))?;
        decode(operation, &body)
    }

    async fn send(&self, operation: &Operation, request: reqwest::RequestBuilder) -> Result<reqwest::Response, Error> {
        let Some(app) = &self.shared.app else { return self.send_as_is(operation, request).await };
        let token = self.installation_token(app).await?;
        let answer = self.send_as_is(operation, request.header(AUTHORIZATION, token.clone())).await;
        if matches!(answer, Err(Error::Unauthorized { .. })) {
            // It was revoked before its time: the next call buys another.
            app.forget(&token).await;
        }
        answer
    }

    async fn send_as_is(
        &self,
        operation: &Operation,
        request: reqwest::RequestBuilder,
    ) -> Result<reqwest::Response, Error> {
        self.refuse_while_limited(operation)?;
        self.shared.sent.fetch_add(1, Ordering::Relaxed);
        let response = request.send().await.map_err(|e| transport(operation, e))?;
        self.shared.budget().observe(response.headers());
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
        let mut budget = self.shared.budget();
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
            self.shared.budget().blocked_until = Some(until);
            return Error::RateLimited { operation: operation.name.clone(), until };
        }
        classify(operation, status, &refusal)
    }

    fn url(&self, operation: &Operation, path: &str) -> Result<Url, Error> {
        self.shared.base_url.join(path).ok_or_else(|| malformed(operation, format!("{path} is not a path")))
    }

    fn next_url(&self, operation: &Operation, next: &str) -> Result<Url, Error> {
        let url = Url::parse(next).map_err(|e| malformed(operation, e))?;
        if self.shared.base_url.same_origin(&url) {
            return Ok(url);
        }
        // The token goes with every request, so a page elsewhere is not fetched.
        Err(malformed(operation, "the next page is on another server"))
    }
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

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}

fn decode<T: DeserializeOwned>(operation: &Operation, body: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|e| malformed(operation, e))
}

fn malformed(operation: &Operation, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Malformed { operation: operation.name.clone(), source: source.into() }
}

fn transport(operation: &Operation, source: reqwest::Error) -> Error {
    Error::Transport { operation: operation.name.clone(), source: source.without_url() }
}
