//! The way between the dispatcher and the simulators: it takes time, and what a server has received it carries out, even
//! if the dispatcher no longer waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::{Request, Response};
use sim_github::ServerHandle;
use sim_pve::{Handle, Unanswered};

use crate::chance::Chance;
use crate::watch::Watch;

/// Shortest and longest time of one way, in milliseconds.
const WAY: (u64, u64) = (1, 8);

/// The way to the API servers of the cluster.
pub(crate) struct ToPve {
    handle: Arc<Handle>,
    watch: Arc<Watch>,
    chance: Chance,
    sent: AtomicU64,
}

impl ToPve {
    pub(crate) fn new(handle: Arc<Handle>, watch: Arc<Watch>, chance: Chance) -> Self {
        Self { handle, watch, chance, sent: AtomicU64::new(0) }
    }
}

/// The way to GitHub.
pub(crate) struct ToGithub {
    handle: Arc<ServerHandle>,
    watch: Arc<Watch>,
    chance: Chance,
    sent: AtomicU64,
}

impl ToGithub {
    pub(crate) fn new(handle: Arc<ServerHandle>, watch: Arc<Watch>, chance: Chance) -> Self {
        Self { handle, watch, chance, sent: AtomicU64::new(0) }
    }
}

/// Returns the times of a request's way and of its answer's.
fn ways(chance: Chance, subject: &str, sent: &AtomicU64) -> (Duration, Duration) {
    let number = sent.fetch_add(1, Ordering::Relaxed) * 2;
    let way = |number| chance.milliseconds(subject, number, WAY.0, WAY.1);
    (way(number), way(number + 1))
}

async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

impl pve::Transport for ToPve {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, pve::TransportError>> {
        let (there, back) = ways(self.chance, "way to PVE", &self.sent);
        let (handle, watch) = (Arc::clone(&self.handle), Arc::clone(&self.watch));
        let node = request.uri().host().unwrap_or_default().to_owned();
        self.watch.sent_to_pve();
        let answered = tokio::spawn(async move {
            pass(there).await;
            let answer = handle.answer(&node, request).await;
            watch.inspect();
            answer
        });
        async move {
            let answer = answered.await.map_err(|error| pve::TransportError::Interrupted(error.into()))?;
            pass(back).await;
            answer.map_err(|unanswered| match unanswered {
                Unanswered::NoConnection => pve::TransportError::Unreachable(unanswered.into()),
                Unanswered::Closed => pve::TransportError::Interrupted(unanswered.into()),
            })
        }
        .boxed()
    }
}

impl github::Transport for ToGithub {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, github::TransportError>> {
        let (there, back) = ways(self.chance, "way to GitHub", &self.sent);
        let handle = Arc::clone(&self.handle);
        self.watch.sent_to_github();
        let answered = tokio::spawn(async move {
            pass(there).await;
            handle.answer(request).await
        });
        async move {
            let answer = answered.await.map_err(|error| github::TransportError::Interrupted(error.into()))?;
            pass(back).await;
            answer.map_err(|unanswered| github::TransportError::Interrupted(unanswered.into()))
        }
        .boxed()
    }
}
