//! Sends one request to GitHub and reads its answer.
//!
//! In production, the transport is HTTPS. A caller may pass another transport ([`crate::Client::over`]), and then this
//! crate opens no socket.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use reqwest::redirect;
use rustls::RootCertStore;

use crate::base_url::BaseUrl;
use crate::error::Error;

/// Largest answer that is read, in bytes. A page of a hundred workflow runs is about a tenth of that.
pub(crate) const LARGEST_ANSWER: usize = 16 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A transport of requests to one GitHub.
///
/// A transport sends each request once, and follows redirects on the same server. The client does repetition and time
/// limits.
pub trait Transport: Send + Sync {
    /// Sends a request, whose URI is absolute, and returns the whole answer.
    ///
    /// # Errors
    /// See [`TransportError`].
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, TransportError>>;
}

/// Cause of a missing answer.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// GitHub did not answer. The request may have been carried out.
    #[error("no answer")]
    Interrupted(#[source] Box<dyn StdError + Send + Sync>),
    /// The answer is larger than the client's limit. The request was carried out.
    #[error("the answer has more than {} MiB", limit >> 20)]
    Oversized {
        /// Limit in bytes.
        limit: usize,
    },
}

/// HTTPS, with a pool of connections.
pub(crate) struct Https(reqwest::Client);

impl Https {
    pub(crate) fn new(base_url: &BaseUrl, roots: RootCertStore) -> Result<Self, Error> {
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(stay_at(base_url.clone()))
            .tls_backend_preconfigured(tls(roots)?);
        if base_url.is_local() {
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(|e| Error::Setup { reason: e.to_string() })?;
        Ok(Self(http))
    }
}

impl Transport for Https {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, TransportError>> {
        async move {
            let request = reqwest::Request::try_from(request).map_err(broken)?;
            let response = self.0.execute(request).await.map_err(broken)?;
            let is_refusal = !response.status().is_success();
            let (head, body) = Response::<reqwest::Body>::from(response).into_parts();
            match Limited::new(body, LARGEST_ANSWER).collect().await {
                Ok(body) => Ok(Response::from_parts(head, body.to_bytes())),
                // The status of a refusal counts even if its body is cut off.
                Err(_) if is_refusal => Ok(Response::from_parts(head, Bytes::new())),
                Err(error) if error.is::<LengthLimitError>() => {
                    Err(TransportError::Oversized { limit: LARGEST_ANSWER })
                }
                Err(error) => Err(match error.downcast::<reqwest::Error>() {
                    Ok(error) => broken(*error),
                    Err(error) => TransportError::Interrupted(error),
                }),
            }
        }
        .boxed()
    }
}

fn broken(error: reqwest::Error) -> TransportError {
    // The URL may contain parameters.
    TransportError::Interrupted(error.without_url().into())
}

/// Follows redirects on the same server only, so that the token is never sent to another one. GitHub redirects requests
/// for a renamed repository.
fn stay_at(base_url: BaseUrl) -> redirect::Policy {
    redirect::Policy::custom(move |attempt| {
        if attempt.previous().len() > 3 || !base_url.same_origin(attempt.url()) {
            return attempt.stop();
        }
        attempt.follow()
    })
}

fn tls(roots: RootCertStore) -> Result<rustls::ClientConfig, Error> {
    let provider = rustls::crypto::CryptoProvider::get_default().cloned();
    let provider = provider.unwrap_or_else(|| Arc::new(rustls::crypto::ring::default_provider()));
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| Error::Setup { reason: e.to_string() })?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
