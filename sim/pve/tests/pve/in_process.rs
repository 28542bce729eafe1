//! A simulator without sockets on paused time: whole requests go in, and two runs are alike.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::AUTHORIZATION;
use hyper::{Request, Response};
use jiff::Timestamp;
use serde_json::Value;
use sim_http::faults::{Rule, When};
use sim_pve::scripted::{Boot, Scripted};
use sim_pve::{Fault, Handle, Latency, Options, Server, Unanswered, World};
use tokio::time::Instant;

const ADMIN: &str = "root@pam!admin";

fn start(seed: u64) -> Handle {
    let world = World::new("pve1")
        .node("pve2")
        .storage("dir", &["images"])
        .token("root@pam", "admin", false)
        .template(9000, "golden", "dir", "ci");
    let begins = Some(Timestamp::constant(1_800_000_000, 0));
    let options = Options { latency: Latency::Real, seed, begins, ..Options::default() };
    Server::in_process(&world, Arc::new(Scripted::new(Boot::AtOnce)), &options).expect("a simulator")
}

async fn ask(handle: &Handle, method: &str, path: &str, form: &str) -> Result<Response<Bytes>, Unanswered> {
    let secret = handle.token_secret(ADMIN).expect("a token");
    let request = Request::builder()
        .method(method)
        .uri(format!("https://pve1:8006/api2/json{path}"))
        .header(AUTHORIZATION, format!("PVEAPIToken={ADMIN}={secret}"));
    handle.answer("pve1", request.body(Bytes::copy_from_slice(form.as_bytes())).expect("a request")).await
}

async fn data(handle: &Handle, method: &str, path: &str, form: &str) -> Value {
    let answer = ask(handle, method, path, form).await.expect("an answer");
    assert_eq!(answer.status(), 200, "{path}: {answer:?}");
    serde_json::from_slice::<Value>(answer.body()).expect("JSON")["data"].clone()
}

/// Makes and removes VMs, ten at a time, while a third of the answers are lost; returns all that the simulator recorded.
async fn run(seed: u64) -> Vec<String> {
    let handle = Arc::new(start(seed));
    let (method, path) = ("POST".to_owned(), "/nodes/*".to_owned());
    handle.faults().add(Rule { method, path, fault: Fault::DropReply, when: When::Chance(0.3) });
    let lives = (9100..9110).map(|vmid| {
        let handle = Arc::clone(&handle);
        tokio::spawn(async move {
            let guest = format!("/nodes/pve1/qemu/{vmid}");
            let _ = ask(&handle, "POST", "/nodes/pve1/qemu/9000/clone", &format!("newid={vmid}&name=a{vmid}")).await;
            while handle.lock_of(vmid).is_none_or(|lock| lock.is_some()) {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            let _ = ask(&handle, "POST", &format!("{guest}/status/start"), "").await;
            tokio::time::sleep(Duration::from_secs(30)).await;
            data(&handle, "GET", &format!("{guest}/config"), "").await;
        })
    });
    futures::future::join_all(lives).await;
    let requests = handle.requests().entries().into_iter().map(|entry| format!("{entry:?}"));
    let happened = handle.timeline().into_iter().map(|happening| format!("{happening:?}"));
    let fired = handle.fired().into_iter().map(|fired| fired.to_string());
    requests.chain(happened).chain(fired).collect()
}

#[tokio::test(start_paused = true)]
async fn two_runs_of_a_seed_are_alike_to_the_last_request() {
    let first = run(7).await;
    assert!(first.len() > 60, "{first:#?}");
    assert_eq!(first, run(7).await);
    assert_ne!(first, run(8).await);
}

#[tokio::test(start_paused = true)]
async fn waits_of_pve_move_tokios_time() {
    let handle = start(1);
    let began = Instant::now();
    let request = Request::get("https://pve1:8006/api2/json/nodes").header(AUTHORIZATION, "PVEAPIToken=a@pam!b=c");
    let answer = handle.answer("pve1", request.body(Bytes::new()).unwrap()).await.unwrap();
    assert_eq!((answer.status().as_u16(), began.elapsed()), (401, Duration::from_secs(3)));
}

#[tokio::test(start_paused = true)]
async fn a_node_without_power_takes_no_connection_and_breaks_those_that_it_has() {
    let handle = Arc::new(start(1));
    let slow = Rule {
        method: "GET".into(),
        path: "/version".into(),
        fault: Fault::Delay(Duration::from_secs(9)),
        when: When::Next(1),
    };
    handle.faults().add(slow);
    let asking = Arc::clone(&handle);
    let asked = tokio::spawn(async move { ask(&asking, "GET", "/version", "").await.map(drop) });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(handle.node_away("pve1").await);
    assert_eq!(asked.await.unwrap(), Err(Unanswered::Closed));
    assert_eq!(ask(&handle, "GET", "/version", "").await.map(drop), Err(Unanswered::NoConnection));
}
