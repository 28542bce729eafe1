//! Sockets of providers: a unix socket in a private directory, or a loopback port on systems without unix sockets.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
#[cfg(unix)]
use std::path::{Path, PathBuf};

use tokio::io::{AsyncRead, AsyncWrite};
#[cfg(unix)]
use tokio::net::UnixListener;
use tokio::net::{TcpListener, TcpStream};

/// A stream of bytes in both directions.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// The place to listen on.
pub(crate) enum Endpoint {
    /// A unix socket below this directory, or below the system's directory for temporary files.
    #[cfg(unix)]
    Directory(Option<PathBuf>),
    /// The first free port of these on the loopback address; 0 is any port.
    #[cfg_attr(all(unix, not(test)), expect(dead_code, reason = "unix sockets are used instead"))]
    Ports(RangeInclusive<u16>),
}

impl Endpoint {
    /// Returns an endpoint of our choice.
    #[cfg(unix)]
    pub(crate) fn any() -> Self {
        Self::Directory(None)
    }

    /// Returns an endpoint of our choice.
    #[cfg(not(unix))]
    pub(crate) fn any() -> Self {
        Self::Ports(0..=0)
    }
}

/// A socket that clients can connect to. Dropping it removes a unix socket.
pub(crate) enum Socket {
    #[cfg(unix)]
    Unix(PrivateSocket),
    Tcp(TcpListener),
}

/// Network and address of a socket, as in the handshake line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) network: &'static str,
    pub(crate) text: String,
}

impl Socket {
    /// Starts to listen. Needs a running tokio runtime.
    pub(crate) fn bind(place: Endpoint) -> io::Result<Self> {
        match place {
            #[cfg(unix)]
            Endpoint::Directory(parent) => PrivateSocket::bind(parent.as_deref()).map(Self::Unix),
            Endpoint::Ports(ports) => loopback(ports).map(Self::Tcp),
        }
    }

    pub(crate) fn address(&self) -> io::Result<Address> {
        Ok(match self {
            #[cfg(unix)]
            Self::Unix(socket) => Address { network: "unix", text: socket.path().display().to_string() },
            Self::Tcp(listener) => Address { network: "tcp", text: listener.local_addr()?.to_string() },
        })
    }

    /// Accepts the next client.
    pub(crate) async fn accept(&self) -> io::Result<Box<dyn Io>> {
        match self {
            #[cfg(unix)]
            Self::Unix(socket) => Ok(Box::new(socket.listener.accept().await?.0)),
            Self::Tcp(listener) => Ok(Box::new(next_of(listener).await?)),
        }
    }
}

/// Listens on the loopback address. Every user of this machine can connect, so the pinned certificate must authenticate
/// clients.
fn loopback(ports: RangeInclusive<u16>) -> io::Result<TcpListener> {
    let (first, last) = (*ports.start(), *ports.end());
    for port in ports {
        match std::net::TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            bound => {
                let listener = bound?;
                listener.set_nonblocking(true)?;
                return TcpListener::from_std(listener);
            }
        }
    }
    Err(io::Error::new(io::ErrorKind::AddrInUse, format!("no port from {first} to {last} is free")))
}

/// Accepts the next client. Without delay, because small answers would wait 40 ms for the client's acknowledgement.
async fn next_of(listener: &TcpListener) -> io::Result<TcpStream> {
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A unix socket in a directory that only this user can enter.
#[cfg(unix)]
pub(crate) struct PrivateSocket {
    directory: tempfile::TempDir,
    listener: UnixListener,
}

#[cfg(unix)]
impl PrivateSocket {
    fn bind(parent: Option<&Path>) -> io::Result<Self> {
        use std::os::unix::fs::PermissionsExt;
        let parent = parent.map_or_else(std::env::temp_dir, Path::to_path_buf);
        let mut builder = tempfile::Builder::new();
        let directory =
            builder.prefix("tf-provider-").permissions(std::fs::Permissions::from_mode(0o700)).tempdir_in(parent)?;
        let listener = UnixListener::bind(socket_in(directory.path()))?;
        Ok(Self { directory, listener })
    }

    fn path(&self) -> PathBuf {
        socket_in(self.directory.path())
    }
}

#[cfg(unix)]
fn socket_in(directory: &Path) -> PathBuf {
    directory.join("plugin")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn small_answers_are_sent_at_once() {
        let listener = loopback(0..=0).expect("port");
        let address = listener.local_addr().expect("address");
        let (client, accepted) = tokio::join!(TcpStream::connect(address), next_of(&listener));
        assert!(accepted.expect("accepted").nodelay().expect("option"));
        drop(client.expect("connected"));
    }
}
