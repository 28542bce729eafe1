//! Replay of one file of recordings against a new simulator.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::client::{Answer, Client, LONGEST};
use super::compare::{Bindings, is_progress};
use super::request::{self, Source};
use super::step::{Frame, Step, Task};
use super::{Deviation, ReplayError, Scenario};
use sim_pve::scripted::{Boot, Scripted};
use sim_pve::{Handle, Latency, Options, Server, World};

/// Simulated time between two requests, in which everything that was started before begins to wait.
const PAUSE: Duration = Duration::from_millis(60);
/// Interval of polls.
const POLL: Duration = Duration::from_millis(150);
/// Longer than any recorded task.
const LONGEST_TASK: Duration = Duration::from_secs(1200);
/// Real time after which a console's output is not awaited any longer.
const CONSOLE: Duration = Duration::from_secs(20);

struct Replay {
    handle: Handle,
    guests: Scripted,
    client: Client,
    bindings: Bindings,
    made_up: Mutex<HashMap<String, String>>,
    /// True for recordings of a proxy in front of Packer, which polls at its own pace.
    packer: bool,
    /// Guests whose power button was pressed.
    asked: HashSet<u32>,
}

impl Source for Replay {
    fn credential(&self, name: &str) -> String {
        if let Some(id) = name.strip_prefix("secret:") {
            return self.handle.token_secret(id).unwrap_or_default();
        }
        let known = match name {
            "password" => self.handle.password("dev@pve"),
            _ => name.strip_prefix("password:").and_then(|user| self.handle.password(user)),
        };
        // A changed password keeps its name; its first value is remembered.
        let mut made_up = self.made_up.lock().unwrap_or_else(PoisonError::into_inner);
        let next = made_up.len();
        made_up
            .entry(name.to_owned())
            .or_insert_with(|| known.unwrap_or_else(|| format!("made-up-{next}-{}", "x".repeat(8))))
            .clone()
    }

    fn ticket(&self, user: &str) -> (String, String) {
        self.handle.session(user)
    }
}

/// The result of one file.
pub(super) struct Replayed {
    pub(super) scenarios: Vec<Scenario>,
    pub(super) undeclared: BTreeSet<String>,
}

/// Replays one file.
pub(super) async fn file(
    world: &World,
    name: &str,
    steps: &[Step],
    accepted: &[Deviation],
) -> Result<Replayed, ReplayError> {
    let guests = Scripted::new(Boot::OnRequest);
    let options = Options { latency: Latency::Virtual, statistics: false, check_answers: true, ..Options::default() };
    let handle = Server::start(world, Arc::new(guests.clone()), options).await.map_err(ReplayError::Start)?;
    let client = Client::new(&handle.url()).map_err(ReplayError::Connect)?;
    let mut replay = Replay {
        handle,
        guests,
        client,
        bindings: Bindings::default(),
        made_up: Mutex::default(),
        packer: name.starts_with("packer"),
        asked: HashSet::new(),
    };
    let mut out: Vec<Scenario> = Vec::new();
    let mut index = 0;
    while index < steps.len() {
        let first = &steps[index];
        if out.last().is_none_or(|last| last.name != scenario_name(first)) {
            replay.bindings = Bindings::default();
            replay.handle.statistics_round();
            let fresh = Scenario::new(name, &scenario_name(first));
            out.push(fresh);
        }
        let Some(scenario) = out.last_mut() else { break };
        if let Some(count) = first.together() {
            let group = &steps[index + 1..(index + 1 + count).min(steps.len())];
            replay.group(group, scenario, accepted).await?;
            index += 1 + group.len();
            continue;
        }
        if let Some(action) = &first.action {
            replay.act(action, &first.params).await?;
        } else if let Some(known) = accepted.iter().find(|known| known.not_sent && known.is_about(scenario, first)) {
            scenario.left_out += 1;
            scenario.reasons.insert(known.reason.clone());
        } else if !first.is_measurement() {
            let outcome = replay.step(first).await?;
            book(scenario, first, outcome, accepted);
        }
        index += 1;
    }
    let undeclared = replay.handle.undeclared();
    replay.handle.shutdown().await;
    Ok(Replayed { scenarios: out, undeclared })
}

fn scenario_name(step: &Step) -> String {
    if step.scenario.is_empty() { "packer".to_owned() } else { step.scenario.clone() }
}

fn book(scenario: &mut Scenario, step: &Step, outcome: Result<(), String>, accepted: &[Deviation]) {
    let Err(text) = outcome else {
        scenario.equal += 1;
        return;
    };
    if step.unstable.is_some() || step.lab_artifact.is_some() {
        scenario.left_out += 1;
        return;
    }
    let known = accepted.iter().find(|known| known.is_about(scenario, step));
    let line = format!(
        "{} {} {}: {text}",
        step.step.unwrap_or(0),
        step.method.as_deref().unwrap_or_default(),
        step.path.as_deref().unwrap_or_default()
    );
    match known {
        Some(known) => scenario.accepted.push(format!("{line} ({})", known.reason)),
        None => scenario.different.push(line),
    }
}

impl Replay {
    /// Sends a step. The request counts as the work of the replay.
    async fn send(&self, step: &Step) -> Result<(Answer, Duration), ReplayError> {
        let wire = request::build(step, &self.bindings, self);
        let answer = self.client.send(&wire.head, &wire.body).await.map_err(ReplayError::Connect)?;
        let log = self.handle.requests().entries();
        let method = step.method.as_deref().unwrap_or_default();
        let waited = log
            .iter()
            .rev()
            .find(|entry| entry.path == wire.path && entry.method == method)
            .map_or(Duration::ZERO, |entry| entry.waited);
        Ok((answer, waited))
    }

    async fn group(
        &mut self,
        group: &[Step],
        scenario: &mut Scenario,
        accepted: &[Deviation],
    ) -> Result<(), ReplayError> {
        self.handle.pass(PAUSE).await;
        // All requests but the last one to be answered count as additional work.
        let left = AtomicUsize::new(group.len());
        (1..group.len()).for_each(|_| self.handle.hold_time());
        let this = &*self;
        let each = |step| {
            let left = &left;
            async move {
                let answer = this.send(step).await;
                if left.fetch_sub(1, Ordering::SeqCst) > 1 {
                    this.handle.release_time();
                }
                answer
            }
        };
        let sent = futures::future::join_all(group.iter().map(each)).await;
        for (step, result) in group.iter().zip(sent) {
            let (answer, waited) = result?;
            let outcome = self.check(step, &answer, waited).await?;
            book(scenario, step, outcome, accepted);
        }
        Ok(())
    }

    async fn step(&mut self, step: &Step) -> Result<Result<(), String>, ReplayError> {
        if !step.frames.is_empty() || step.status == Some(101) {
            return self.websocket(step).await;
        }
        let path = step.path.as_deref().unwrap_or_default();
        if self.packer && path.ends_with("status/shutdown") {
            // The recorded guest reacted to the second press of the power button.
            if let Some(vmid) =
                path.split('/').nth(4).and_then(|n| n.parse().ok()).filter(|vmid| !self.asked.insert(*vmid))
            {
                self.guests.boot(vmid);
            }
        }
        let repeats = step.method.as_deref() == Some("GET");
        let mut lagging = repeats && (path.starts_with("/cluster/resources") || path.starts_with("/pools/"));
        let mut left = if repeats
            && ((path.contains("/tasks/") && path.ends_with("/status"))
                || path.contains("exec-status")
                || path.contains("status/current")
                || path == "/nodes/pve1/qemu")
        {
            100
        } else {
            0
        };
        loop {
            self.handle.pass(PAUSE).await;
            let before = self.bindings.clone();
            let (answer, waited) = self.send(step).await?;
            let outcome = self.check(step, &answer, waited).await?;
            if let Some(upid) = path.split('/').find(|part| part.contains("upid")).filter(|_| step.repeated.is_some()) {
                let upid = request::fill(upid, &self.bindings, self);
                self.handle.task_ended(&upid, LONGEST_TASK).await;
            }
            if outcome.is_ok() || step.repeated.is_some() || step.unstable.is_some() {
                return Ok(outcome);
            }
            if lagging {
                // The recorder had waited for the next statistics round.
                lagging = false;
                self.bindings = before;
                self.handle.statistics_round();
                continue;
            }
            let early = step.body["data"]["status"] == "running" || step.body["data"]["exited"] == 0;
            if left == 0 || early || step.status != Some(200) {
                return Ok(outcome);
            }
            left -= 1;
            self.bindings = before;
            self.handle.pass(POLL).await;
        }
    }

    async fn check(
        &mut self,
        step: &Step,
        answer: &Answer,
        waited: Duration,
    ) -> Result<Result<(), String>, ReplayError> {
        let outcome = self.answer(step, answer, waited);
        let upid = serde_json::from_slice::<Value>(&answer.body)
            .ok()
            .and_then(|body| body["data"].as_str().map(str::to_owned));
        let Some(upid) = upid.filter(|text| text.starts_with("UPID:")) else { return Ok(outcome) };
        let Some(task) = &step.task else { return Ok(outcome) };
        if !self.handle.task_ended(&upid, LONGEST_TASK).await {
            return Ok(outcome.and(Err("the task did not end".to_owned())));
        }
        Ok(outcome.and_then(|()| self.task(task, &upid)))
    }

    fn answer(&mut self, step: &Step, answer: &Answer, waited: Duration) -> Result<(), String> {
        let status = step.status.unwrap_or(0);
        if answer.status != status {
            let body = String::from_utf8_lossy(&answer.body);
            return Err(format!(
                "status {} {} instead of {status} {}; {}",
                answer.status,
                answer.reason,
                step.reason.as_deref().unwrap_or_default(),
                short(&body)
            ));
        }
        if let Some(class) = step.elapsed_ms_class.as_deref().filter(|_| answer.status != 200 || !step.body.is_null()) {
            same_wait(class, waited)?;
        }
        if status == 0 {
            return Ok(());
        }
        if let Some(reason) = &step.reason {
            self.bindings.matches(&json!(reason), &json!(answer.reason), "reason")?;
        }
        for (name, value) in &step.headers {
            let have = answer.header(name).unwrap_or_default();
            let want = value.as_str().unwrap_or_default();
            let hundredth = name == "connection" && want == "close" && status == 200;
            if !hundredth
                && matches!(name.as_str(), "connection" | "content-encoding" | "sec-websocket-protocol")
                && !have.eq_ignore_ascii_case(want)
                && !want.contains("${")
            {
                return Err(format!("header {name}: {have:?} instead of {want:?}"));
            }
        }
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let body: Value = serde_json::from_str(&text).unwrap_or_else(|_| json!(text));
        let polled = step.body["data"]["status"] == "running"
            && body["data"]["status"] == "stopped"
            && step.path.as_deref().is_some_and(|p| p.contains("/tasks/"));
        if polled && (step.note.is_some() || step.repeated.is_some() || self.packer) {
            return Ok(());
        }
        self.bindings.cut = false;
        let progressing = |body: &Value| {
            body["data"]
                .as_array()
                .is_some_and(|lines| lines.iter().any(|line| line["t"].as_str().is_some_and(is_progress)))
        };
        if step.path.as_deref().is_some_and(|p| p.ends_with("/log")) && progressing(&step.body) {
            // The progress of a copy is not fixed.
            return self.bindings.matches(&without_progress(&step.body), &without_progress(&body), "log");
        }
        self.bindings.matches(&step.body, &body, "body")
    }

    fn task(&mut self, want: &Task, upid: &str) -> Result<(), String> {
        let Some(task) = self.handle.task_report(upid) else { return Err("no such task".to_owned()) };
        let exit = task.exit;
        self.bindings.matches(&json!(want.exitstatus), &json!(exit), "exitstatus")?;
        if task.kind != want.kind || task.id != want.id || task.user != want.user {
            return Err(format!(
                "task {} {} of {} instead of {} {} of {}",
                task.kind, task.id, task.user, want.kind, want.id, want.user
            ));
        }
        let logged = if task.log.is_empty() { vec!["no content".to_owned()] } else { task.log };
        self.bindings.logs(&want.log, &logged)?;
        if want.status == "stopped" && exit.contains("got timeout") {
            same_wait(want.elapsed_ms_class.as_deref().unwrap_or("instant"), task.waited)?;
        }
        Ok(())
    }

    async fn websocket(&mut self, step: &Step) -> Result<Result<(), String>, ReplayError> {
        self.handle.pass(PAUSE).await;
        let wire = request::build(step, &self.bindings, self);
        let Ok(exchanged) = tokio::time::timeout(LONGEST, self.client.exchange(&wire.head, &wire.body)).await else {
            return Ok(Err("nothing came".to_owned()));
        };
        let (answer, stream) = exchanged.map_err(ReplayError::Connect)?;
        if let Err(text) = self.answer(
            &Step { body: Value::Null, elapsed_ms_class: None, ..step.clone() },
            &Answer { body: b"null".to_vec(), ..answer },
            Duration::ZERO,
        ) {
            return Ok(Err(text));
        }
        let mut socket = WebSocketStream::from_raw_socket(stream, Role::Client, None).await;
        let mut want = String::new();
        let mut have = String::new();
        for frame in &step.frames {
            if frame.dir == ">" {
                read_until(&mut socket, &mut have, want.len()).await;
                let data = request::fill(frame.data.as_deref().unwrap_or_default(), &self.bindings, self);
                if frame.kind == "abort" || socket.send(message(frame, data)).await.is_err() {
                    break;
                }
            } else if frame.kind == "binary" {
                want.push_str(frame.data.as_deref().unwrap_or_default());
            }
        }
        read_until(&mut socket, &mut have, want.len()).await;
        if have == want || have.starts_with(&want) {
            return Ok(Ok(()));
        }
        Ok(Err(format!("console: {have:?} instead of {want:?}")))
    }

    async fn act(&mut self, action: &str, params: &Value) -> Result<(), ReplayError> {
        self.handle.pass(PAUSE).await;
        let vmid = params["vmid"].as_u64().and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
        match action {
            "set-lock" => self.handle.set_lock(vmid, params["lock"].as_str()),
            "remove-lock" => self.handle.set_lock(vmid, None),
            "hold-file-lock" => self.handle.hold_file_lock(vmid, params["mode"] == "shared").await,
            "release-file-lock" => self.handle.release_file_lock(vmid),
            "wait-agent" => self.boot(vmid).await,
            "wait" => {
                let seconds = params["seconds"].as_f64().unwrap_or(1.0);
                self.handle.pass(Duration::from_secs_f64(seconds)).await;
            }
            "fill-disk" => {
                let volid = params["volid"].as_str().unwrap_or_default();
                let data = params["MiB"].as_u64().unwrap_or(0) << 20;
                self.handle.fill_volume(volid, data);
            }
            "grant" => self.grant(params),
            "destroy" => self.destroy(vmid, params["type"].as_str().unwrap_or("qemu")).await?,
            _ => {}
        }
        Ok(())
    }

    async fn boot(&self, vmid: u32) {
        // The start may not have finished.
        for _ in 0..200 {
            self.guests.boot(vmid);
            self.handle.pass(POLL).await;
            if self.handle.is_agent_up(vmid) {
                return;
            }
        }
    }

    /// Gives a user exactly these privileges, by roles of their own.
    fn grant(&self, params: &Value) {
        let user = params["user"].as_str().unwrap_or_default().to_owned();
        let wanted: BTreeMap<String, Vec<String>> = serde_json::from_value(params["acl"].clone()).unwrap_or_default();
        self.handle.set_privileges(&user, wanted);
    }

    async fn destroy(&mut self, vmid: u32, kind: &str) -> Result<(), ReplayError> {
        let path = format!("/nodes/pve1/{kind}/{vmid}");
        let step =
            Step { method: Some("DELETE".into()), path: Some(path), encoding: Some("query".into()), ..Step::default() };
        let (answer, _) = self.send(&step).await?;
        let upid = serde_json::from_slice::<Value>(&answer.body)
            .ok()
            .and_then(|body| body["data"].as_str().map(str::to_owned));
        if let Some(upid) = upid {
            self.handle.task_ended(&upid, LONGEST_TASK).await;
        }
        Ok(())
    }
}

fn without_progress(body: &Value) -> Value {
    let lines = body["data"].as_array().cloned().unwrap_or_default();
    json!(
        lines
            .iter()
            .map(|line| line["t"].clone())
            .filter(|text| text.as_str().is_some_and(|text| !is_progress(text) && !text.starts_with("TASK ")))
            .collect::<Vec<_>>()
    )
}

fn message(frame: &Frame, data: String) -> Message {
    match frame.kind.as_str() {
        "text" => Message::Text(data.into()),
        "ping" => Message::Ping(data.into_bytes().into()),
        "close" => Message::Close(None),
        _ => Message::Binary(data.into_bytes().into()),
    }
}

/// Reads until this number of bytes has arrived, or nothing more arrives.
async fn read_until<S>(socket: &mut WebSocketStream<S>, have: &mut String, length: usize)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    while have.len() < length {
        let Ok(Some(Ok(message))) = tokio::time::timeout(CONSOLE, socket.next()).await else { return };
        if let Message::Binary(bytes) = message {
            have.push_str(&String::from_utf8_lossy(&bytes));
        }
    }
}

/// Compares delays of three seconds and more, which belong to the behaviour.
fn same_wait(class: &str, waited: Duration) -> Result<(), String> {
    let group = match class {
        "~3s" | "~5s" => 1,
        "~10s" => 2,
        "~30s" | "~60s" => return Ok(()),
        _ => 0,
    };
    let have = match waited.as_secs_f64() {
        seconds if seconds < 2.4 => 0,
        seconds if seconds < 7.5 => 1,
        _ => 2,
    };
    if have == group { Ok(()) } else { Err(format!("waited {:.1} s instead of {class}", waited.as_secs_f64())) }
}

fn short(text: &str) -> String {
    text.chars().take(200).collect()
}
