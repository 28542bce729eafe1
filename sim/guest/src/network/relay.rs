//! A relay from the containers' network to one port of the host.
//!
//! socat listens inside and passes each connection to a socket in the state directory, because a socket with a path can
//! be reached from any network namespace. The simulator connects that socket to the host's port.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::process::Child;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Server;

/// A running relay, which ends when this value is dropped.
#[derive(Debug)]
pub(super) struct Relay {
    service: String,
    _inside: Child,
    _outside: DropGuard,
}

impl Relay {
    /// Starts a relay and waits until `inside` accepts connections.
    pub(super) async fn start(
        mut program: Server,
        inside: SocketAddr,
        socket: &Path,
        service: String,
    ) -> io::Result<Self> {
        let listener = UnixListener::bind(socket)?;
        let stop = CancellationToken::new();
        tokio::spawn(stop.clone().run_until_cancelled_owned(accept(listener, service.clone(), stop.clone())));
        program.argument("-d").argument("-d");
        program.argument(format!("TCP4-LISTEN:{},bind={},reuseaddr,fork", inside.port(), inside.ip()));
        program.argument(format!("UNIX-CONNECT:{}", socket.display()));
        Ok(Self { service, _inside: program.ready("listening on").await?, _outside: stop.drop_guard() })
    }

    /// Returns the host and port that the relay leads to.
    pub(super) fn service(&self) -> &str {
        &self.service
    }
}

async fn accept(listener: UnixListener, service: String, stop: CancellationToken) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(stop.clone().run_until_cancelled_owned(pass(stream, service.clone())));
    }
}

/// Passes bytes in both directions. The two ends of a connection notice by themselves if it breaks.
async fn pass(mut inside: UnixStream, service: String) {
    if let Ok(mut outside) = TcpStream::connect(service).await
        && let Err(error) = tokio::io::copy_bidirectional(&mut inside, &mut outside).await
    {
        tracing::debug!(%error, "containers' network");
    }
}
