//! What a provider listens on: a unix socket in a private directory, or a loopback port where there are no such sockets.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
#[cfg(unix)]
use std::path::{Path, PathBuf};

use tokio::io::{AsyncRead, AsyncWrite};
#[cfg(unix)]
use tokio::net::UnixListener;
use tokio::net::{TcpListener, TcpStream};

use super::handshake::Handshake;

/// Bytes in both directions.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Where to listen.
pub(crate) enum Place {
    /// Below this directory, or the system's for temporary files.
    #[cfg(unix)]
    Directory(Option<PathBuf>),
    /// The first free one of these ports of the loopback address; 0 is any.
    #[cfg_attr(all(unix, not(test)), expect(dead_code, reason = "unix sockets are better where they are"))]
    Ports(RangeInclusive<u16>),
}

impl Place {
    /// As the core asks for.
    #[cfg(unix)]
    pub(crate) fn for_core(handshake: &Handshake) -> Self {
        Self::Directory(handshake.socket_directory.clone())
    }

    /// As the core asks for.
    #[cfg(not(unix))]
    pub(crate) fn for_core(handshake: &Handshake) -> Self {
        Self::Ports(handshake.ports.clone())
    }

    /// Where nobody asks for a place.
    #[cfg(unix)]
    pub(crate) fn any() -> Self {
        Self::Directory(None)
    }

    /// Where nobody asks for a place.
    #[cfg(not(unix))]
    pub(crate) fn any() -> Self {
        Self::Ports(0..=0)
    }
}

/// Something that clients can connect to. A unix socket is removed when it is dropped.
pub(crate) enum Socket {
    #[cfg(unix)]
    Unix(PrivateSocket),
    Tcp(TcpListener),
}

/// Network and address of a socket, in the words of the handshake line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) network: &'static str,
    pub(crate) text: String,
}

impl Socket {
    /// Starts to listen; needs a running tokio runtime.
    pub(crate) fn bind(place: Place) -> io::Result<Self> {
        match place {
            #[cfg(unix)]
            Place::Directory(parent) => PrivateSocket::bind(parent.as_deref()).map(Self::Unix),
            Place::Ports(ports) => loopback(ports).map(Self::Tcp),
        }
    }

    pub(crate) fn address(&self) -> io::Result<Address> {
        Ok(match self {
            #[cfg(unix)]
            Self::Unix(socket) => Address { network: "unix", text: socket.path().display().to_string() },
            Self::Tcp(listener) => Address { network: "tcp", text: listener.local_addr()?.to_string() },
        })
    }

    /// The next client.
    pub(crate) async fn accept(&self) -> io::Result<Box<dyn Io>> {
        match self {
            #[cfg(unix)]
            Self::Unix(socket) => Ok(Box::new(socket.listener.accept().await?.0)),
            Self::Tcp(listener) => Ok(Box::new(next_of(listener).await?)),
        }
    }
}

/// Only this machine can connect, but any user of it: the pinned certificate must keep outsiders out.
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

/// Small answers are sent at once: they would wait for the client's delayed acknowledgement, 40 ms each.
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
