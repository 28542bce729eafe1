//! The client and how it is set up.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::redirect;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use secrecy::{ExposeSecret, SecretString};

use crate::app::{App, AppCredential};
use crate::base_url::BaseUrl;
use crate::budget::{Budget, RequestCounts};
use crate::cache::Cache;
use crate::error::Error;

const API_VERSION: HeaderValue = HeaderValue::from_static("2022-11-28");
const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/vnd.github+json");
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Credential of the requests.
#[derive(Debug, Clone)]
pub enum Credential {
    /// Nobody: enough for what is public, 60 requests an hour.
    Anonymous,
    /// A personal access token, fine-grained or classic.
    Token(SecretString),
    /// A GitHub App where it is installed.
    App(AppCredential),
}

/// Configuration of a [`Client`].
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// Which GitHub.
    pub base_url: BaseUrl,
    /// Credential of the requests.
    pub credential: Credential,
    /// `User-Agent`, which GitHub demands: program and version.
    pub user_agent: String,
}

/// A connection to one GitHub with one credential. Clones share everything.
#[derive(Clone)]
pub struct Client {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) http: reqwest::Client,
    pub(crate) base_url: BaseUrl,
    /// Where an App asks: its tokens come and go, so they are not a default header.
    pub(crate) app: Option<App>,
    budget: Mutex<Budget>,
    cache: Mutex<Cache>,
    pub(crate) sent: AtomicU64,
    pub(crate) not_modified: AtomicU64,
}

impl Client {
    /// A client that has asked nothing yet. The process must have a TLS provider installed; certificates are checked
    /// against Mozilla's roots compiled in, because the dispatcher's container has no certificate store.
    ///
    /// # Errors
    /// [`Error::Setup`] where the token or user agent cannot stand in a header, or an App's key is none.
    pub fn new(config: ClientConfig) -> Result<Self, Error> {
        Self::with_roots(config, public_roots())
    }

    /// The same for a GitHub Enterprise Server whose certificate a private authority vouches for: `authority` is that
    /// one's certificate, or several, as PEM. Public authorities are not trusted then.
    ///
    /// # Errors
    /// [`Error::Setup`], also where there is no certificate in `authority`.
    pub fn with_certificate_authority(config: ClientConfig, authority: &str) -> Result<Self, Error> {
        Self::with_roots(config, private_roots(authority)?)
    }

    fn with_roots(config: ClientConfig, roots: RootCertStore) -> Result<Self, Error> {
        let base_url = config.base_url;
        let app = match &config.credential {
            Credential::App(credential) => Some(App::new(credential)?),
            Credential::Anonymous | Credential::Token(_) => None,
        };
        let mut builder = reqwest::Client::builder()
            .default_headers(headers(&config.credential)?)
            .user_agent(config.user_agent)
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .redirect(stay_at(base_url.clone()))
            .tls_backend_preconfigured(tls(roots)?);
        if base_url.is_local() {
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(|e| Error::Setup { reason: e.to_string() })?;
        let shared = Shared {
            http,
            base_url,
            app,
            budget: Mutex::default(),
            cache: Mutex::default(),
            sent: AtomicU64::new(0),
            not_modified: AtomicU64::new(0),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Returns the known state of the rate limit.
    #[must_use]
    pub fn budget(&self) -> Budget {
        *self.shared.budget()
    }

    /// How much was asked so far.
    #[must_use]
    pub fn request_counts(&self) -> RequestCounts {
        RequestCounts {
            sent: self.shared.sent.load(Ordering::Relaxed),
            not_modified: self.shared.not_modified.load(Ordering::Relaxed),
        }
    }
}

impl Shared {
    pub(crate) fn budget(&self) -> MutexGuard<'_, Budget> {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("base_url", &self.shared.base_url.to_string()).finish_non_exhaustive()
    }
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

pub(crate) fn authorization(token: &SecretString) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose_secret().trim()))
        .map_err(|_| Error::Setup { reason: "the token contains characters that no token has".into() })?;
    value.set_sensitive(true);
    Ok(value)
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

fn public_roots() -> RootCertStore {
    RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }
}

fn private_roots(pem: &str) -> Result<RootCertStore, Error> {
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
