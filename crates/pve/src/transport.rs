//! Sends one request to an API server and reads its answer.
//!
//! In production, the transport is HTTPS. A caller may pass another transport ([`crate::Client::over`]), and then this
//! crate opens no socket.

use std::{error::Error as StdError, time::Duration};

use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture};
use http::{Request, Response};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use reqwest::{
    multipart::{Form, Part},
    redirect,
};

use crate::{
    call::Upload,
    error::SetupError,
    trust::{Fingerprint, find_refused},
};

/// Largest answer that is read, in bytes. The list of a cluster with 10,000 guests is about a third of that.
pub(crate) const LARGEST_ANSWER: usize = 16 << 20;
/// The server closes idle connections after exactly 5 s.
const IDLE: Duration = Duration::from_secs(4);
const CONNECT: Duration = Duration::from_secs(10);

/// A transport of requests to the API servers of one cluster.
///
/// A transport sends each request once. The client does failover, repetition and time limits.
pub trait Transport: Send + Sync {
    /// Sends a request to the server that its absolute URI names, and returns the whole answer. A reason phrase that is
    /// not the usual one of its status is an extension of the answer ([`hyper::ext::ReasonPhrase`]).
    ///
    /// # Errors
    /// See [`TransportError`]. The client does not repeat a change after [`TransportError::Interrupted`].
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, TransportError>>;
}

/// Cause of a missing answer.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The server accepts no connection. The request was not sent.
    #[error("no connection")]
    Unreachable(#[source] Box<dyn StdError + Send + Sync>),
    /// The server's certificate is not trusted. The request was not sent.
    #[error("the certificate is not trusted: {reason}")]
    Untrusted {
        /// Fingerprint of the server's certificate.
        fingerprint: Fingerprint,
        /// Reason for the refusal.
        reason: String,
    },
    /// The answer was lost. The request may have been carried out.
    #[error("the connection broke")]
    Interrupted(#[source] Box<dyn StdError + Send + Sync>),
    /// The answer is larger than the client's limit. The request was carried out.
    #[error("the answer has more than {limit} bytes")]
    Oversized {
        /// Limit in bytes.
        limit: usize,
    },
}

/// HTTPS, with a pool of connections.
pub(crate) struct Https(reqwest::Client);

impl Https {
    pub(crate) fn new(tls: rustls::ClientConfig) -> Result<Self, SetupError> {
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .http1_only()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .pool_idle_timeout(IDLE)
            .connect_timeout(CONNECT)
            .build()
            .map_err(|error| SetupError::Http(error.into()))?;
        Ok(Self(http))
    }

    /// Sends a file. All other fields precede it, because PVE reads the fields in their order.
    pub(crate) async fn upload(
        &self,
        request: Request<Bytes>,
        upload: &Upload,
    ) -> Result<Response<Bytes>, TransportError> {
        let length = upload.bytes.len() as u64;
        let file = Part::stream_with_length(upload.bytes.clone(), length).file_name(upload.filename.clone());
        let form = Form::new()
            .text("content", upload.content)
            .text("checksum-algorithm", "sha256")
            .text("checksum", upload.sha256.clone())
            .part("filename", file);
        let request = reqwest::Request::try_from(request).map_err(broken)?;
        let request = reqwest::RequestBuilder::from_parts(self.0.clone(), request).multipart(form);
        collect(request.send().await.map_err(broken)?).await
    }
}

impl Transport for Https {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, TransportError>> {
        async move {
            let request = reqwest::Request::try_from(request).map_err(broken)?;
            collect(self.0.execute(request).await.map_err(broken)?).await
        }
        .boxed()
    }
}

/// Reads an answer up to the limit.
async fn collect(response: reqwest::Response) -> Result<Response<Bytes>, TransportError> {
    let (head, body) = Response::<reqwest::Body>::from(response).into_parts();
    match Limited::new(body, LARGEST_ANSWER).collect().await {
        Ok(body) => Ok(Response::from_parts(head, body.to_bytes())),
        Err(error) if error.is::<LengthLimitError>() => Err(TransportError::Oversized { limit: LARGEST_ANSWER }),
        Err(error) => Err(match error.downcast::<reqwest::Error>() {
            Ok(error) => broken(*error),
            Err(error) => TransportError::Interrupted(error),
        }),
    }
}

fn broken(error: reqwest::Error) -> TransportError {
    // The URL may contain parameters.
    let error = error.without_url();
    if let Some(refused) = find_refused(&error) {
        return TransportError::Untrusted { fingerprint: refused.fingerprint, reason: refused.to_string() };
    }
    if error.is_connect() {
        return TransportError::Unreachable(error.into());
    }
    TransportError::Interrupted(error.into())
}
