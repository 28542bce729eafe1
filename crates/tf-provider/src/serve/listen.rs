//! Serving on a socket.

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

/// Time for calls to end after their stop tokens were cancelled, when nobody waits for their answers any more.
const GRACE: Duration = Duration::from_secs(30);

/// As large as cores accept; the usual 4 MiB are too small for schemas and states of big modules.
const MESSAGE_LIMIT: usize = 256 << 20;

/// What go-plugin's `Ping` asks the health of.
const HEALTH_NAME: &str = "plugin";

/// All that one run of the server needs.
pub(crate) struct Serving {
    pub(crate) socket: Socket,
    /// None: plain, for cores that switched TLS off and for reattaching.
    pub(crate) acceptor: Option<TlsAcceptor>,
    /// Cancelled: end.
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
            // Not a graceful end: the streams of stdio and broker never end by themselves.
            () = shutdown.cancelled() => Ok(()),
        };
        stop.cancel();
        accepting.abort();
        calls.close();
        // After this, calls that ignore their stop tokens are dropped.
        let _ = tokio::time::timeout(GRACE, async {
            // At once, because cores do not wait long; and again for what was just being opened.
            tokio::join!(leases.close_all(), calls.wait());
            leases.close_all().await;
        })
        .await;
        // The task that accepts has let go of it too; the directory goes with it.
        let _ = accepting.await;
        drop(socket);
        served.map_err(ServeError::Server)
    }
}

/// Each connection shakes hands in a task of its own, so that a silent one does not keep others out.
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
            // The receiver is gone only when the server ends.
            let _ = sender.send(Ok(connection)).await;
        });
    }
}

/// One client, over TLS or without.
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
