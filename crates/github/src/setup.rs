//! Settings of a client, and the HTTP client that is made from them.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::redirect;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use secrecy::SecretString;

use crate::app::AppCredential;
use crate::base_url::BaseUrl;
use crate::error::Error;
use crate::transport::authorization;

const API_VERSION: HeaderValue = HeaderValue::from_static("2022-11-28");
const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/vnd.github+json");
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Credentials of the caller.
#[derive(Debug, Clone)]
pub enum Credential {
    /// Nobody: enough for what is public, 60 requests an hour.
    Anonymous,
    /// A personal access token, fine-grained or classic.
    Token(SecretString),
    /// A GitHub App where it is installed.
    App(AppCredential),
}

/// Settings of a [`Client`].
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// Which GitHub.
    pub base_url: BaseUrl,
    /// Credentials of the caller.
    pub credential: Credential,
    /// `User-Agent`, which GitHub demands: program and version.
    pub user_agent: String,
}

/// Makes the HTTP client that sends every request of a client.
pub(crate) fn http_client(config: &ClientConfig, roots: RootCertStore) -> Result<reqwest::Client, Error> {
    let mut builder = reqwest::Client::builder()
        .default_headers(headers(&config.credential)?)
        .user_agent(&config.user_agent)
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(REQUEST_TIMEOUT)
        .redirect(stay_at(config.base_url.clone()))
        .tls_backend_preconfigured(tls(roots)?);
    if config.base_url.is_local() {
        builder = builder.no_proxy();
    }
    builder.build().map_err(|e| Error::Setup { reason: e.to_string() })
}

fn headers(credential: &Credential) -> Result<HeaderMap, Error> {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, MEDIA_TYPE);
    headers.insert("x-github-api-version", API_VERSION);
    if let Credential::Token(token) = credential {
        headers.insert(AUTHORIZATION, authorization(token)?);
    }
    Ok(headers)
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

pub(crate) fn public_roots() -> RootCertStore {
    RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }
}

pub(crate) fn private_roots(pem: &str) -> Result<RootCertStore, Error> {
    let unreadable = || Error::Setup { reason: "the certificate authority is not a PEM certificate".into() };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        roots.add(certificate.map_err(|_| unreadable())?).map_err(|_| unreadable())?;
    }
    if roots.is_empty() { Err(unreadable()) } else { Ok(roots) }
}

fn tls(roots: RootCertStore) -> Result<rustls::ClientConfig, Error> {
    let provider = rustls::crypto::CryptoProvider::get_default().cloned();
    let provider = provider.unwrap_or_else(|| Arc::new(rustls::crypto::ring::default_provider()));
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| Error::Setup { reason: e.to_string() })?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
