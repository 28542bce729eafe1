//! A fake runner program: one session at the simulated GitHub, one job, its end.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Request;
use http::header::AUTHORIZATION;
use rand::Rng as _;
use serde_json::Value;
use sim_github::ServerHandle;
use tokio::time::{Instant, sleep};

use crate::chance::Chance;

const VERSION: &str = "2.336.0";
/// Time between two signs of life of a job. GitHub waits for ten minutes.
const SIGN_OF_LIFE: Duration = Duration::from_secs(240);

/// The runner program of one guest.
pub(crate) struct Runner {
    github: Arc<ServerHandle>,
    chance: Chance,
    /// Time of the job; drawn if absent.
    work: Option<Duration>,
    server: String,
    secret: String,
}

impl Runner {
    /// Reads a just-in-time configuration.
    pub(crate) fn new(github: Arc<ServerHandle>, chance: Chance, work: Option<Duration>, jit: &[u8]) -> Option<Self> {
        let files: Value = serde_json::from_slice(&STANDARD.decode(jit).ok()?).ok()?;
        let file = |name: &str| -> Option<Value> {
            serde_json::from_slice(&STANDARD.decode(files[name].as_str()?).ok()?).ok()
        };
        let server = file(".runner")?["serverUrl"].as_str()?.to_owned();
        let secret = file(".credentials_rsaparams")?["sharedSecret"].as_str()?.to_owned();
        Some(Self { github, chance, work, server, secret })
    }

    /// Takes one job and runs it. Returns when there is nothing more to do. `note` gets the lines of the state file.
    pub(crate) async fn run(&self, note: impl Fn(&str)) -> Option<()> {
        let session = self.call("POST", "sessions", "").await.filter(|answer| answer.0 == 200)?.1;
        note("listening");
        let job = self.wait_for_job(&session).await?;
        self.call("POST", &format!("jobs/{job}/acquire"), "").await.filter(|answer| answer.0 == 200)?;
        note(&format!("job {job}"));
        let conclusion = self.work(job).await;
        self.call("POST", &format!("jobs/{job}/finish"), conclusion).await?;
        note("done");
        self.call("DELETE", &format!("sessions/{session}"), "").await?;
        Some(())
    }

    async fn wait_for_job(&self, session: &str) -> Option<u64> {
        loop {
            let (status, text) = self.call("GET", &format!("sessions/{session}/message"), "").await?;
            match status {
                200 => return text.lines().find_map(|line| line.strip_prefix("job="))?.parse().ok(),
                202 => {}
                _ => return None,
            }
        }
    }

    /// Works, with signs of life, and returns the conclusion.
    async fn work(&self, job: u64) -> &'static str {
        let end = Instant::now() + self.work.unwrap_or_else(|| duration(self.chance, job));
        loop {
            let left = end.saturating_duration_since(Instant::now());
            sleep(left.min(SIGN_OF_LIFE)).await;
            if Instant::now() >= end {
                return if self.work.is_none() && self.chance.is_hit("failure", job, 0.1) {
                    "failure"
                } else {
                    "success"
                };
            }
            if let Some((200, word)) = self.call("GET", &format!("jobs/{job}/control"), "").await
                && word == "cancel"
            {
                return "cancelled";
            }
        }
    }

    async fn call(&self, method: &str, path: &str, body: &'static str) -> Option<(u16, String)> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}/_sim/runner/{path}", self.server))
            .header(AUTHORIZATION, format!("Bearer {}", self.secret))
            .header("x-runner-version", VERSION)
            .body(Bytes::from_static(body.as_bytes()))
            .ok()?;
        let answer = self.github.answer(request).await.ok()?;
        Some((answer.status().as_u16(), String::from_utf8_lossy(answer.body()).into_owned()))
    }
}

/// Returns how long a job works: most take minutes, a few more than an hour.
fn duration(chance: Chance, job: u64) -> Duration {
    let mut random = chance.of("job", job);
    let seconds = match random.random_range(0..100) {
        0..80 => random.random_range(20..240),
        80..98 => random.random_range(240..1_500),
        _ => random.random_range(1_500..5_400),
    };
    Duration::from_secs(seconds)
}
