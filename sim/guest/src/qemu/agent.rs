//! The guest agent's protocol over its virtio-serial port. Each line is one JSON object, and answers come in the order
//! of the commands.
//!
//! The port has no connections, so an answer for which an earlier caller did not wait can still arrive. Each call
//! therefore begins with `guest-sync-delimited`, as in Proxmox VE. Everything before the answer to it is dropped.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader, ReadHalf, WriteHalf};
use tokio::sync::Mutex;

use sim_backend::{AgentCall, AgentError, AgentReply};

/// Byte that resets the agent's parser and marks the answer to a synchronisation.
const SENTINEL: u8 = 0xff;
/// Longest time for one command. Proxmox VE allows less, but an emulated processor is slow.
const DEADLINE: Duration = Duration::from_secs(30);
/// Number of bytes in one read of a file.
const CHUNK: u32 = 64 << 10;

/// The port of one machine.
pub(super) struct Agent<S> {
    port: Mutex<Port<S>>,
}

struct Port<S> {
    reader: BufReader<ReadHalf<S>>,
    writer: WriteHalf<S>,
    /// Number of the last synchronisation.
    number: u32,
}

impl<S> std::fmt::Debug for Agent<S> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Agent")
    }
}

impl<S: AsyncRead + AsyncWrite> Agent<S> {
    pub(super) fn new(stream: S) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        Self { port: Mutex::new(Port { reader: BufReader::new(reader), writer, number: 0 }) }
    }

    /// Returns true if the agent answers within `limit`.
    pub(super) async fn answers(&self, limit: Duration) -> bool {
        let ping = async { self.port.lock().await.command("guest-ping", json!({})).await };
        matches!(tokio::time::timeout(limit, ping).await, Ok(Ok(_)))
    }

    /// Makes a call.
    ///
    /// # Errors
    /// See [`AgentError`].
    pub(super) async fn call(&self, call: AgentCall) -> Result<AgentReply, AgentError> {
        let mut port = self.port.lock().await;
        match call {
            AgentCall::Exec { command, input } => port.exec(&command, &input).await,
            AgentCall::ExecStatus { pid } => port.exec_status(pid).await,
            AgentCall::FileRead { path } => port.file_read(&path).await.map(AgentReply::Content),
            AgentCall::FileWrite { path, content } => port.file_write(&path, &content).await,
            AgentCall::Interfaces => port.ask("guest-network-get-interfaces", json!({})).await.map(AgentReply::Json),
            AgentCall::OsInfo => port.ask("guest-get-osinfo", json!({})).await.map(AgentReply::Json),
        }
    }
}

impl<S: AsyncRead + AsyncWrite> Port<S> {
    async fn exec(&mut self, command: &[String], input: &[u8]) -> Result<AgentReply, AgentError> {
        let (program, arguments) = command.split_first().map_or(("", &[][..]), |(first, rest)| (first.as_str(), rest));
        let mut request = json!({ "path": program, "arg": arguments, "capture-output": true });
        if !input.is_empty() {
            request["input-data"] = BASE64_STANDARD.encode(input).into();
        }
        let started = self.ask("guest-exec", request).await?;
        let pid = started["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok());
        pid.map(AgentReply::Pid).ok_or_else(|| not_understood(&started))
    }

    async fn exec_status(&mut self, pid: u32) -> Result<AgentReply, AgentError> {
        let status = self.ask("guest-exec-status", json!({ "pid": pid })).await?;
        let number = |name: &str| status[name].as_i64().and_then(|number| i32::try_from(number).ok());
        Ok(AgentReply::Exited {
            exited: status["exited"].as_bool().ok_or_else(|| not_understood(&status))?,
            code: number("exitcode"),
            signal: number("signal"),
            out: decoded(&status["out-data"])?,
            err: decoded(&status["err-data"])?,
        })
    }

    async fn file_read(&mut self, path: &str) -> Result<Vec<u8>, AgentError> {
        let handle = self.open(path, "r").await?;
        let content = self.read_open(&handle).await;
        self.close(&handle).await?;
        content
    }

    async fn read_open(&mut self, handle: &Value) -> Result<Vec<u8>, AgentError> {
        let mut content = Vec::new();
        loop {
            let part = self.ask("guest-file-read", json!({ "handle": handle, "count": CHUNK })).await?;
            content.extend(decoded(&part["buf-b64"])?);
            if part["eof"].as_bool().ok_or_else(|| not_understood(&part))? {
                return Ok(content);
            }
        }
    }

    async fn file_write(&mut self, path: &str, content: &[u8]) -> Result<AgentReply, AgentError> {
        let handle = self.open(path, "w").await?;
        let written =
            self.ask("guest-file-write", json!({ "handle": handle, "buf-b64": BASE64_STANDARD.encode(content) })).await;
        self.close(&handle).await?;
        written.map(|_| AgentReply::Done)
    }

    async fn open(&mut self, path: &str, mode: &str) -> Result<Value, AgentError> {
        self.ask("guest-file-open", json!({ "path": path, "mode": mode })).await
    }

    async fn close(&mut self, handle: &Value) -> Result<(), AgentError> {
        self.ask("guest-file-close", json!({ "handle": handle })).await.map(drop)
    }

    /// Sends a command and waits for the answer until the deadline.
    async fn ask(&mut self, command: &str, arguments: Value) -> Result<Value, AgentError> {
        let answered = tokio::time::timeout(DEADLINE, self.command(command, arguments)).await;
        answered.unwrap_or(Err(AgentError::NotRunning))
    }

    async fn command(&mut self, command: &str, arguments: Value) -> Result<Value, AgentError> {
        self.synchronise().await?;
        self.send(&json!({ "execute": command, "arguments": arguments }), &[]).await?;
        let mut reply = self.line().await?;
        if let Some(error) = reply.get("error") {
            return Err(AgentError::Refused(error["desc"].as_str().unwrap_or_default().to_owned()));
        }
        reply.get_mut("return").map(Value::take).ok_or_else(|| not_understood(&reply))
    }

    /// Drops the answers to earlier commands.
    async fn synchronise(&mut self) -> Result<(), AgentError> {
        self.number = self.number.wrapping_add(1);
        let number = self.number;
        let request = json!({ "execute": "guest-sync-delimited", "arguments": { "id": number } });
        self.send(&request, &[SENTINEL]).await?;
        loop {
            self.skip_to_sentinel().await?;
            // The answer to an earlier synchronisation has another number.
            if self.line().await.is_ok_and(|reply| reply["return"] == number) {
                return Ok(());
            }
        }
    }
    async fn send(&mut self, message: &Value, prefix: &[u8]) -> Result<(), AgentError> {
        let line = [prefix, message.to_string().as_bytes(), b"\n"].concat();
        self.writer.write_all(&line).await.map_err(gone)
    }

    async fn skip_to_sentinel(&mut self) -> Result<(), AgentError> {
        let mut skipped = Vec::new();
        self.reader.read_until(SENTINEL, &mut skipped).await.map_err(gone)?;
        if skipped.last() == Some(&SENTINEL) { Ok(()) } else { Err(AgentError::NotRunning) }
    }

    async fn line(&mut self) -> Result<Value, AgentError> {
        let mut line = Vec::new();
        self.reader.read_until(b'\n', &mut line).await.map_err(gone)?;
        if line.last() != Some(&b'\n') {
            return Err(AgentError::NotRunning);
        }
        serde_json::from_slice(&line).map_err(|_| not_understood(&String::from_utf8_lossy(&line)))
    }
}

/// Decodes base64. Returns no bytes if the agent left the value out.
fn decoded(value: &Value) -> Result<Vec<u8>, AgentError> {
    BASE64_STANDARD.decode(value.as_str().unwrap_or_default()).map_err(|_| not_understood(value))
}

fn not_understood(what: &impl ToString) -> AgentError {
    AgentError::Refused(format!("the agent's answer is not understood: {}", what.to_string().trim()))
}

/// Returns the error for a machine that ended during the call.
fn gone(_: std::io::Error) -> AgentError {
    AgentError::NotRunning
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};
    use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream, duplex};

    use super::Agent;
    use sim_backend::{AgentCall, AgentError, AgentReply};

    /// Returns a fake agent's answer to a command, by its name and arguments; `None` ends the agent.
    type Answer = fn(&str, &Value) -> Option<Vec<u8>>;

    /// Returns a client of a fake agent whose port already contains `before`. The fake answers synchronisations like
    /// the real agent.
    fn fake_agent(before: &'static [u8], answer: Answer) -> Agent<DuplexStream> {
        let (ours, theirs) = duplex(1 << 20);
        tokio::spawn(async move {
            let (reader, mut writer) = tokio::io::split(theirs);
            let mut reader = BufReader::new(reader);
            writer.write_all(before).await.unwrap();
            loop {
                let mut line = Vec::new();
                if reader.read_until(b'\n', &mut line).await.unwrap() == 0 {
                    return;
                }
                let starts_again = line[0] == 0xff;
                let request: Value = serde_json::from_slice(&line[usize::from(starts_again)..]).unwrap();
                let reply = match request["execute"].as_str().unwrap() {
                    "guest-sync-delimited" => {
                        assert!(starts_again, "the parser must be reset");
                        [b"\xff", json!({ "return": request["arguments"]["id"] }).to_string().as_bytes(), b"\n"]
                            .concat()
                    }
                    command => match answer(command, &request["arguments"]) {
                        Some(reply) => reply,
                        None => return,
                    },
                };
                writer.write_all(&reply).await.unwrap();
            }
        });
        Agent::new(ours)
    }

    fn line(value: &Value) -> Option<Vec<u8>> {
        Some(format!("{value}\n").into_bytes())
    }

    fn os_info(_: &str, _: &Value) -> Option<Vec<u8>> {
        line(&json!({ "return": { "id": "debian" } }))
    }

    #[tokio::test]
    async fn answers_to_earlier_callers_are_dropped() {
        let cases: [&[u8]; 4] = [
            b"{\"return\": 1}\n",
            b"\xff{\"return\": 77}\n",
            b"\xffnonsense\n",
            b"\xff{\"return\": 77}\n{\"return\": {\"par",
        ];
        for before in cases {
            let agent = fake_agent(before, os_info);
            let reply = agent.call(AgentCall::OsInfo).await.unwrap();
            assert_eq!(reply, AgentReply::Json(json!({ "id": "debian" })), "{before:?}");
        }
    }

    #[tokio::test]
    async fn a_program_is_started_and_its_status_is_read() {
        let agent = fake_agent(b"", |command, arguments| match command {
            "guest-exec" => {
                let expected =
                    json!({ "path": "/bin/cat", "arg": ["-n"], "capture-output": true, "input-data": "aGk=" });
                assert_eq!(arguments, &expected);
                line(&json!({ "return": { "pid": 7 } }))
            }
            _ if arguments["pid"] == 8 => line(&json!({ "return": { "exited": false } })),
            _ => line(&json!({ "return": { "exited": true, "signal": 9, "out-data": "b3V0", "err-data": "ZXJy" } })),
        });
        let call = AgentCall::Exec { command: vec!["/bin/cat".into(), "-n".into()], input: b"hi".to_vec() };
        assert_eq!(agent.call(call).await, Ok(AgentReply::Pid(7)));
        let exited = |exited, signal, out: &[u8], err: &[u8]| {
            Ok(AgentReply::Exited { exited, code: None, signal, out: out.to_vec(), err: err.to_vec() })
        };
        assert_eq!(agent.call(AgentCall::ExecStatus { pid: 7 }).await, exited(true, Some(9), b"out", b"err"));
        assert_eq!(agent.call(AgentCall::ExecStatus { pid: 8 }).await, exited(false, None, b"", b""));
    }

    #[tokio::test]
    async fn files_are_read_to_their_end_and_closed() {
        let agent = fake_agent(b"", |command, arguments| match command {
            "guest-file-open" if arguments["mode"] == "r" => line(&json!({ "return": 1000 })),
            "guest-file-open" => line(&json!({ "return": 2000 })),
            "guest-file-read" => line(&json!({ "return": { "count": 2, "buf-b64": "aGk=", "eof": true } })),
            "guest-file-write" if arguments == &json!({ "handle": 2000, "buf-b64": "aG8=" }) => {
                line(&json!({ "return": { "count": 2, "eof": false } }))
            }
            "guest-file-close" => line(&json!({ "return": {} })),
            _ => None,
        });
        let read = agent.call(AgentCall::FileRead { path: "/a".into() }).await;
        assert_eq!(read, Ok(AgentReply::Content(b"hi".to_vec())));
        let write = AgentCall::FileWrite { path: "/a".into(), content: b"ho".to_vec() };
        assert_eq!(agent.call(write).await, Ok(AgentReply::Done));
    }

    #[tokio::test]
    async fn a_refusal_is_reported_with_the_text_of_the_agent() {
        let agent = fake_agent(b"", |_, _| {
            line(&json!({ "error": { "class": "GenericError", "desc": "PID ld does not exist" } }))
        });
        let refused = agent.call(AgentCall::ExecStatus { pid: 1 }).await;
        assert_eq!(refused, Err(AgentError::Refused("PID ld does not exist".to_owned())));
    }

    #[tokio::test]
    async fn an_answer_of_another_form_is_an_error() {
        let cases: [(Answer, &str); 3] = [
            (|_, _| Some(b"nonsense\n".to_vec()), "nonsense"),
            (|_, _| line(&json!([])), "[]"),
            (|_, _| line(&json!({ "return": { "pid": "x" } })), "\"x\""),
        ];
        for (answer, expected) in cases {
            let call = AgentCall::Exec { command: vec!["true".into()], input: Vec::new() };
            let refused = fake_agent(b"", answer).call(call).await;
            assert!(matches!(&refused, Err(AgentError::Refused(text)) if text.contains(expected)), "{refused:?}");
        }
    }

    #[tokio::test]
    async fn an_agent_that_is_silent_or_gone_is_not_running() {
        let gone = fake_agent(b"", |_, _| None);
        assert_eq!(gone.call(AgentCall::Interfaces).await, Err(AgentError::NotRunning));
        assert!(!gone.answers(Duration::from_secs(60)).await);
        let (ours, _held) = duplex(1 << 20);
        let silent = Agent::new(ours);
        assert!(!silent.answers(Duration::from_millis(10)).await);
        assert!(fake_agent(b"", os_info).answers(Duration::from_secs(60)).await);
    }
}
