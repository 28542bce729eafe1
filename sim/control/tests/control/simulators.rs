//! Both simulators with their control, and their HTTP clients.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sim::{Control, Server};
use sim_github::{Server as GitHub, ServerOptions};
use sim_pve::scripted::{Boot, Scripted};
use sim_pve::{Latency, Options, Server as Pve, World};

pub(crate) const TOKEN: &str = "root@pam!test";

/// Deadline of every wait.
const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) struct Simulators {
    pub(crate) control: Arc<Control>,
    pub(crate) server: Server,
    pub(crate) guests: Scripted,
    pub(crate) http: reqwest::Client,
}

impl Simulators {
    pub(crate) async fn start(latency: Latency) -> Self {
        Self::seeded(latency, 1).await
    }

    pub(crate) async fn seeded(latency: Latency, seed: u64) -> Self {
        // Another test of this process may have installed it first.
        let _already = rustls::crypto::ring::default_provider().install_default();
        let world = World::new("pve1")
            .storage("local-lvm", &["images"])
            .template(8000, "golden", "local-lvm", "farm")
            .user("root@pam", "the-password-of-root")
            .token("root@pam", "test", false);
        let guests = Scripted::new(Boot::AtOnce);
        let options = Options { latency, seed, ..Options::default() };
        let pve = Pve::start(&world, Arc::new(guests.clone()), options).await.unwrap();
        let mut options = ServerOptions { seed, ..ServerOptions::default() };
        if pve.is_stepped() {
            options.clock = pve.instants();
        }
        let github = GitHub::start(options).await.unwrap();
        let control = Control::new(Arc::new(pve), Arc::new(github));
        let server = Server::start(Arc::clone(&control), 0).await.unwrap();
        let http = reqwest::Client::builder().no_proxy().tls_danger_accept_invalid_certs(true).build().unwrap();
        Self { control, server, guests, http }
    }

    pub(crate) async fn call(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let request = self.http.request(method.parse().unwrap(), format!("{}{path}", self.server.url()));
        let response = request.bearer_auth(self.server.token()).body(body.to_owned()).send().await.unwrap();
        let status = response.status().as_u16();
        (status, response.json().await.unwrap_or_default())
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let (status, body) = self.call("GET", path, "").await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.call("POST", path, &body.to_string()).await;
        assert!((200..300).contains(&status), "{path}: {answer}");
        answer
    }

    /// Calls Proxmox VE's own API. Returns `None` if the connection closes without an answer.
    pub(crate) fn pve(
        &self,
        method: &str,
        path: &str,
        form: &[(&str, &str)],
    ) -> impl Future<Output = Option<(u16, Value)>> + use<> {
        let secret = self.control.pve().token_secret(TOKEN).unwrap();
        let request =
            self.http.request(method.parse().unwrap(), format!("{}/api2/json{path}", self.control.pve().url()));
        let request = request.header("authorization", format!("PVEAPIToken={TOKEN}={secret}"));
        let request = if form.is_empty() { request } else { request.form(form) };
        async move {
            let response = request.send().await.ok()?;
            let status = response.status().as_u16();
            Some((status, response.json().await.unwrap_or_default()))
        }
    }

    pub(crate) async fn queue(&self, count: u32) -> Vec<u64> {
        let jobs = json!({ "repository": "acme/tools", "labels": ["linux"], "name": "build", "count": count });
        serde_json::from_value(self.post("/v1/jobs", jobs).await["jobs"].clone()).unwrap()
    }
}

/// Waits until a condition is true.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < end, "{what}: not within {DEADLINE:?}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
