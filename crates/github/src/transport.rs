//! The way of one request to GitHub, and of its answer back.
//!
//! In production that is HTTPS. A caller may give another one ([`crate::Client::over`]): then nothing here opens a socket.

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

/// Largest answer that is read, in bytes. A page of a hundred workflow runs has about a tenth of it.
pub(crate) const LARGEST_ANSWER: usize = 16 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A way of requests to one GitHub.
///
/// It sends each request once, and follows redirects on the same server. Repetition and time limits are the client's.
pub trait Transport: Send + Sync {
    /// Sends a request, whose URI is absolute, and returns the whole answer.
    ///
    /// # Errors
    /// See [`TransportError`].
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, TransportError>>;
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// No answer came: the request may have been carried out.
    #[error("no answer")]
    Interrupted(#[source] Box<dyn StdError + Send + Sync>),
    /// The answer is larger than what the client reads. The request was carried out.
    #[error("the answer has more than {} MiB", limit >> 20)]
    Oversized {
        /// Largest answer in bytes.
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
                // A body that breaks off must not hide the status of a refusal.
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
    // The URL may hold parameters.
    TransportError::Interrupted(error.without_url().into())
}

/// A renamed repository answers with a redirect. It is followed on the same server only: the token must not leave it.
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
