//! Errors of serving.

/// The reason why serving ended early.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// An error of the socket, its directory, or its port.
    #[error("unable to listen")]
    Socket(#[source] std::io::Error),
    /// An error of certificate or key.
    #[error("unable to set up mutual TLS: {0}")]
    Tls(String),
    /// An error of signals, the runtime, or standard output.
    #[error("unable to {0}")]
    Process(&'static str, #[source] std::io::Error),
    /// An error of the server.
    #[error("the server stopped")]
    Server(#[source] tonic::transport::Error),
}
