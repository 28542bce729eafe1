//! The client: pages of lists, conditional requests, and the authorization of each request.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use bytes::Bytes;
use http::header::{AUTHORIZATION, ETAG, HeaderValue, IF_NONE_MATCH, LINK};
use http::{Method, Response, StatusCode};
use jiff::Timestamp;
use rustls::RootCertStore;
use serde::de::DeserializeOwned;
use url::Url;

use crate::app::App;
use crate::budget::Budget;
use crate::cache::{Cache, Page};
use crate::calls::{Calls, Clock, Operation, Prepared, decode, header, malformed};
use crate::error::Error;
use crate::link;
use crate::setup::{ClientConfig, Credential, private_roots, public_roots};
use crate::transport::{Https, Transport};

/// Largest number of pages of one list. GitHub cuts filtered lists at 1,000 entries, and a runner group has at most
/// 10,000 runners.
const MAX_PAGES: usize = 100;

/// A client of one GitHub with one credential. Clones share everything.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    calls: Calls,
    /// App whose tokens the requests use. `None` for a fixed token, which is in a default header.
    app: Option<App>,
    cache: Mutex<Cache>,
}

impl Client {
    /// Makes a client, which connects when it sends its first request. The process must have a TLS provider installed.
    /// Certificates are checked against Mozilla's roots, which are compiled in because the dispatcher's container has
    /// no certificate store.
    ///
    /// # Errors
    /// [`Error::Setup`] if the token or the user agent cannot be in a header, or the App's key is not a key.
    pub fn new(config: ClientConfig) -> Result<Self, Error> {
        Self::with_roots(config, public_roots())
    }

    /// Makes a client of a GitHub Enterprise Server whose certificate was signed by a private authority. `authority`
    /// has the certificates of the authority in PEM. Public authorities are not trusted.
    ///
    /// # Errors
    /// [`Error::Setup`], also if `authority` has no certificate.
    pub fn with_certificate_authority(config: ClientConfig, authority: &str) -> Result<Self, Error> {
        Self::with_roots(config, private_roots(authority)?)
    }

    fn with_roots(config: ClientConfig, roots: RootCertStore) -> Result<Self, Error> {
        let transport = Https::new(&config.base_url, roots)?;
        Self::over(Arc::new(transport), config, Arc::new(Timestamp::now))
    }

    /// Makes a client that sends its requests over `transport`. `clock` returns the wall time, in which GitHub states
    /// the end of a limit or of a token.
    ///
    /// # Errors
    /// [`Error::Setup`] when the configuration cannot be used.
    pub fn over(transport: Arc<dyn Transport>, config: ClientConfig, clock: Clock) -> Result<Self, Error> {
        let app = match &config.credential {
            Credential::App(credential) => Some(App::new(credential)?),
            Credential::Anonymous | Credential::Token(_) => None,
        };
        let calls = Calls::new(transport, &config, clock)?;
        Ok(Self { shared: Arc::new(Shared { calls, app, cache: Mutex::default() }) })
    }

    /// Returns the known state of the rate limit.
    #[must_use]
    pub fn budget(&self) -> Budget {
        *self.shared.calls.budget()
    }

    /// Returns the entries of all pages of a list. `entries` returns those of one page.
    pub(crate) async fn list<P, T>(
        &self,
        operation: &Operation,
        path: &str,
        entries: fn(P) -> Vec<T>,
    ) -> Result<Vec<T>, Error>
    where
        P: DeserializeOwned,
    {
        let mut url = self.shared.calls.url(operation, path)?;
        let mut all = Vec::new();
        for _ in 0..MAX_PAGES {
            let page = self.get_page(operation, &url).await?;
            all.extend(entries(decode(operation, &page.body)?));
            let Some(next) = &page.next else { return Ok(all) };
            url = self.shared.calls.next_url(operation, next)?;
        }
        Err(malformed(operation, format!("the list has more than {MAX_PAGES} pages")))
    }

    /// Returns one object.
    pub(crate) async fn get<T: DeserializeOwned>(&self, operation: &Operation, path: &str) -> Result<T, Error> {
        let url = self.shared.calls.url(operation, path)?;
        let page = self.get_page(operation, &url).await?;
        decode(operation, &page.body)
    }

    /// Sends `body` once. A request without an answer is not repeated, because it may have succeeded.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        operation: &Operation,
        path: &str,
        body: &serde_json::Value,
    ) -> Result<T, Error> {
        let calls = &self.shared.calls;
        let request = calls.request(Method::POST, &calls.url(operation, path)?, Some(body));
        decode(operation, self.send(operation, request).await?.body())
    }

    /// Sends a DELETE request once.
    pub(crate) async fn delete(&self, operation: &Operation, path: &str) -> Result<(), Error> {
        let calls = &self.shared.calls;
        let request = calls.request(Method::DELETE, &calls.url(operation, path)?, None);
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
        let mut request = self.shared.calls.request(Method::GET, url, None);
        let etag = known.as_ref().and_then(|page| HeaderValue::from_str(page.etag.as_deref()?).ok());
        if let Some(etag) = etag {
            request = request.with(IF_NONE_MATCH, etag);
        }
        let response = self.send(operation, request).await?;
        if response.status() == StatusCode::NOT_MODIFIED
            && let Some(page) = known
        {
            return Ok(page);
        }
        let etag = header(response.headers(), ETAG.as_str());
        let next = header(response.headers(), LINK.as_str()).and_then(|l| link::next(&l).map(str::to_owned));
        let body = response.into_body();
        let page = Arc::new(Page { etag, next, body });
        if page.etag.is_some() {
            self.shared.cache().put(url.as_str(), Arc::clone(&page));
        }
        Ok(page)
    }

    async fn send(&self, operation: &Operation, request: Prepared) -> Result<Response<Bytes>, Error> {
        let calls = &self.shared.calls;
        let Some(app) = &self.shared.app else { return calls.send(operation, request).await };
        let token = app.token(calls).await?;
        let answer = calls.send(operation, request.with(AUTHORIZATION, token.clone())).await;
        if matches!(answer, Err(Error::Unauthorized { .. })) {
            // GitHub revoked the token early. The next call requests a new one.
            app.forget(&token).await;
        }
        answer
    }
}

impl Shared {
    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let base_url = self.shared.calls.base_url.to_string();
        f.debug_struct("Client").field("base_url", &base_url).finish_non_exhaustive()
    }
}
