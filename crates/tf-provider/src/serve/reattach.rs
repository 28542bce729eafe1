//! Serves without a handshake, for tests and debuggers: the core connects to a running provider.

use serde_json::json;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::ServeError;
use super::listen::Serving;
use super::socket::{Address, Endpoint, Socket};
use crate::provider::Provider;

/// A provider that this process serves on a private socket without TLS. Dropping it stops serving.
pub struct Reattach {
    address: Address,
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), ServeError>>,
}

impl Reattach {
    /// Starts serving. Needs a running tokio runtime.
    ///
    /// # Errors
    /// Fails if no socket can be made.
    pub fn start<P: Provider>(provider: P) -> Result<Self, ServeError> {
        let socket = Socket::bind(Endpoint::any()).map_err(ServeError::Socket)?;
        let address = socket.address().map_err(ServeError::Socket)?;
        let shutdown = CancellationToken::new();
        let serving = Serving { socket, acceptor: None, shutdown: shutdown.clone() };
        let task = tokio::spawn(serving.run(provider));
        Ok(Self { address, shutdown, task })
    }

    /// Returns the value of `TF_REATTACH_PROVIDERS` for source addresses such as `registry.terraform.io/pxci/pxci`.
    #[must_use]
    pub fn environment(&self, addresses: &[&str]) -> String {
        let config = json!({
            "Protocol": "grpc",
            "ProtocolVersion": 6,
            "Pid": std::process::id(),
            "Test": true,
            "Addr": { "Network": self.address.network, "String": self.address.text },
        });
        let all: serde_json::Map<_, _> =
            addresses.iter().map(|address| ((*address).to_owned(), config.clone())).collect();
        serde_json::Value::Object(all).to_string()
    }

    /// Stops serving and waits until the server has ended.
    ///
    /// # Errors
    /// Fails if serving had failed.
    pub async fn stop(mut self) -> Result<(), ServeError> {
        self.shutdown.cancel();
        // A cancelled task has no result.
        (&mut self.task).await.unwrap_or(Ok(()))
    }
}

impl Drop for Reattach {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}
