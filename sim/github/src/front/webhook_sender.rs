//! Sends webhooks over HTTP, each once, because GitHub does not repeat a delivery by itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;

use super::Shared;
use crate::world::model::Outgoing;

/// Time in which a receiver must answer.
const LIMIT: Duration = Duration::from_secs(10);

/// Sends webhooks in parallel until the channel closes.
pub(crate) async fn run(shared: Arc<Shared>, mut outgoing: UnboundedReceiver<Outgoing>) {
    // Dropping the set with this task ends running deliveries.
    let mut attempts = JoinSet::new();
    while let Some(next) = outgoing.recv().await {
        let shared = Arc::clone(&shared);
        attempts.spawn(async move {
            let began = Instant::now();
            let delivery = next.delivery;
            let status = match tokio::time::timeout(LIMIT, send(next)).await {
                Ok(Ok(status)) => status,
                Ok(Err(error)) => {
                    tracing::debug!(%error, "a webhook could not be delivered");
                    0
                }
                Err(_) => 0,
            };
            shared.change(|world, _| world.delivered(delivery, status, began.elapsed().as_secs_f64()));
        });
        while attempts.try_join_next().is_some() {}
    }
}

async fn send(next: Outgoing) -> Result<u16, Box<dyn std::error::Error + Send + Sync>> {
    let url = url::Url::parse(&next.url)?;
    let host = url.host_str().ok_or("the URL names no host")?;
    let port = url.port_or_known_default().ok_or("the URL names no port")?;
    let stream = TcpStream::connect((host.trim_matches(['[', ']']), port)).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let mut request = Request::post(&url[url::Position::BeforePath..]).header("host", format!("{host}:{port}"));
    for (name, value) in next.headers {
        request = request.header(name, value);
    }
    let request = request.body(Full::new(Bytes::from(next.body)))?;
    // The connection must be polled while the answer is awaited, and ends with it.
    let answer = tokio::select! {
        answer = sender.send_request(request) => answer?,
        ended = connection => return Err(ended.err().map_or_else(|| "the receiver hung up".into(), Into::into)),
    };
    Ok(answer.status().as_u16())
}
