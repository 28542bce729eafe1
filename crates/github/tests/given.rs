//! The client over a transport of its caller.
#![cfg(test)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use github::{BaseUrl, Client, ClientConfig, Credential, Error, Scope, Transport, TransportError};
use http::{Request, Response};
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

type Outcome = Result<Response<Bytes>, TransportError>;

/// Records requests, and gives each the same answer or none.
struct Script {
    seen: Mutex<Vec<Request<Bytes>>>,
    answer: Option<fn() -> Outcome>,
}

impl Transport for Script {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'_, Outcome> {
        self.seen.lock().unwrap().push(request);
        match self.answer {
            Some(answer) => std::future::ready(answer()).boxed(),
            None => std::future::pending().boxed(),
        }
    }
}

fn start() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

/// Returns a client whose wall clock moves with tokio's.
fn client(answer: Option<fn() -> Outcome>) -> (Client, Arc<Script>) {
    let script = Arc::new(Script { seen: Mutex::default(), answer });
    let config = ClientConfig {
        base_url: BaseUrl::parse("https://api.github.example").unwrap(),
        credential: Credential::Token("secret".into()),
        user_agent: "pxci-test/1".into(),
    };
    let began = Instant::now();
    let clock = move || start() + SignedDuration::try_from(began.elapsed()).unwrap();
    (Client::over(Arc::clone(&script) as Arc<dyn Transport>, config, Arc::new(clock)).unwrap(), script)
}

fn scope() -> Scope {
    Scope::Repository("acme/tools".parse().unwrap())
}

#[tokio::test(start_paused = true)]
async fn every_request_names_the_program_and_its_version() {
    let (client, script) = client(Some(|| Ok(Response::new(Bytes::from_static(br#"{"runners":[]}"#)))));
    client.runners(&scope(), None).await.unwrap();
    let seen = script.seen.lock().unwrap();
    let header = |name: &str| seen[0].headers()[name].to_str().unwrap();
    assert_eq!(header("authorization"), "Bearer secret");
    assert_eq!((header("user-agent"), header("x-github-api-version")), ("pxci-test/1", "2022-11-28"));
    assert!(seen[0].uri().to_string().starts_with("https://api.github.example/repos/acme/tools/actions/runners"));
}

#[tokio::test(start_paused = true)]
async fn a_read_without_an_answer_ends_after_three_attempts_of_half_a_minute() {
    let (client, script) = client(None);
    let began = Instant::now();
    let error = client.runners(&scope(), None).await.unwrap_err();
    assert!(matches!(error, Error::Transport { .. }), "{error:?}");
    assert_eq!(script.seen.lock().unwrap().len(), 3);
    assert!(began.elapsed() >= Duration::from_secs(90) && began.elapsed() < Duration::from_secs(92));
}

#[tokio::test(start_paused = true)]
async fn a_limit_ends_by_the_given_clock() {
    let (client, script) = client(Some(|| {
        let limited = Response::builder().status(429).header("retry-after", "7");
        Ok(limited.body(Bytes::from_static(b"{}")).unwrap())
    }));
    let until = client.runners(&scope(), None).await.unwrap_err().retry_at();
    assert_eq!(until, Some(start() + SignedDuration::from_secs(7)));
    client.runners(&scope(), None).await.unwrap_err();
    assert_eq!(script.seen.lock().unwrap().len(), 1, "nothing is sent before the limit ends");
    tokio::time::advance(Duration::from_secs(7)).await;
    client.runners(&scope(), None).await.unwrap_err();
    assert_eq!(script.seen.lock().unwrap().len(), 2);
}
