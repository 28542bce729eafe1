//! Delivery of requests: failover between endpoints, repetition, and time limits.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use backon::{ExponentialBuilder, Retryable};
use bytes::Bytes;
use http::{
    Method, Request,
    header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, USER_AGENT},
};
use secrecy::ExposeSecret;
use serde::de::DeserializeOwned;

use crate::{
    answer::{Envelope, Head},
    call::{Body, Call},
    endpoint::Endpoint,
    error::{Error, SetupError},
    setup::ClientConfig,
    transport::{Https, LARGEST_ANSWER, Transport, TransportError},
};

/// Longest wait for an answer. Synchronous calls wait up to 10 s for a lock, and the API proxy gives up after 30 s.
const ANSWER: Duration = Duration::from_secs(60);
const UPLOAD: Duration = Duration::from_secs(1800);
const ATTEMPTS: usize = 3;
/// Number of attempts while no endpoint accepts the request.
const DELIVERIES: usize = 5;

/// The means of sending requests.
pub(crate) enum Way {
    Https(Https),
    /// A transport of the caller. It accepts no uploads.
    Given(Arc<dyn Transport>),
}

/// Delivers requests to the endpoints of one cluster.
pub(crate) struct Delivery {
    way: Way,
    endpoints: Vec<Endpoint>,
    authorization: HeaderValue,
    user_agent: HeaderValue,
    token_id: String,
    /// Index of the endpoint that answered last.
    preferred: AtomicUsize,
    /// Seed of the next request's jitter.
    jitter: AtomicU64,
}

impl Delivery {
    /// Makes a delivery. `jitter` spreads the repetitions, so that clients do not repeat their requests at the same
    /// time.
    pub(crate) fn new(way: Way, config: &ClientConfig, jitter: u64) -> Result<Self, SetupError> {
        if config.endpoints.is_empty() {
            return Err(SetupError::NoEndpoint);
        }
        let mut authorization = HeaderValue::from_str(config.token.header().expose_secret())
            .map_err(|error| SetupError::Http(error.into()))?;
        authorization.set_sensitive(true);
        let user_agent = HeaderValue::from_str(&config.user_agent).map_err(|error| SetupError::Http(error.into()))?;
        Ok(Self {
            way,
            endpoints: config.endpoints.clone(),
            authorization,
            user_agent,
            token_id: config.token.id().to_owned(),
            preferred: AtomicUsize::new(0),
            jitter: AtomicU64::new(jitter),
        })
    }

    /// Index of the endpoint that answered last.
    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoints[self.preferred.load(Ordering::Relaxed) % self.endpoints.len()]
    }

    /// Sends a request and reads the `data` of its answer.
    ///
    /// Repeats every request while the node's API daemon accepts none. Repeats only reads if the connection breaks
    /// during the request.
    pub(crate) async fn call<T: DeserializeOwned>(&self, call: Call) -> Result<T, Error> {
        let body = self.deliver(&call).await?;
        let envelope: Envelope<T> = serde_json::from_slice(&body).map_err(|source| Error::Shape {
            method: call.name,
            path: call.path,
            source,
        })?;
        Ok(envelope.data)
    }

    /// Repeats the request until it is delivered. The attempts take longer than a restart of the node's API daemon,
    /// which takes a few seconds.
    async fn deliver(&self, call: &Call) -> Result<Bytes, Error> {
        let delays = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(250))
            .with_factor(2.0)
            .with_max_times(DELIVERIES - 1)
            .with_jitter()
            .with_jitter_seed(self.next_seed());
        let deliver =
            || async { if call.method == Method::GET { self.read(call).await } else { self.attempt(call).await } };
        deliver.retry(delays).when(Error::is_daemon_down).await
    }

    async fn read(&self, call: &Call) -> Result<Bytes, Error> {
        let delays = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(50))
            .with_factor(4.0)
            .with_max_times(ATTEMPTS - 1)
            .with_jitter()
            .with_jitter_seed(self.next_seed());
        let attempt = || self.attempt(call);
        let is_lost = |error: &Error| matches!(error, Error::Interrupted { .. }) || error.is_daemon_lost();
        attempt.retry(delays).when(is_lost).await
    }

    /// Tries the endpoints in turn until one accepts the request. Begins with the endpoint that answered last.
    async fn attempt(&self, call: &Call) -> Result<Bytes, Error> {
        let first = self.preferred.load(Ordering::Relaxed);
        let mut failure = None;
        for index in (0..self.endpoints.len()).map(|offset| (first + offset) % self.endpoints.len()) {
            match self.send(&self.endpoints[index], call).await {
                Err(error @ (Error::Unreachable { .. } | Error::Untrusted { .. })) => {
                    tracing::debug!(endpoint = %self.endpoints[index], %error, "endpoint does not accept requests");
                    failure.get_or_insert(error);
                }
                outcome => {
                    self.preferred.store(index, Ordering::Relaxed);
                    return outcome;
                }
            }
        }
        Err(failure.unwrap_or(Error::Setup(SetupError::NoEndpoint)))
    }

    fn next_seed(&self) -> u64 {
        self.jitter.fetch_add(1, Ordering::Relaxed)
    }

    async fn send(&self, endpoint: &Endpoint, call: &Call) -> Result<Bytes, Error> {
        let request = self.request(endpoint, call).map_err(|error| Error::Setup(SetupError::Http(error.into())))?;
        let (limit, sent) = match (&self.way, &call.body) {
            (Way::Https(https), Body::Upload(upload)) => {
                (UPLOAD, tokio::time::timeout(UPLOAD, https.upload(request, upload)).await)
            }
            (Way::Given(_), Body::Upload(_)) => return Err(Error::Setup(SetupError::NoUploads)),
            (Way::Https(https), _) => (ANSWER, tokio::time::timeout(ANSWER, https.send(request)).await),
            (Way::Given(given), _) => (ANSWER, tokio::time::timeout(ANSWER, given.send(request)).await),
        };
        let late = |_| {
            let text = format!("no answer within {} s", limit.as_secs());
            Err(TransportError::Interrupted(text.into()))
        };
        let response = sent.unwrap_or_else(late).and_then(bounded).map_err(|error| lost(endpoint, call, error))?;
        tracing::debug!(
            method = call.name,
            path = call.path,
            status = response.status().as_u16(),
            "Proxmox VE answered"
        );
        Head::of(&response).check(endpoint, &self.token_id, call, response.into_body())
    }

    fn request(&self, endpoint: &Endpoint, call: &Call) -> Result<Request<Bytes>, http::Error> {
        let request = Request::builder()
            .method(call.method.clone())
            .uri(endpoint.join(&call.path, &call.query))
            .header(AUTHORIZATION, &self.authorization)
            .header(USER_AGENT, &self.user_agent);
        match &call.body {
            Body::None | Body::Upload(_) => request.body(Bytes::new()),
            // Some proxies require a length for an empty body too.
            Body::Form(form) => request
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                .header(CONTENT_LENGTH, form.len())
                .body(Bytes::from(form.clone())),
        }
    }
}

/// Refuses an answer above the limit, which the caller's transport may not have checked.
fn bounded(response: http::Response<Bytes>) -> Result<http::Response<Bytes>, TransportError> {
    if response.body().len() > LARGEST_ANSWER {
        return Err(TransportError::Oversized { limit: LARGEST_ANSWER });
    }
    Ok(response)
}

fn lost(endpoint: &Endpoint, call: &Call, error: TransportError) -> Error {
    let (method, path) = (call.name, call.path.clone());
    match error {
        TransportError::Unreachable(source) => Error::Unreachable { endpoint: endpoint.to_string(), source },
        TransportError::Untrusted { fingerprint, reason } => {
            Error::Untrusted { endpoint: endpoint.to_string(), fingerprint, reason }
        }
        TransportError::Interrupted(source) => Error::Interrupted { method, path, source },
        TransportError::Oversized { limit } => Error::Oversized { method, path, limit },
    }
}
