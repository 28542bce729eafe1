//! Measurements of connections: idle connections, requests per connection, limits of headers.
//!
//! Idle connections are closed by real time, so these steps take as long as recorded.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::client::{Client, Connection};
use super::step::Step;
use super::{ReplayError, Scenario};
use sim_pve::scripted::{Boot, Scripted};
use sim_pve::{Latency, Options, Server, World};

const TOKEN: &str = "root@pam!lab";
/// Longer than anything recorded, even on a busy machine.
const LONGEST: Duration = Duration::from_secs(60);

/// Replays one file of measurements.
pub(super) async fn file(world: &World, name: &str, steps: &[Step]) -> Result<Vec<Scenario>, ReplayError> {
    let guests = Arc::new(Scripted::new(Boot::OnRequest));
    let options = Options { latency: Latency::Virtual, statistics: false, ..Options::default() };
    let handle = Server::start(world, guests, options).await.map_err(ReplayError::Start)?;
    let client = Client::new(&handle.url()).map_err(ReplayError::Connect)?;
    let wire =
        Wire { client, token: format!("PVEAPIToken={TOKEN}={}", handle.token_secret(TOKEN).unwrap_or_default()) };
    let mut out: Vec<Scenario> = Vec::new();
    for step in steps.iter().filter(|step| step.kind.as_deref() != Some("about")) {
        if out.last().is_none_or(|last| last.name != step.scenario) {
            out.push(Scenario::new(name, &step.scenario));
        }
        let outcome = wire.step(step).await.map_err(ReplayError::Connect)?;
        let Some(scenario) = out.last_mut() else { continue };
        match outcome {
            Ok(()) => scenario.equal += 1,
            Err(Difference::LeftOut(reason)) => {
                scenario.left_out += 1;
                scenario.reasons.insert(reason.to_owned());
            }
            Err(Difference::Text(text)) => {
                let path = step.path.as_deref().unwrap_or_default();
                scenario.different.push(format!("{} {path}: {text}", step.step.unwrap_or(0)));
            }
        }
    }
    handle.shutdown().await;
    Ok(out)
}

enum Difference {
    /// Returns the reason why a measurement is not repeated.
    LeftOut(&'static str),
    Text(String),
}

struct Wire {
    client: Client,
    token: String,
}

type Compared = Result<(), Difference>;

fn same<T: PartialEq + std::fmt::Debug>(have: &T, want: &T) -> Compared {
    if have == want { Ok(()) } else { Err(Difference::Text(format!("{have:?} instead of {want:?}"))) }
}

impl Wire {
    async fn step(&self, step: &Step) -> std::io::Result<Compared> {
        if let (Some("closed"), Some(seconds)) = (step.event.as_deref(), step.after_seconds) {
            return self.idle(step, seconds).await;
        }
        if !step.connection_header_changes.is_empty() {
            return self.changes(step).await;
        }
        if let Some(responses) = step.responses {
            return self.pipelined(step, responses).await;
        }
        let head = match (step.header_lines, step.header_bytes_about) {
            (Some(lines), _) => self.lines(step, lines),
            (None, Some(bytes)) => self.bytes(step, bytes),
            (None, None) => return Ok(Err(Difference::LeftOut("what a call costs is a matter of the machine"))),
        };
        let mut connection = self.client.open().await?;
        connection.write(head.as_bytes()).await;
        let status = self.within(connection.answer()).await.map_or(0, |answer| answer.status);
        Ok(same(&status, &step.status.unwrap_or(0)))
    }

    async fn within<T>(&self, answer: impl Future<Output = Option<T>>) -> Option<T> {
        tokio::time::timeout(LONGEST, answer).await.ok().flatten()
    }

    /// Sends a request without the blank line at its end.
    fn head(&self, step: &Step) -> String {
        let path = step.path.as_deref().unwrap_or("/version");
        format!("GET /api2/json{path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {}\r\n", self.token)
    }

    fn request(&self, step: &Step) -> String {
        format!("{}\r\n", self.head(step))
    }

    fn lines(&self, step: &Step, lines: usize) -> String {
        let more: String = (2..lines).map(|number| format!("X-Line-{number}: x\r\n")).collect();
        format!("{}{more}\r\n", self.head(step))
    }

    fn bytes(&self, step: &Step, bytes: usize) -> String {
        let head = self.head(step);
        let frame = "X-Filler: \r\n\r\n".len();
        format!("{head}X-Filler: {}\r\n\r\n", "x".repeat(bytes.saturating_sub(head.len() + frame)))
    }

    async fn idle(&self, step: &Step, seconds: f64) -> std::io::Result<Compared> {
        let mut connection = self.client.open().await?;
        if step.path.is_some() {
            connection.write(self.request(step).as_bytes()).await;
            if self.within(connection.answer()).await.is_none() {
                return Ok(Err(Difference::Text("no answer".to_owned())));
            }
        }
        let began = Instant::now();
        let closed = tokio::time::timeout(LONGEST, connection.closed()).await.is_ok();
        let spent = began.elapsed().as_secs_f64();
        // The connection must not close earlier. How much later depends on the machine.
        if closed && spent > seconds - 0.5 {
            return Ok(Ok(()));
        }
        Ok(Err(Difference::Text(format!("closed: {closed}, after {spent:.1} s instead of {seconds} s"))))
    }

    async fn changes(&self, step: &Step) -> std::io::Result<Compared> {
        let mut connection = self.client.open().await?;
        let mut changes: Vec<(u32, String)> = Vec::new();
        let last = step.connection_header_changes.iter().map(|(number, _)| *number).max().unwrap_or(0);
        for number in 1..=last {
            connection.write(self.request(step).as_bytes()).await;
            let Some(answer) = self.within(connection.answer()).await else {
                return Ok(Err(Difference::Text(format!("request {number} was not answered"))));
            };
            let header = answer.header("connection").unwrap_or_default().to_owned();
            if changes.last().is_none_or(|(_, known)| *known != header) {
                changes.push((number, header));
            }
        }
        if let Err(difference) = same(&changes, &step.connection_header_changes) {
            return Ok(Err(difference));
        }
        Ok(self.ended(&mut connection).await)
    }

    /// It does so after `Connection: close`.
    async fn ended(&self, connection: &mut Connection) -> Compared {
        match tokio::time::timeout(LONGEST, connection.closed()).await {
            Ok(()) => Ok(()),
            Err(_) => Err(Difference::Text("the connection stayed open".to_owned())),
        }
    }

    async fn pipelined(&self, step: &Step, responses: usize) -> std::io::Result<Compared> {
        let mut connection = self.client.open().await?;
        connection.write(self.request(step).repeat(2).as_bytes()).await;
        let mut got = 0;
        while got < responses && self.within(connection.answer()).await.is_some_and(|answer| answer.status == 200) {
            got += 1;
        }
        Ok(same(&got, &responses))
    }
}
