//! Webhooks: bodies, signatures, losses, redelivery.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use ring::hmac;
use serde_json::{Value, json};
use sim_github::{Behaviour, HookOwner, SAMPLE_APP_KEY, Scope, Token, WebhookSpec};
use tokio::net::TcpListener;

use crate::stepped_github::{REPOSITORY, SteppedGitHub, good_claim};

const LIMIT: Duration = Duration::from_secs(60);

/// A receiver of webhooks with the deliveries so far and the status of its answers.
#[derive(Clone)]
struct Receiver {
    url: String,
    got: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
    status: Arc<Mutex<u16>>,
}

impl Receiver {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let receiver = Self { url, got: Arc::default(), status: Arc::new(Mutex::new(204)) };
        let served = receiver.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let receiver = served.clone();
                let service = service_fn(move |request| receiver.clone().take(request));
                let connection = hyper::server::conn::http1::Builder::new();
                tokio::spawn(connection.serve_connection(hyper_util::rt::TokioIo::new(stream), service));
            }
        });
        receiver
    }

    async fn take(self, request: Request<Incoming>) -> Result<Response<Empty<Bytes>>, Infallible> {
        let (parts, body) = request.into_parts();
        assert_eq!((parts.method.as_str(), parts.uri.path()), ("POST", "/hook"));
        let body = body.collect().await.unwrap().to_bytes();
        self.got.lock().unwrap().push((parts.headers, body));
        let status = *self.status.lock().unwrap();
        Ok(Response::builder().status(status).body(Empty::new()).unwrap())
    }

    fn actions(&self) -> Vec<String> {
        let got = self.got.lock().unwrap();
        let actions = got.iter().map(|(_, body)| {
            let body: Value = serde_json::from_slice(body).unwrap();
            body["action"].as_str().unwrap().to_owned()
        });
        actions.collect()
    }

    fn guids(&self) -> Vec<String> {
        let got = self.got.lock().unwrap();
        got.iter().map(|(headers, _)| headers["x-github-delivery"].to_str().unwrap().to_owned()).collect()
    }
}

fn hook(github: &SteppedGitHub, receiver: &Receiver, owner: HookOwner) {
    let spec = WebhookSpec { owner, url: receiver.url.clone(), secret: "s3cret".into() };
    github.server.world(|world, _| world.add_webhook(spec));
}

fn of_repository() -> HookOwner {
    HookOwner::Scope(Scope::Repository(REPOSITORY.into()))
}

/// Waits until this number of attempts have ended.
async fn ended(github: &SteppedGitHub, count: usize) {
    let look = |world: &sim_github::World| {
        let ended = world.deliveries().iter().filter(|delivery| delivery.duration.is_some()).count();
        (ended >= count).then_some(())
    };
    github.server.wait_for(LIMIT, look).await.expect("webhooks arrive");
}

#[tokio::test]
async fn a_job_is_reported_from_queue_to_end_and_each_body_is_signed() {
    let github = SteppedGitHub::start().await;
    let receiver = Receiver::start().await;
    hook(&github, &receiver, of_repository());
    let job = github.queue(1)[0];
    ended(&github, 1).await;
    let minted = github.mint("one").await;
    let runner = github.connect(minted.body["encoded_jit_config"].as_str().unwrap()).await;
    assert_eq!(runner.message().await, (200, Some(job)));
    runner.report(job, "acquire", "").await;
    ended(&github, 2).await;
    runner.report(job, "finish", "success").await;
    ended(&github, 3).await;
    assert_eq!(receiver.actions(), ["queued", "in_progress", "completed"]);
    let got = receiver.got.lock().unwrap().clone();
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"s3cret");
    for (headers, body) in &got {
        let signature = headers["x-hub-signature-256"].to_str().unwrap().strip_prefix("sha256=").unwrap();
        hmac::verify(&key, body, &hex::decode(signature).unwrap()).expect("the signature is the body's");
        assert_eq!(headers["x-github-event"], "workflow_job");
        assert_eq!(headers["x-github-hook-installation-target-type"], "repository");
    }
    let bodies: Vec<Value> = got.iter().map(|(_, body)| serde_json::from_slice(body).unwrap()).collect();
    assert_eq!(bodies[0]["workflow_job"]["runner_name"], Value::Null);
    let taken = &bodies[1]["workflow_job"];
    assert_eq!((&taken["runner_name"], &taken["runner_group_name"]), (&json!("one"), &json!("Default")));
    assert_eq!(bodies[2]["workflow_job"]["conclusion"], json!("success"));
    assert_eq!(bodies[2]["organization"]["login"], json!("acme"));
    assert_eq!(receiver.guids().len(), 3);
    github.assert_clean();
}

#[tokio::test]
async fn a_failed_delivery_is_repeated_only_on_request() {
    let github = SteppedGitHub::start().await;
    let receiver = Receiver::start().await;
    let app = github.server.world(|world, now| {
        let permissions = Token::for_organization_runners();
        let (app, _) = world.add_app("Farm", "acme", permissions, SAMPLE_APP_KEY, now).unwrap();
        world.install_app(app, "acme", &[], now).unwrap();
        app
    });
    hook(&github, &receiver, HookOwner::App(app));
    *receiver.status.lock().unwrap() = 500;
    github.queue(1);
    ended(&github, 1).await;
    let signed = || good_claim(&json!(app), github.now());
    let listed = github.get("/app/hook/deliveries", &signed()).await;
    assert_eq!((&listed.body[0]["status_code"], &listed.body[0]["redelivery"]), (&json!(500), &json!(false)));
    assert_eq!(receiver.actions(), ["queued"], "GitHub does not try again by itself");
    *receiver.status.lock().unwrap() = 204;
    let path = format!("/app/hook/deliveries/{}/attempts", listed.body[0]["id"]);
    assert_eq!(github.post(&path, &signed(), &Value::Null).await.status, 202);
    ended(&github, 2).await;
    let guids = receiver.guids();
    assert_eq!(guids[0], guids[1], "all attempts have one id");
    let listed = github.get("/app/hook/deliveries?per_page=1", &signed()).await;
    assert_eq!((&listed.body[0]["redelivery"], &listed.body[0]["status"]), (&json!(true), &json!("OK")));
    let next = listed.header("link").split(['<', '>']).nth(1).unwrap().to_owned();
    let next = github.get(next.strip_prefix(github.server.url()).unwrap(), &signed()).await;
    assert_eq!((&next.body[0]["redelivery"], next.header("link")), (&json!(false), ""));
    assert_eq!(github.post("/app/hook/deliveries/1/attempts", &signed(), &Value::Null).await.status, 404);
    github.assert_clean();
}

#[tokio::test]
async fn webhooks_can_be_lost_or_arrive_twice() {
    let github = SteppedGitHub::behaving(Behaviour { webhook_loss: 1.0, ..Behaviour::default() }).await;
    let receiver = Receiver::start().await;
    hook(&github, &receiver, of_repository());
    github.queue(2);
    let lost = github.server.world(|world, _| (world.lost_webhooks(), world.deliveries().len()));
    assert_eq!(lost, (2, 0), "what is lost is not even listed");
    github.server.world(|world, _| {
        world.behaviour.webhook_loss = 0.0;
        world.behaviour.webhook_duplicates = 1.0;
    });
    github.queue(1);
    ended(&github, 2).await;
    let guids = receiver.guids();
    assert_eq!((guids.len(), &guids[0]), (2, &guids[1]));
}

#[tokio::test]
async fn an_unreachable_receiver_misses_events() {
    let github = SteppedGitHub::start().await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let spec = WebhookSpec { owner: of_repository(), url: format!("http://{closed}/"), secret: String::new() };
    github.server.world(|world, _| world.add_webhook(spec));
    github.queue(1);
    ended(&github, 1).await;
    let delivery = github.server.world(|world, _| world.deliveries()[0].clone());
    assert_eq!((delivery.status_code, delivery.redelivery), (0, false));
}

#[tokio::test]
async fn webhooks_do_not_receive_events_of_other_repositories() {
    let github = SteppedGitHub::start().await;
    let receiver = Receiver::start().await;
    github.server.world(|world, _| world.add_repository("acme/other"));
    hook(&github, &receiver, HookOwner::Scope(Scope::Repository("acme/other".into())));
    github.queue(1);
    assert_eq!(github.server.world(|world, _| world.deliveries().len()), 0);
}
