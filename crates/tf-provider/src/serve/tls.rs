//! Mutual TLS in which each side knows the certificate of the other side.
//!
//! Cores use a self-signed P-521 certificate with the CA flag as end entity. Usual verifiers refuse such certificates.
//! So the verifier here compares the whole certificate, and checks the signature that proves the peer's key.

use std::sync::Arc;

use p521::ecdsa::signature::Verifier;
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{
    AlgorithmIdentifier, CertificateDer, InvalidSignature, PrivateKeyDer, PrivatePkcs8KeyDer,
    SignatureVerificationAlgorithm, UnixTime, alg_id,
};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme};
use tokio_rustls::TlsAcceptor;

use super::ServeError;

/// Our side of the connection: a fresh key and certificate, for one client.
pub(crate) struct Identity {
    certificate: CertificateDer<'static>,
    pub(crate) acceptor: TlsAcceptor,
}

impl Identity {
    /// Creates an identity for the client with this certificate (PEM).
    pub(crate) fn for_client(pem: &str) -> Result<Self, ServeError> {
        let pinned = pinned(pem)?;
        let (certificate, key) = generate().map_err(|error| ServeError::Tls(error.to_string()))?;
        let config = server_config(pinned, certificate.clone(), key);
        let config = config.map_err(|error| ServeError::Tls(error.to_string()))?;
        Ok(Self { certificate, acceptor: TlsAcceptor::from(Arc::new(config)) })
    }

    /// Returns the certificate in DER, for the handshake line.
    pub(crate) fn certificate(&self) -> &[u8] {
        &self.certificate
    }
}

/// Decodes the only certificate that is accepted.
pub(crate) fn pinned(pem: &str) -> Result<CertificateDer<'static>, ServeError> {
    CertificateDer::from_pem_slice(pem.as_bytes())
        .map(CertificateDer::into_owned)
        .map_err(|_| ServeError::Tls("the core's certificate in PLUGIN_CLIENT_CERT is not PEM".to_owned()))
}

fn generate() -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), rcgen::Error> {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::new(vec!["localhost".to_owned()])?;
    params.distinguished_name.push(DnType::CommonName, "localhost");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = params.self_signed(&key)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    Ok((certificate.der().clone(), key))
}

fn server_config(
    pinned: CertificateDer<'static>,
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Arc::new(PinnedClient { pinned, provider: provider.clone() });
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![certificate], key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    // There is one connection per process, so tickets for resumption are useless.
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// A verifier that accepts one certificate.
#[derive(Debug)]
struct PinnedClient {
    pinned: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl PinnedClient {
    fn schemes(&self) -> impl Iterator<Item = SignatureScheme> {
        let usual = self.provider.signature_verification_algorithms.supported_schemes();
        std::iter::once(SignatureScheme::ECDSA_NISTP521_SHA512).chain(usual)
    }
}

impl ClientCertVerifier for PinnedClient {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        if end_entity.as_ref() == self.pinned.as_ref() {
            return Ok(ClientCertVerified::assertion());
        }
        Err(rustls::Error::InvalidCertificate(rustls::CertificateError::ApplicationVerificationFailure))
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::PeerIncompatible(rustls::PeerIncompatible::Tls12NotOffered))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        if signature.scheme == SignatureScheme::ECDSA_NISTP521_SHA512 {
            return verify_tls13_signature(message, cert, signature, &P521_ALGORITHMS);
        }
        verify_tls13_signature(message, cert, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes().collect()
    }
}

/// Algorithms for P-521, which cores use and ring lacks.
static P521_ALGORITHMS: WebPkiSupportedAlgorithms = WebPkiSupportedAlgorithms {
    all: &[&P521Sha512],
    mapping: &[(SignatureScheme::ECDSA_NISTP521_SHA512, &[&P521Sha512])],
};

#[derive(Debug)]
struct P521Sha512;

impl SignatureVerificationAlgorithm for P521Sha512 {
    fn verify_signature(&self, public_key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        verify_p521(public_key, message, signature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::ECDSA_P521
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::ECDSA_SHA512
    }
}

pub(crate) fn verify_p521(public_key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
    let key = p521::ecdsa::VerifyingKey::from_sec1_bytes(public_key).map_err(|_| InvalidSignature)?;
    let signature = p521::ecdsa::DerSignature::from_bytes(signature).map_err(|_| InvalidSignature)?;
    key.verify(message, &p521::ecdsa::Signature::try_from(signature).map_err(|_| InvalidSignature)?)
        .map_err(|_| InvalidSignature)
}
