//! A simulator without sockets on paused time: whole requests go in, and two runs are alike.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{AUTHORIZATION, USER_AGENT};
use hyper::{Request, Response};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sim_github::{JobSpec, JobState, RunSpec, Server, ServerHandle, ServerOptions, Token, Unanswered};
use sim_http::faults::{Fault, Rule, When};
use tokio::time::Instant;

use crate::stepped_github::RUNNERS;

struct Farm {
    github: ServerHandle,
    token: String,
}

impl Farm {
    fn start(seed: u64) -> Self {
        let (begins, began) = (Timestamp::constant(1_800_000_000, 0), Instant::now());
        let clock = Arc::new(move || begins + SignedDuration::try_from(began.elapsed()).unwrap());
        let github = Server::in_process(ServerOptions { seed, clock, ..ServerOptions::default() });
        let token = github.world(|world, _| {
            world.add_repository("acme/tools");
            world.add_token(Token::for_repository_runners())
        });
        Self { github, token }
    }

    async fn ask(&self, method: &str, path: &str, secret: &str, body: &Value) -> Result<Response<Bytes>, Unanswered> {
        let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.github.url()))
            .header(USER_AGENT, "test")
            .header(AUTHORIZATION, format!("Bearer {secret}"))
            .header("x-runner-version", "2.336.0");
        self.github.answer(request.body(body).unwrap()).await
    }

    async fn text(&self, method: &str, path: &str, secret: &str) -> String {
        let answer = self.ask(method, path, secret, &Value::Null).await.unwrap();
        assert!(answer.status().is_success(), "{path}: {answer:?}");
        String::from_utf8(answer.body().to_vec()).unwrap()
    }

    /// Registers a runner and returns its secret.
    async fn mint(&self, name: &str) -> String {
        use base64::Engine as _;
        let body = json!({ "name": name, "runner_group_id": 1, "labels": ["linux"] });
        let answer = self.ask("POST", &format!("{RUNNERS}/generate-jitconfig"), &self.token, &body).await.unwrap();
        let decode = |text: &Value| {
            let bytes = base64::engine::general_purpose::STANDARD.decode(text.as_str().unwrap()).unwrap();
            serde_json::from_slice::<Value>(&bytes).unwrap()
        };
        let answer: Value = serde_json::from_slice(answer.body()).unwrap();
        let files = decode(&answer["encoded_jit_config"]);
        decode(&files[".credentials_rsaparams"])["sharedSecret"].as_str().unwrap().to_owned()
    }

    /// Runs one job as a runner program does.
    async fn run_job(&self, name: &str) {
        let secret = self.mint(name).await;
        let session = self.text("POST", "/_sim/runner/sessions", &secret).await;
        let message = self.text("GET", &format!("/_sim/runner/sessions/{session}/message"), &secret).await;
        let job = message.lines().find_map(|line| line.strip_prefix("job=")).unwrap();
        self.text("POST", &format!("/_sim/runner/jobs/{job}/acquire"), &secret).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        let finish = format!("{}/_sim/runner/jobs/{job}/finish", self.github.url());
        let request = Request::post(finish).header(AUTHORIZATION, format!("Bearer {secret}"));
        self.github.answer(request.body(Bytes::from_static(b"success")).unwrap()).await.unwrap();
    }
}

fn jobs(count: usize) -> RunSpec {
    let job = |number| JobSpec { name: format!("job {number}"), labels: vec!["linux".into()], steps: Vec::new() };
    RunSpec { repository: "acme/tools".into(), event: "push".into(), fork: None, jobs: (0..count).map(job).collect() }
}

async fn run(seed: u64) -> Vec<String> {
    let farm = Arc::new(Farm::start(seed));
    let (method, path) = ("GET".to_owned(), format!("{RUNNERS}*"));
    farm.github.faults().add(Rule { method, path, fault: Fault::DropReply, when: When::Chance(0.5) });
    let queued = farm.github.queue_run(jobs(8));
    let runners = (0..8).map(|number| {
        let farm = Arc::clone(&farm);
        tokio::spawn(async move {
            farm.run_job(&format!("runner-{number}")).await;
            let _ = farm.ask("GET", RUNNERS, &farm.token, &Value::Null).await;
        })
    });
    for runner in runners.collect::<Vec<_>>() {
        runner.await.unwrap();
    }
    let succeeded = |id: &u64| {
        let state = farm.github.inspect(|world, _| world.job(*id).map(|job| job.state.clone()));
        matches!(state, Some(JobState::Completed { conclusion }) if conclusion == "success")
    };
    assert!(queued.iter().all(succeeded));
    assert_eq!(farm.github.violations(), Vec::<String>::new());
    let requests = farm.github.requests().entries().into_iter().map(|entry| format!("{entry:?}"));
    requests.chain(farm.github.faults().fired().into_iter().map(|fired| fired.to_string())).collect()
}

#[tokio::test(start_paused = true)]
async fn two_runs_of_a_seed_are_alike_to_the_last_request() {
    let first = run(7).await;
    assert!(first.len() > 40, "{first:#?}");
    assert_eq!(first, run(7).await);
    assert_ne!(first, run(8).await);
}

#[tokio::test(start_paused = true)]
async fn a_runner_without_a_job_waits_on_tokios_time() {
    let farm = Farm::start(1);
    let secret = farm.mint("idle").await;
    let session = farm.text("POST", "/_sim/runner/sessions", &secret).await;
    let began = Instant::now();
    assert_eq!(farm.text("GET", &format!("/_sim/runner/sessions/{session}/message"), &secret).await, "");
    assert_eq!(began.elapsed(), Duration::from_secs(50));
}
