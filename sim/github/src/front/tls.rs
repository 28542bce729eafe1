//! TLS on the same port, with a CA of this server. A client that must not send its token unencrypted can thereby reach
//! a simulator on another machine. The first byte of a connection shows if the client uses TLS.

use std::io;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use sim_http::authority::Identity;

/// First byte of a TLS connection, the type of a handshake record (RFC 8446 §5.1).
const HANDSHAKE: u8 = 22;

/// A certificate and its CA.
pub(crate) struct Tls {
    pub(crate) acceptor: TlsAcceptor,
    /// Certificate of the CA in PEM form.
    pub(crate) authority: String,
}

impl Tls {
    /// Creates a certificate for this machine's loopback names and `hosts`.
    pub(crate) fn make(hosts: impl IntoIterator<Item = String>) -> io::Result<Self> {
        let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into_iter().chain(hosts).collect();
        let identity = Identity::create("GitHub simulator CA", "GitHub simulator", names).map_err(io::Error::other)?;
        let config = identity.server_config().map_err(io::Error::other)?;
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), authority: identity.authority })
    }
}

/// Returns true if the client begins with a TLS handshake.
pub(crate) async fn client_uses_tls(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0];
    let seen = stream.peek(&mut first).await?;
    Ok(seen == 1 && first[0] == HANDSHAKE)
}
