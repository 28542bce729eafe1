//! The client over a transport of its caller.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture};
use http::{Request, Response};
use pve::{ApiToken, Client, ClientConfig, Content, Error, Transport, TransportError, Trust};
use tokio::time::Instant;

use crate::server::{SECRET, id, node};

type Outcome = Result<Response<Bytes>, TransportError>;

/// Records requests, and answers from a list. Never answers once the list is empty.
#[derive(Default)]
struct Script {
    seen: Mutex<Vec<Request<Bytes>>>,
    answers: Mutex<VecDeque<Outcome>>,
}

impl Transport for Script {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Outcome> {
        self.seen.lock().unwrap().push(request);
        match self.answers.lock().unwrap().pop_front() {
            Some(answer) => std::future::ready(answer).boxed(),
            None => std::future::pending().boxed(),
        }
    }
}

impl Script {
    fn of(answers: impl IntoIterator<Item = Outcome>) -> Arc<Self> {
        Arc::new(Self { answers: Mutex::new(answers.into_iter().collect()), ..Self::default() })
    }

    fn client(self: &Arc<Self>) -> Client {
        let config = ClientConfig {
            endpoints: ["https://pve1:8006", "https://pve2:8006"].map(|url| url.parse().unwrap()).into(),
            token: ApiToken::new("ci@pve!t1", &SECRET.into()).unwrap(),
            trust: Trust::System,
            user_agent: "test".into(),
        };
        Client::over(Arc::clone(self) as Arc<dyn Transport>, config, &[]).unwrap()
    }

    fn uris(&self) -> Vec<String> {
        self.seen.lock().unwrap().iter().map(|request| request.uri().to_string()).collect()
    }
}

fn answer(status: u16, body: &str) -> Outcome {
    Ok(Response::builder().status(status).body(Bytes::copy_from_slice(body.as_bytes())).unwrap())
}

fn unreachable() -> Outcome {
    Err(TransportError::Unreachable("switched off".into()))
}

#[tokio::test(start_paused = true)]
async fn a_request_has_the_token_and_goes_to_the_next_endpoint_if_the_first_accepts_none() {
    let script = Script::of([unreachable(), answer(200, r#"{"data":[]}"#), answer(200, r#"{"data":[]}"#)]);
    let client = script.client();
    client.nodes().await.unwrap();
    client.nodes().await.unwrap();
    let url = |host: &str| format!("https://{host}:8006/api2/json/nodes");
    assert_eq!(script.uris(), [url("pve1"), url("pve2"), url("pve2")]);
    let seen = script.seen.lock().unwrap();
    assert_eq!(seen[0].headers()["authorization"], format!("PVEAPIToken=ci@pve!t1={SECRET}"));
    assert_eq!(seen[0].headers()["user-agent"], "test");
}

#[tokio::test(start_paused = true)]
async fn a_change_without_an_answer_ends_after_a_minute_and_is_not_repeated() {
    let script = Script::of([]);
    let began = Instant::now();
    let error = script.client().qemu(&node(), id(9101)).start().await.unwrap_err();
    assert!(matches!(error, Error::Interrupted { method: "POST", .. }), "{error}");
    assert_eq!((began.elapsed(), script.uris().len()), (Duration::from_secs(60), 1));
}

/// Returns the duration of a read whose first two answers are lost.
async fn tries() -> Duration {
    let began = Instant::now();
    let broken = || Err(TransportError::Interrupted("cut".into()));
    let script = Script::of([broken(), broken(), answer(200, r#"{"data":[]}"#)]);
    script.client().nodes().await.unwrap();
    assert_eq!(script.uris().len(), 3);
    began.elapsed()
}

#[tokio::test(start_paused = true)]
async fn pauses_between_tries_are_the_same_in_every_run() {
    let first = tries().await;
    assert!(first > Duration::from_millis(250), "{first:?}");
    assert_eq!(first, tries().await);
}

#[tokio::test]
async fn uploads_and_consoles_are_refused() {
    let script = Script::of([answer(200, &"a".repeat((16 << 20) + 1))]);
    let error = script.client().nodes().await.unwrap_err();
    assert!(matches!(error, Error::Oversized { .. }), "{error}");
    let upload = script.client().storage(&node(), "local").upload(Content::Iso, "a.iso", Bytes::new()).await;
    assert!(matches!(upload, Err(Error::Setup(_))), "{upload:?}");
    assert_eq!(script.uris().len(), 1);
}
