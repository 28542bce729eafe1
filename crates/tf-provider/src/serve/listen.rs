//! Serves gRPC on a socket.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::server::Connected;
use tonic_health::ServingStatus;

use super::ServeError;
use super::plugin_services::{Broker, Controller, Stdio};
use super::socket::{Io, Socket};
use crate::provider::Provider;
use crate::service::Service;
use crate::wire::plugin::grpc_broker_server::GrpcBrokerServer;
use crate::wire::plugin::grpc_controller_server::GrpcControllerServer;
use crate::wire::plugin::grpc_stdio_server::GrpcStdioServer;
use crate::wire::tfplugin6::provider_server::ProviderServer;

/// Time limit for calls to end after their stop tokens were cancelled, when no core waits for their answers any more.
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(30);

/// Limit of cores in bytes. gRPC's default of 4 MiB is too small for schemas and states of big modules.
const MESSAGE_LIMIT: usize = 256 << 20;

/// Name of the service whose health go-plugin's `Ping` checks.
const HEALTH_NAME: &str = "plugin";

/// A server before it runs.
pub(crate) struct Serving {
    pub(crate) socket: Socket,
    /// Acceptor of TLS connections; `None` for cores that switched TLS off and for reattaching.
    pub(crate) acceptor: Option<TlsAcceptor>,
    /// Token that ends serving.
    pub(crate) shutdown: CancellationToken,
}

impl Serving {
    /// Serves until shut down. Then cancels the stop tokens of running calls.
    pub(crate) async fn run<P: Provider>(self, provider: P) -> Result<(), ServeError> {
        let Self { socket, acceptor, shutdown } = self;
        let socket = Arc::new(socket);
        let (stop, calls) = (CancellationToken::new(), TaskTracker::new());
        let service = Service::new(provider, stop.clone(), calls.clone());
        let leases = service.leases();
        let service = ProviderServer::new(service)
            .max_decoding_message_size(MESSAGE_LIMIT)
            .max_encoding_message_size(MESSAGE_LIMIT);
        let (sender, connections) = mpsc::channel(4);
        let accepting = tokio::spawn(accept(Arc::clone(&socket), acceptor, sender));
        let (reporter, health) = tonic_health::server::health_reporter();
        reporter.set_service_status(HEALTH_NAME, ServingStatus::Serving).await;
        let server = tonic::transport::Server::builder()
            .add_service(service)
            .add_service(health)
            .add_service(GrpcControllerServer::new(Controller::new(shutdown.clone())))
            .add_service(GrpcStdioServer::new(Stdio))
            .add_service(GrpcBrokerServer::new(Broker))
            .serve_with_incoming(ReceiverStream::new(connections));
        let served = tokio::select! {
            served = server => served,
            // A graceful end is not possible, because the streams of stdio and broker never end.
            () = shutdown.cancelled() => Ok(()),
        };
        stop.cancel();
        accepting.abort();
        calls.close();
        // After this, calls that ignore their stop tokens are dropped.
        let _ = tokio::time::timeout(SHUTDOWN_DEADLINE, async {
            // The first round starts at once, because cores do not wait long. The second closes resources opened
            // meanwhile.
            tokio::join!(leases.close_all(), calls.wait());
            leases.close_all().await;
        })
        .await;
        // After that task has ended, this is the last reference. Dropping it removes the socket's directory.
        let _ = accepting.await;
        drop(socket);
        served.map_err(ServeError::Server)
    }
}

/// Accepts connections. Each TLS handshake runs in its own task, so that a silent client does not block others.
async fn accept(socket: Arc<Socket>, acceptor: Option<TlsAcceptor>, sender: mpsc::Sender<io::Result<Connection>>) {
    loop {
        let stream = match socket.accept().await {
            Ok(stream) => stream,
            Err(error) => {
                tracing::error!(%error, "unable to accept a connection");
                return;
            }
        };
        let (acceptor, sender) = (acceptor.clone(), sender.clone());
        tokio::spawn(async move {
            let connection = match acceptor {
                None => Connection(stream),
                Some(acceptor) => match acceptor.accept(stream).await {
                    Ok(stream) => Connection(Box::new(stream)),
                    Err(error) => {
                        tracing::warn!(%error, "refused a connection");
                        return;
                    }
                },
            };
            // Sending only fails when the server ends.
            let _ = sender.send(Ok(connection)).await;
        });
    }
}

/// A connection to a client, with or without TLS.
pub(crate) struct Connection(Box<dyn Io>);

impl Connected for Connection {
    type ConnectInfo = ();

    fn connect_info(&self) -> Self::ConnectInfo {}
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
