//! TLS on the same port, under an authority made for this front: a client that must not send its token in the clear can
//! reach a simulator on another machine. Which of the two a caller speaks shows in its first byte.

use std::io;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

/// First byte of a TLS record that opens a connection (RFC 8446 §5.1: handshake).
const HANDSHAKE: u8 = 22;

/// A certificate and who vouches for it.
pub(crate) struct Tls {
    pub(crate) acceptor: TlsAcceptor,
    /// The authority's certificate, PEM.
    pub(crate) authority: String,
}

impl Tls {
    /// For this machine's loopback names and `hosts`.
    pub(crate) fn make(hosts: impl IntoIterator<Item = String>) -> io::Result<Self> {
        let (authority, issuer) = authority().map_err(io::Error::other)?;
        let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into_iter().chain(hosts).collect::<Vec<_>>();
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let leaf =
            CertificateParams::new(names).and_then(|leaf| leaf.signed_by(&key, &issuer)).map_err(io::Error::other)?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], key)
            .map_err(io::Error::other)?;
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), authority })
    }
}

/// Whether the caller opens with a TLS handshake.
pub(crate) async fn is_spoken(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0];
    let seen = stream.peek(&mut first).await?;
    Ok(seen == 1 && first[0] == HANDSHAKE)
}

fn authority() -> Result<(String, Issuer<'static, KeyPair>), rcgen::Error> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.distinguished_name.push(rcgen::DnType::CommonName, "GitHub simulator");
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?.pem();
    Ok((certificate, Issuer::new(params, key)))
}
