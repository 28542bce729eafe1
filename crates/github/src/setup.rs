//! Settings of a client.

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use secrecy::SecretString;

use crate::app::AppCredential;
use crate::base_url::BaseUrl;
use crate::error::Error;

/// Credentials of the caller.
#[derive(Debug, Clone)]
pub enum Credential {
    /// No credential. It is enough for public data, with 60 requests per hour.
    Anonymous,
    /// A personal access token, fine-grained or classic.
    Token(SecretString),
    /// An installation of a GitHub App.
    App(AppCredential),
}

/// Settings of a [`Client`].
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// Address of the API.
    pub base_url: BaseUrl,
    /// Credentials of the caller.
    pub credential: Credential,
    /// Value of the `User-Agent` header, which GitHub requires: program and version.
    pub user_agent: String,
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
