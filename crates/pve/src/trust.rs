//! The check of a server's certificate: by the system's roots, by a private CA, or by its fingerprint.
//!
//! API requests and the console use the same rule. The error about a refused certificate contains its fingerprint, so
//! that the user can pin it.

use std::{error::Error as StdError, fmt, io, str::FromStr, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};
use sha2::{Digest, Sha256};

/// SHA-256 of a certificate in DER, written as PVE shows it: `AA:BB:…`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

/// The text is not 32 bytes of hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a SHA-256 fingerprint: it has 32 pairs of hexadecimal digits, with or without colons")]
pub struct FingerprintError(String);

impl Fingerprint {
    fn of(certificate: &CertificateDer<'_>) -> Self {
        Self(Sha256::digest(certificate).into())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pairs: Vec<String> = self.0.iter().map(|byte| format!("{byte:02X}")).collect();
        formatter.write_str(&pairs.join(":"))
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        let mut bytes = [0; 32];
        let digits: String = text.chars().filter(|c| !matches!(c, ':' | ' ' | '\n')).collect();
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| FingerprintError(text.to_owned()))?;
        Ok(Self(bytes))
    }
}

/// Rule by which a server's certificate is checked.
#[derive(Debug, Clone)]
pub enum Trust {
    /// The system's certificate store, or the roots of public CAs if the system has none.
    System,
    /// Only these certificates in PEM, of a private CA or of the server itself. PVE's CA is `/etc/pve/pve-root-ca.pem`.
    CaPem(String),
    /// Only the certificate with this fingerprint. Its name and dates do not matter.
    Fingerprint(Fingerprint),
    /// Any certificate. An attacker on the network can read the token.
    Insecure,
}

/// Reason why certificates cannot be checked.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The PEM text contains no certificate.
    #[error("the CA certificate holds no certificate in PEM form (\"-----BEGIN CERTIFICATE-----\")")]
    NoCertificate,
    /// A certificate in the PEM text cannot be read.
    #[error("the CA certificate cannot be read")]
    Unreadable(#[source] Box<dyn StdError + Send + Sync>),
    /// The TLS library refused the configuration.
    #[error("TLS cannot be set up")]
    Tls(#[source] Box<dyn StdError + Send + Sync>),
}

/// The server's certificate was refused.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{reason}")]
pub(crate) struct Refused {
    pub(crate) fingerprint: Fingerprint,
    reason: String,
}

/// Returns the TLS configuration for a rule.
pub(crate) fn tls_config(trust: &Trust) -> Result<ClientConfig, TrustError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Verifier { rule: rule(trust, &provider)?, provider: Arc::clone(&provider) };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| TrustError::Tls(error.into()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(config)
}

fn rule(trust: &Trust, provider: &Arc<CryptoProvider>) -> Result<Rule, TrustError> {
    let (roots, given) = match trust {
        Trust::Insecure => return Ok(Rule::Anything),
        Trust::Fingerprint(fingerprint) => return Ok(Rule::Pin(*fingerprint)),
        Trust::System => (system_roots(), Vec::new()),
        Trust::CaPem(pem) => own_roots(pem)?,
    };
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map(|chain| Rule::Chain { chain, given })
        .map_err(|error| TrustError::Tls(error.into()))
}

/// Returns the roots, and the fingerprints of the certificates in the text.
fn own_roots(pem: &str) -> Result<(RootCertStore, Vec<Fingerprint>), TrustError> {
    let (mut roots, mut given) = (RootCertStore::empty(), Vec::new());
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|error| TrustError::Unreadable(error.to_string().into()))?;
        given.push(Fingerprint::of(&certificate));
        roots.add(certificate).map_err(|error| TrustError::Unreadable(error.into()))?;
    }
    if roots.is_empty() {
        return Err(TrustError::NoCertificate);
    }
    Ok((roots, given))
}

fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        // A minimal container does not have a certificate store.
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots
}

#[derive(Debug)]
enum Rule {
    Chain {
        chain: Arc<WebPkiServerVerifier>,
        /// Fingerprints of the certificates that the user named. A self-signed certificate is trusted too, although it
        /// is not a CA.
        given: Vec<Fingerprint>,
    },
    Pin(Fingerprint),
    Anything,
}

#[derive(Debug)]
struct Verifier {
    rule: Rule,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let fingerprint = Fingerprint::of(end_entity);
        let refuse = |reason: String| {
            let refused = Refused { fingerprint, reason };
            rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(refused))))
        };
        match &self.rule {
            Rule::Anything => Ok(ServerCertVerified::assertion()),
            Rule::Pin(pinned) if *pinned == fingerprint => Ok(ServerCertVerified::assertion()),
            Rule::Pin(pinned) => Err(refuse(format!("its fingerprint is not the expected {pinned}"))),
            Rule::Chain { given, .. } if given.contains(&fingerprint) => Ok(ServerCertVerified::assertion()),
            Rule::Chain { chain, .. } => chain
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
                .map_err(|error| refuse(reason(&error))),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn reason(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => "its CA is not a trusted one".to_owned(),
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "it is not for the name or address in the endpoint".to_owned(),
        rustls::Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "it has expired".to_owned()
        }
        rustls::Error::InvalidCertificate(CertificateError::Other(_)) => "it is self-signed".to_owned(),
        other => other.to_string(),
    }
}

/// Finds the refusal of a certificate among an error and its causes.
pub(crate) fn find_refused(error: &(dyn StdError + 'static)) -> Option<Refused> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(refused) = refused_here(error) {
            return Some(refused);
        }
        // An `io::Error` does not list the error that it wraps among its sources.
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(refused) = wrapped.and_then(|wrapped| find_refused(wrapped)) {
            return Some(refused);
        }
        next = error.source();
    }
    None
}

fn refused_here(error: &(dyn StdError + 'static)) -> Option<Refused> {
    match error.downcast_ref::<rustls::Error>()? {
        rustls::Error::InvalidCertificate(CertificateError::Other(other)) => other.0.downcast_ref::<Refused>().cloned(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_read_with_and_without_colons() {
        let plain = "AB".repeat(32);
        let colons = vec!["ab"; 32].join(":");
        assert_eq!(plain.parse::<Fingerprint>().unwrap(), colons.parse().unwrap());
        assert_eq!(plain.parse::<Fingerprint>().unwrap().to_string(), colons.to_uppercase());
        assert!("AB:CD".parse::<Fingerprint>().is_err());
    }

    #[test]
    fn a_text_without_a_certificate_has_its_own_error() {
        assert!(matches!(tls_config(&Trust::CaPem("nothing".into())), Err(TrustError::NoCertificate)));
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(matches!(tls_config(&Trust::CaPem(broken.into())), Err(TrustError::Unreadable(_))));
    }

    #[test]
    fn the_refusal_is_found_inside_an_io_error() {
        let fingerprint: Fingerprint = "00".repeat(32).parse().unwrap();
        let refused = Refused { fingerprint, reason: "no".into() };
        let tls = rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(refused))));
        let io = io::Error::new(io::ErrorKind::InvalidData, tls);
        assert_eq!(find_refused(&io).unwrap().fingerprint, fingerprint);
        assert!(find_refused(&io::Error::other("else")).is_none());
    }
}
