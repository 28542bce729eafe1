//! TLS on the same port, under an authority made for this front: a client that must not send its token in the clear can
//! reach a simulator on another machine. Which of the two a caller speaks shows in its first byte.

use std::io;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use sim_http::authority::Identity;

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
        let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into_iter().chain(hosts).collect();
        let identity = Identity::create("GitHub simulator CA", "GitHub simulator", names).map_err(io::Error::other)?;
        let config = identity.server_config().map_err(io::Error::other)?;
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), authority: identity.authority })
    }
}

/// Whether the caller opens with a TLS handshake.
pub(crate) async fn is_spoken(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0];
    let seen = stream.peek(&mut first).await?;
    Ok(seen == 1 && first[0] == HANDSHAKE)
}
