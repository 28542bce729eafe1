//! The socket, and serving on it.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::server::Connected;

use super::ServeError;
use super::plugin_services::{Broker, Controller, Stdio};
use crate::provider::Provider;
use crate::service::Service;
use crate::wire::plugin::grpc_broker_server::GrpcBrokerServer;
use crate::wire::plugin::grpc_controller_server::GrpcControllerServer;
use crate::wire::plugin::grpc_stdio_server::GrpcStdioServer;
use crate::wire::tfplugin6::provider_server::ProviderServer;

/// For calls to end after they were told to stop, when nobody waits for their answers any more.
const GRACE: Duration = Duration::from_secs(30);

/// As large as cores accept; the usual 4 MiB are too small for schemas and states of big modules.
const MESSAGE_LIMIT: usize = 256 << 20;

/// A unix socket in a directory that only this user can enter; removed when dropped.
pub(crate) struct PrivateSocket {
    directory: tempfile::TempDir,
    listener: UnixListener,
}

impl PrivateSocket {
    /// Below `parent`, or the system's directory for temporary files.
    pub(crate) fn bind(parent: Option<&Path>) -> io::Result<Self> {
        let parent = parent.map_or_else(std::env::temp_dir, Path::to_path_buf);
        let mut builder = tempfile::Builder::new();
        let directory =
            builder.prefix("tf-provider-").permissions(std::fs::Permissions::from_mode(0o700)).tempdir_in(parent)?;
        let listener = UnixListener::bind(socket_in(directory.path()))?;
        Ok(Self { directory, listener })
    }

    pub(crate) fn path(&self) -> PathBuf {
        socket_in(self.directory.path())
    }
}

fn socket_in(directory: &Path) -> PathBuf {
    directory.join("plugin")
}

/// All that one run of the server needs.
pub(crate) struct Serving {
    pub(crate) socket: PrivateSocket,
    /// None: plain, for cores that switched TLS off and for reattaching.
    pub(crate) acceptor: Option<TlsAcceptor>,
    /// Cancelled: end.
    pub(crate) shutdown: CancellationToken,
}

impl Serving {
    /// Serves until shut down. What the provider is doing then is told to stop.
    pub(crate) async fn run<P: Provider>(self, provider: P) -> Result<(), ServeError> {
        let Self { socket, acceptor, shutdown } = self;
        let PrivateSocket { directory, listener } = socket;
        let (stop, calls) = (CancellationToken::new(), TaskTracker::new());
        let service = ProviderServer::new(Service::new(provider, stop.clone(), calls.clone()))
            .max_decoding_message_size(MESSAGE_LIMIT)
            .max_encoding_message_size(MESSAGE_LIMIT);
        let (sender, connections) = mpsc::channel(4);
        let accepting = tokio::spawn(accept(listener, acceptor, sender));
        let server = tonic::transport::Server::builder()
            .add_service(service)
            .add_service(GrpcControllerServer::new(Controller::new(shutdown.clone())))
            .add_service(GrpcStdioServer::new(Stdio))
            .add_service(GrpcBrokerServer::new(Broker))
            .serve_with_incoming(ReceiverStream::new(connections));
        let served = tokio::select! {
            served = server => served,
            // Not a graceful end: the streams of stdio and broker never end by themselves.
            () = shutdown.cancelled() => Ok(()),
        };
        stop.cancel();
        accepting.abort();
        calls.close();
        // After this, what does not heed its stop token is dropped where it stands.
        let _ = tokio::time::timeout(GRACE, calls.wait()).await;
        drop(directory);
        served.map_err(ServeError::Server)
    }
}

/// Each connection shakes hands in a task of its own, so that a silent one does not keep others out.
async fn accept(listener: UnixListener, acceptor: Option<TlsAcceptor>, sender: mpsc::Sender<io::Result<Connection>>) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::error!(%error, "unable to accept a connection");
                return;
            }
        };
        let (acceptor, sender) = (acceptor.clone(), sender.clone());
        tokio::spawn(async move {
            let connection = match acceptor {
                None => Connection::Plain(stream),
                Some(acceptor) => match acceptor.accept(stream).await {
                    Ok(stream) => Connection::Tls(Box::new(stream)),
                    Err(error) => {
                        tracing::warn!(%error, "refused a connection");
                        return;
                    }
                },
            };
            // The receiver is gone only when the server ends.
            let _ = sender.send(Ok(connection)).await;
        });
    }
}

/// One client.
pub(crate) enum Connection {
    Plain(UnixStream),
    Tls(Box<tokio_rustls::server::TlsStream<UnixStream>>),
}

impl Connected for Connection {
    type ConnectInfo = ();

    fn connect_info(&self) -> Self::ConnectInfo {}
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buffer),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_write(cx, buffer),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
        }
    }
}
