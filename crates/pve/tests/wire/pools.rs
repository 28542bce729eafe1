//! Reads of a resource pool's members that several callers share.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::server::{Reaction, Server, ok, status};

const GATHER: Duration = Duration::from_millis(50);

/// A server whose answer has the number of the read as its only member. Each answer waits for a permit.
struct Pool {
    server: Server,
    answers: Arc<Semaphore>,
    arrived: Arc<Semaphore>,
}

impl Pool {
    async fn start(first: fn() -> Option<Reaction>) -> Self {
        let (answers, arrived) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let reads = AtomicUsize::new(0);
        let (permits, reports) = (Arc::clone(&answers), Arc::clone(&arrived));
        let server = Server::start(move |_| {
            let number = reads.fetch_add(1, Ordering::SeqCst) + 1;
            let (permits, reports) = (Arc::clone(&permits), Arc::clone(&reports));
            async move {
                reports.add_permits(1);
                permits.acquire().await.unwrap().forget();
                let refusal = if number == 1 { first() } else { None };
                refusal.unwrap_or_else(|| {
                    ok(&format!(r#"{{"poolid":"ci","members":[{{"id":"qemu/{number}","vmid":{}}}]}}"#, 100 + number))
                })
            }
        })
        .await;
        Self { server, answers, arrived }
    }
}

async fn member(client: &pve::Client, gather: Duration) -> Result<String, pve::Error> {
    Ok(client.pool_members_shared("ci", gather).await?[0].id.clone())
}

#[tokio::test]
async fn those_who_ask_before_a_read_begins_share_it() {
    let pool = Pool::start(|| None).await;
    pool.answers.add_permits(9);
    let client = pool.server.client();
    let (first, second, third) =
        tokio::join!(member(&client, GATHER), member(&client, GATHER), member(&client, Duration::ZERO));
    assert_eq!([first.unwrap(), second.unwrap(), third.unwrap()], ["qemu/1", "qemu/1", "qemu/1"]);
    assert_eq!(pool.server.requests().len(), 1);
}

#[tokio::test]
async fn those_who_ask_during_a_read_share_the_next_one() {
    let pool = Pool::start(|| None).await;
    let client = pool.server.client();
    let release = async {
        pool.arrived.acquire().await.unwrap().forget();
        // The first read is under way. Its answer may be older than the next questions.
        tokio::join!(member(&client, Duration::ZERO), member(&client, Duration::ZERO), async {
            pool.answers.add_permits(9);
        })
    };
    let (first, (second, third, ())) = tokio::join!(member(&client, Duration::ZERO), release);
    assert_eq!([first.unwrap(), second.unwrap(), third.unwrap()], ["qemu/1", "qemu/2", "qemu/2"]);
    assert_eq!(pool.server.requests().len(), 2);
}

#[tokio::test]
async fn a_read_that_has_ended_is_not_shared() {
    let pool = Pool::start(|| None).await;
    pool.answers.add_permits(9);
    let client = pool.server.client();
    for expected in ["qemu/1", "qemu/2"] {
        assert_eq!(member(&client, GATHER).await.unwrap(), expected);
    }
}

#[tokio::test]
async fn a_failed_read_and_one_that_was_given_up_are_not_shared() {
    let pool = Pool::start(|| Some(status("403 Permission check failed (/pool/ci, Pool.Audit)", ""))).await;
    pool.answers.add_permits(9);
    let client = pool.server.client();
    let (first, second) = tokio::join!(member(&client, GATHER), member(&client, GATHER));
    assert!(first.unwrap_err().is_permission_denied());
    assert_eq!(second.unwrap(), "qemu/2");

    let given_up = tokio::spawn({
        let client = client.clone();
        async move { member(&client, Duration::MAX).await }
    });
    tokio::task::yield_now().await;
    given_up.abort();
    assert_eq!(member(&client, Duration::ZERO).await.unwrap(), "qemu/3");
}
