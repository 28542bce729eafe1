//! Calls to the guest agent.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::engine::{Call, Engine};
use crate::params::Param;
use crate::refusal::{Body, Outcome, Refusal};
use crate::world::drives;
use crate::world::guest::Guest;
use crate::world::guest::Kind;
use sim_backend::{AgentCall, AgentError, AgentReply};

/// Commands of the old generic call, which `GET …/agent` lists.
pub(crate) const COMMANDS: [&str; 25] = [
    "exec",
    "exec-status",
    "file-read",
    "file-write",
    "fsfreeze-freeze",
    "fsfreeze-status",
    "fsfreeze-thaw",
    "fstrim",
    "get-fsinfo",
    "get-host-name",
    "get-memory-block-info",
    "get-memory-blocks",
    "get-osinfo",
    "get-time",
    "get-timezone",
    "get-users",
    "get-vcpus",
    "info",
    "network-get-interfaces",
    "ping",
    "set-user-password",
    "shutdown",
    "suspend-disk",
    "suspend-hybrid",
    "suspend-ram",
];

pub(crate) fn index() -> Value {
    json!(COMMANDS.iter().map(|name| json!({ "name": name })).collect::<Vec<_>>())
}

pub(crate) async fn call(engine: &Engine, call: &Call, command: &str) -> Outcome<Value> {
    let vmid = call.vmid();
    let guest = engine.guest(Kind::Qemu, vmid, &call.node)?;
    if command == "exec" && call.params.list("command").is_empty() && !call.params.has("input-data") {
        return Err(Refusal::fault("command or input-data (or both) required"));
    }
    if !drives::agent_enabled(guest.get("agent")) {
        return Err(Refusal::fault("No QEMU guest agent configured"));
    }
    let Some(run) = &guest.run else { return Err(Refusal::fault(format!("VM {vmid} is not running"))) };
    if command == "shutdown" {
        engine.backend.vm_shutdown(vmid).await;
        let gone = super::power::gone_within(engine, vmid, run.number, 10).await;
        return if gone { Ok(json!({ "result": null })) } else { Err(not_running()) };
    }
    let request = request(call, command)?;
    if !run.agent {
        engine.wait(Duration::from_secs(3)).await;
        return Err(not_running());
    }
    if run.stuck {
        engine.with_guest(vmid, |guest| {
            if let Some(run) = &mut guest.run {
                run.stuck = false;
            }
        });
        engine.wait(Duration::from_secs(3)).await;
        return Err(not_running());
    }
    if matches!(&request, Some(AgentCall::Exec { command, .. }) if !command.iter().all(|word| word.is_ascii())) {
        // Such a command line does not reach the agent complete, and makes the next call fail too.
        engine.with_guest(vmid, |guest| {
            if let Some(run) = &mut guest.run {
                run.stuck = true;
            }
        });
        engine.wait(Duration::from_secs(5)).await;
        return Err(Refusal::fault(format!("VM {vmid} qga command 'guest-exec' failed - got timeout")));
    }
    let Some(request) = request else { return Ok(json!({ "result": canned(engine, &guest, command)? })) };
    match engine.backend.agent(vmid, request).await {
        Ok(AgentReply::Content(bytes)) => Ok(part(call, &bytes)),
        Ok(reply) => Ok(shown(command, reply)),
        Err(AgentError::NotRunning) => {
            engine.wait(Duration::from_secs(3)).await;
            Err(not_running())
        }
        Err(AgentError::Refused(text)) => refused(engine, &text).await,
    }
}

fn not_running() -> Refusal {
    Refusal::fault("QEMU guest agent is not running")
}

/// Fails as PVE does for text beyond ASCII, which kills the daemon that should forward it.
async fn refused(engine: &Engine, text: &str) -> Outcome<Value> {
    if text.is_ascii() {
        return Err(Refusal::fault(format!("Agent error: {text}")));
    }
    engine.wait(Duration::from_secs(5)).await;
    Err(Refusal::new(596, "Broken pipe", Body::Empty))
}

fn request(call: &Call, command: &str) -> Outcome<Option<AgentCall>> {
    Ok(Some(match command {
        "exec" => {
            let input = call.text("input-data").unwrap_or_default();
            let command: Vec<String> = match call.params.0.get("command") {
                Some(Param::List(all)) => all.clone(),
                _ => Vec::new(),
            };
            AgentCall::Exec { command, input: latin(input, 135)? }
        }
        "exec-status" => {
            let pid = call.params.number("pid").and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
            AgentCall::ExecStatus { pid }
        }
        "file-read" => AgentCall::FileRead { path: call.text("file").unwrap_or_default().to_owned() },
        "file-write" => {
            let content = call.text("content").unwrap_or_default();
            let bytes = if call.text("encode") == Some("0") {
                BASE64_STANDARD.decode(content).map_err(|_| Refusal::fault("Agent error: Invalid base64 data"))?
            } else {
                latin_file(content)?
            };
            AgentCall::FileWrite { path: call.text("file").unwrap_or_default().to_owned(), content: bytes }
        }
        "network-get-interfaces" => AgentCall::Interfaces,
        "get-osinfo" => AgentCall::OsInfo,
        _ => return Ok(None),
    }))
}

/// Returns the bytes of a text. Perl's base64 takes one byte for each character and refuses wider ones.
fn latin(text: &str, line: u32) -> Outcome<Vec<u8>> {
    let bytes: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect();
    bytes.ok_or_else(|| {
        Refusal::fault(format!(
            "Wide character in subroutine entry at /usr/share/perl5/PVE/QemuServer/Agent.pm line {line}."
        ))
    })
}

fn latin_file(text: &str) -> Outcome<Vec<u8>> {
    let bytes: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect();
    bytes.ok_or_else(|| {
        Refusal::fault("Wide character in subroutine entry at /usr/share/perl5/PVE/API2/Qemu/Agent.pm line 494.")
    })
}

/// Returns a text with one character for each byte, as PVE returns data.
fn per_byte(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

fn shown(command: &str, reply: AgentReply) -> Value {
    match reply {
        AgentReply::Done if command == "file-write" => Value::Null,
        AgentReply::Done => json!({ "result": {} }),
        AgentReply::Pid(pid) => json!({ "pid": pid }),
        AgentReply::Exited { exited: false, .. } => json!({ "exited": 0 }),
        AgentReply::Exited { code, signal, out, err, .. } => {
            let mut value = json!({ "exited": 1 });
            if let Some(code) = code {
                value["exitcode"] = json!(code);
            }
            if let Some(signal) = signal {
                value["signal"] = json!(signal);
            }
            for (name, bytes) in [("out", out), ("err", err)] {
                if !bytes.is_empty() {
                    value[format!("{name}-data")] = json!(per_byte(&bytes));
                    value[format!("{name}-truncated")] = json!(0);
                }
            }
            value
        }
        AgentReply::Content(bytes) => json!({ "content": per_byte(&bytes) }),
        AgentReply::Json(value) => json!({ "result": value }),
    }
}

/// Bytes of a file that PVE reads from the agent at a time, and the total limit.
const CHUNK: usize = 1 << 20;
const MAX_READ: usize = 16 << 20;

/// Returns the requested part of a file as `file-read` shows it. A part that ends where the count does is reported as
/// truncated, because the agent has not reached the end of the file.
///
/// Source: `file-read` in qemu-server's `API2/Qemu/Agent.pm`.
fn part(call: &Call, bytes: &[u8]) -> Value {
    let number = |name: &str| call.params.number(name).and_then(|number| usize::try_from(number).ok());
    let (offset, count) = (number("offset").unwrap_or(0), number("count").unwrap_or(MAX_READ));
    let rest = bytes.get(offset..).unwrap_or_default();
    let read = &rest[..rest.len().min(count)];
    let content = match call.text("decode") {
        // Each chunk is encoded separately.
        Some("0") => read.chunks(CHUNK).map(|chunk| BASE64_STANDARD.encode(chunk)).collect(),
        _ => per_byte(read),
    };
    let mut value = json!({ "content": content, "bytes-read": read.len() });
    if read.len() == count {
        value["truncated"] = json!(1);
    }
    value
}

/// Answers commands that do not need the guest.
fn canned(engine: &Engine, guest: &Guest, command: &str) -> Outcome<Value> {
    Ok(match command {
        "get-host-name" => {
            json!({ "host-name": guest.get("name").filter(|_| guest.get("tags").is_some()).unwrap_or("guest1") })
        }
        "fsfreeze-status" => json!("thawed"),
        "fsfreeze-freeze" | "fsfreeze-thaw" => json!(0),
        "get-time" => json!(engine.clock.seconds() * 1_000_000_000),
        "get-timezone" => json!({ "offset": 0, "zone": "UTC" }),
        "get-users" | "get-fsinfo" => json!([]),
        "get-vcpus" => json!([{ "can-offline": false, "logical-id": 0, "online": true }]),
        "fstrim" => json!({ "paths": [] }),
        "info" => {
            let names = [
                "guest-network-get-route",
                "guest-get-load",
                "guest-get-cpustats",
                "guest-get-osinfo",
                "guest-exec",
                "guest-exec-status",
                "guest-network-get-interfaces",
                "guest-file-open",
                "guest-file-read",
                "guest-file-write",
                "guest-shutdown",
                "guest-ping",
            ];
            let commands: Vec<Value> =
                names.iter().map(|name| json!({ "enabled": true, "name": name, "success-response": true })).collect();
            json!({ "version": "10.0.13", "supported_commands": commands })
        }
        "get-memory-blocks" => json!([{ "can-offline": true, "online": true, "phys-index": 3 }]),
        "ping" => json!({}),
        _ => return Err(Refusal::fault(format!("not simulated: the agent's command {command}"))),
    })
}
