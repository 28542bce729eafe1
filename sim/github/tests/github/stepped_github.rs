//! A simulated GitHub whose clock is set by the test, and its HTTP client.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use reqwest::{Method, RequestBuilder, Response};
use ring::rand::SystemRandom;
use ring::rsa::KeyPair;
use ring::signature::RSA_PKCS1_SHA256;
use rustls::pki_types::PrivatePkcs1KeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use sim_github::{Behaviour, JobSpec, RunSpec, SAMPLE_APP_KEY, Server, ServerHandle, ServerOptions, Token};

pub(crate) const REPOSITORY: &str = "acme/tools";
pub(crate) const RUNNERS: &str = "/repos/acme/tools/actions/runners";

/// A simulated GitHub with one repository. Its clock stands still until the test moves it.
pub(crate) struct SteppedGitHub {
    pub(crate) server: ServerHandle,
    /// Secret of a token, by default one for the repository's runners.
    pub(crate) token: String,
    now: Arc<AtomicI64>,
    pub(crate) http: reqwest::Client,
}

/// An answer with its body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) async fn read(response: Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Self { status, headers, body }
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    pub(crate) fn message(&self) -> &str {
        self.body["message"].as_str().unwrap_or_default()
    }
}

impl SteppedGitHub {
    pub(crate) async fn start() -> Self {
        Self::behaving(Behaviour::default()).await
    }

    pub(crate) async fn behaving(behaviour: Behaviour) -> Self {
        Self::set_up(behaviour, Token::for_repository_runners()).await
    }

    pub(crate) async fn with_token(token: Token) -> Self {
        Self::set_up(Behaviour::default(), token).await
    }

    async fn set_up(behaviour: Behaviour, token: Token) -> Self {
        // Another test of this process may have installed it first.
        let _already = rustls::crypto::ring::default_provider().install_default();
        let now = Arc::new(AtomicI64::new(1_800_000_000));
        let seconds = Arc::clone(&now);
        let clock = Arc::new(move || Timestamp::from_second(seconds.load(Ordering::SeqCst)).unwrap());
        let options = ServerOptions { seed: 1, clock, behaviour, ..ServerOptions::default() };
        let server = Server::start(options).await.unwrap();
        let token = server.world(|world, _| {
            world.add_repository(REPOSITORY);
            world.add_organization("acme");
            world.add_token(token)
        });
        let http = reqwest::Client::builder().no_proxy().user_agent("test").build().unwrap();
        Self { server, token, now, http }
    }

    /// Lets this number of seconds pass.
    pub(crate) fn pass(&self, seconds: i64) {
        self.now.fetch_add(seconds, Ordering::SeqCst);
        self.server.world(|_, _| ());
    }

    pub(crate) fn now(&self) -> i64 {
        self.now.load(Ordering::SeqCst)
    }

    pub(crate) fn request(&self, method: Method, path: &str, secret: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.server.url())).bearer_auth(secret)
    }

    pub(crate) async fn get(&self, path: &str, secret: &str) -> Answer {
        Answer::read(self.request(Method::GET, path, secret).send().await.unwrap()).await
    }

    /// Reads with the default token.
    pub(crate) async fn read(&self, path: &str) -> Answer {
        self.get(path, &self.token).await
    }

    pub(crate) async fn post(&self, path: &str, secret: &str, body: &Value) -> Answer {
        let request = self.request(Method::POST, path, secret);
        let request = if body.is_null() { request } else { request.json(body) };
        Answer::read(request.send().await.unwrap()).await
    }

    pub(crate) async fn delete(&self, path: &str, secret: &str) -> Answer {
        Answer::read(self.request(Method::DELETE, path, secret).send().await.unwrap()).await
    }

    pub(crate) async fn mint(&self, name: &str) -> Answer {
        let body = json!({ "name": name, "runner_group_id": 1, "labels": ["linux"] });
        self.post(&format!("{RUNNERS}/generate-jitconfig"), &self.token, &body).await
    }

    pub(crate) fn queue(&self, jobs: usize) -> Vec<u64> {
        let job = |n| JobSpec { name: format!("job {n}"), labels: vec!["linux".into()], steps: vec!["true".into()] };
        let jobs = (0..jobs).map(job).collect();
        self.server.queue_run(RunSpec { repository: REPOSITORY.into(), event: "push".into(), fork: None, jobs })
    }

    /// Opens a session for an encoded configuration, as the runner program does.
    pub(crate) async fn connect(&self, encoded: &str) -> Runner<'_> {
        let files: Value = serde_json::from_slice(&decode(encoded)).unwrap();
        let key: Value = serde_json::from_slice(&decode(files[".credentials_rsaparams"].as_str().unwrap())).unwrap();
        let secret = key["sharedSecret"].as_str().unwrap().to_owned();
        let request = self.request(Method::POST, "/_sim/runner/sessions", &secret);
        let response = request.header("x-runner-version", "2.336.0").send().await.unwrap();
        assert_eq!(response.status(), 200);
        Runner { github: self, secret, session: response.text().await.unwrap() }
    }

    pub(crate) fn assert_clean(&self) {
        assert_eq!(self.server.violations(), Vec::<String>::new());
    }
}

/// A runner program with a session.
pub(crate) struct Runner<'a> {
    github: &'a SteppedGitHub,
    secret: String,
    session: String,
}

impl Runner<'_> {
    /// Waits for a message. Returns its status and the number of the job.
    pub(crate) async fn message(&self) -> (u16, Option<u64>) {
        let path = format!("/_sim/runner/sessions/{}/message", self.session);
        let response = self.github.request(Method::GET, &path, &self.secret).send().await.unwrap();
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        let job = text.lines().find_map(|line| line.strip_prefix("job=")).map(|id| id.parse().unwrap());
        (status, job)
    }

    pub(crate) async fn report(&self, job: u64, what: &str, body: &'static str) -> u16 {
        let path = format!("/_sim/runner/jobs/{job}/{what}");
        self.github.request(Method::POST, &path, &self.secret).body(body).send().await.unwrap().status().as_u16()
    }
}

fn decode(text: &str) -> Vec<u8> {
    base64::engine::general_purpose::STANDARD.decode(text).unwrap()
}

/// Returns a claim signed with the sample key.
pub(crate) fn claim(header: &Value, payload: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(header), part(payload));
    let key = PrivatePkcs1KeyDer::from_pem_slice(SAMPLE_APP_KEY.as_bytes()).unwrap();
    let key = KeyPair::from_der(key.secret_pkcs1_der()).unwrap();
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// Returns a valid claim of an App, issued at `now`.
pub(crate) fn good_claim(issuer: &Value, now: i64) -> String {
    claim(&json!({ "alg": "RS256", "typ": "JWT" }), &json!({ "iss": issuer, "iat": now - 60, "exp": now + 540 }))
}
