//! The guest agent's calls, with its own texts.

use std::collections::HashMap;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Output;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::sandbox::{Sandbox, run};
use sim_backend::{AgentCall, AgentError, AgentReply};

/// Process number of the first executed program.
const FIRST_PROCESS: u32 = 600;

/// The agent of one running guest.
#[derive(Debug)]
pub(super) struct Agent {
    guest: Arc<Sandbox>,
    executed: Mutex<Executed>,
}

#[derive(Debug, Default)]
struct Executed {
    count: u32,
    running: HashMap<u32, JoinHandle<io::Result<Output>>>,
}

impl Agent {
    pub(super) fn new(guest: Arc<Sandbox>) -> Self {
        Self { guest, executed: Mutex::default() }
    }

    pub(super) async fn call(&self, call: AgentCall) -> Result<AgentReply, AgentError> {
        match call {
            AgentCall::Exec { command, input } => self.exec(command, input).await,
            AgentCall::ExecStatus { pid } => self.exec_status(pid).await,
            AgentCall::FileRead { path } => self.file_read(&path).await,
            AgentCall::FileWrite { path, content } => self.file_write(&path, &content).await,
            AgentCall::Interfaces => self.json("ip -json -statistics address", interfaces).await,
            AgentCall::OsInfo => self.json(OS_INFO, Some).await,
        }
    }

    async fn exec(&self, words: Vec<String>, input: Vec<u8>) -> Result<AgentReply, AgentError> {
        let program = words.first().map(String::as_str).unwrap_or_default();
        if !self.succeeds("command -v -- \"$1\"", &[program]).await? {
            return Err(AgentError::Refused(format!(
                "Failed to execute child process \u{201c}{program}\u{201d} (No such file or directory)"
            )));
        }
        let mut command = self.guest.command(program);
        command.args(&words[1..]);
        let mut executed = self.executed.lock().unwrap_or_else(PoisonError::into_inner);
        let number = FIRST_PROCESS + executed.count;
        executed.count += 1;
        executed.running.insert(number, tokio::spawn(async move { run(command, &input).await }));
        Ok(AgentReply::Pid(number))
    }

    async fn exec_status(&self, number: u32) -> Result<AgentReply, AgentError> {
        let finished = {
            let mut executed = self.executed.lock().unwrap_or_else(PoisonError::into_inner);
            match executed.running.get(&number) {
                // This is the agent's own text.
                None => return Err(AgentError::Refused("PID ld does not exist".to_owned())),
                Some(task) if !task.is_finished() => None,
                Some(_) => executed.running.remove(&number),
            }
        };
        let Some(task) = finished else {
            return Ok(AgentReply::Exited {
                exited: false,
                code: None,
                signal: None,
                out: Vec::new(),
                err: Vec::new(),
            });
        };
        let output = task
            .await
            .map_err(io::Error::other)
            .and_then(|output| output)
            .map_err(|error| AgentError::Refused(error.to_string()))?;
        // `nsenter` ends like its program, also by a signal.
        let (code, signal) = (output.status.code(), output.status.signal());
        Ok(AgentReply::Exited { exited: true, code, signal, out: output.stdout, err: output.stderr })
    }

    async fn file_read(&self, path: &str) -> Result<AgentReply, AgentError> {
        let output = self.guest.script("exec cat -- \"$1\"", &[path], b"").await.map_err(not_running)?;
        if output.status.success() {
            return Ok(AgentReply::Content(output.stdout));
        }
        Err(AgentError::Refused(format!("failed to open file '{path}' (mode: 'r'): {}", reason(&output.stderr))))
    }

    /// Writes a file. The agent creates files with mode 0666, regardless of the mask.
    async fn file_write(&self, path: &str, content: &[u8]) -> Result<AgentReply, AgentError> {
        let output = self
            .guest
            .script("umask 0; exec dd status=none bs=64k of=\"$1\"", &[path], content)
            .await
            .map_err(not_running)?;
        if output.status.success() {
            return Ok(AgentReply::Done);
        }
        Err(AgentError::Refused(format!("failed to open file '{path}' (mode: 'wb'): {}", reason(&output.stderr))))
    }

    async fn json(&self, script: &str, shape: impl Fn(Value) -> Option<Value>) -> Result<AgentReply, AgentError> {
        let output = self.guest.script(script, &[], b"").await.map_err(not_running)?;
        let value = serde_json::from_slice(&output.stdout).ok().and_then(shape);
        value
            .map(AgentReply::Json)
            .ok_or_else(|| AgentError::Refused(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
    }

    async fn succeeds(&self, script: &str, arguments: &[&str]) -> Result<bool, AgentError> {
        self.guest.script(script, arguments, b"").await.map(|output| output.status.success()).map_err(not_running)
    }
}

const OS_INFO: &str = r#". /etc/os-release
jq -n --arg id "$ID" --arg name "$NAME" --arg pretty "$PRETTY_NAME" --arg version "$VERSION" --arg number "${VERSION_ID:-}" \
    --arg release "$(uname -r)" --arg kernel "$(uname -v)" --arg machine "$(uname -m)" \
    '{id: $id, name: $name, "pretty-name": $pretty, version: $version, "version-id": $number, "kernel-release": $release, "kernel-version": $kernel, machine: $machine}'"#;

/// Converts the output of `ip` to the agent's form. A guest shares the host's loopback interface and shows nothing else of the host.
fn interfaces(listed: Value) -> Option<Value> {
    let loopback = listed.as_array()?.iter().find(|interface| interface["ifname"] == "lo")?;
    let family = |address: &Value| if address["family"] == "inet6" { "ipv6" } else { "ipv4" };
    let addresses: Vec<Value> = loopback["addr_info"]
        .as_array()?
        .iter()
        .map(|address| json!({"ip-address": address["local"], "ip-address-type": family(address), "prefix": address["prefixlen"]}))
        .collect();
    let count = |direction: &str, name: &str| loopback["stats64"][direction][name].as_u64().unwrap_or(0);
    let statistics = json!({
        "rx-bytes": count("rx", "bytes"), "rx-packets": count("rx", "packets"), "rx-errs": count("rx", "errors"), "rx-dropped": count("rx", "dropped"),
        "tx-bytes": count("tx", "bytes"), "tx-packets": count("tx", "packets"), "tx-errs": count("tx", "errors"), "tx-dropped": count("tx", "dropped"),
    });
    Some(
        json!([{"name": "lo", "hardware-address": loopback["address"], "ip-addresses": addresses, "statistics": statistics}]),
    )
}

/// Returns the system's message at the end of a program's error output.
fn reason(errors: &[u8]) -> String {
    let text = String::from_utf8_lossy(errors);
    text.trim().rsplit(": ").next().unwrap_or_default().to_owned()
}

/// Returns the error for a guest that ended during the call.
fn not_running(_: io::Error) -> AgentError {
    AgentError::NotRunning
}
