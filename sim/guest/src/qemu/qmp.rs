//! QEMU's control protocol. Each line is one JSON object. Answers come in the order of the commands, with events in
//! between.

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::sync::{Mutex, mpsc};

/// Reason why a command has no result.
#[derive(Debug, thiserror::Error)]
pub(super) enum QmpError {
    /// QEMU has ended or is ending.
    #[error("QEMU closed its control connection")]
    Closed,
    /// The message does not follow the protocol.
    #[error("QEMU's control connection sent an unknown message: {0}")]
    Protocol(String),
    /// QEMU refused the command.
    #[error("QEMU refused {command}: {text}")]
    Refused {
        /// The command.
        command: String,
        /// QEMU's description.
        text: String,
    },
}

/// A control connection in command mode.
pub(super) struct Qmp {
    exchange: Mutex<Exchange>,
}

struct Exchange {
    writer: Box<dyn AsyncWrite + Send + Unpin>,
    replies: mpsc::UnboundedReceiver<Result<Value, QmpError>>,
    /// Number of the last command.
    number: u64,
}

impl std::fmt::Debug for Qmp {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Qmp")
    }
}

impl Qmp {
    /// Opens the protocol on a new connection. Returns a receiver of the names of QEMU's events (`RESET`, `SHUTDOWN`,
    /// …), which ends with the connection.
    ///
    /// # Errors
    /// When QEMU does not send its greeting, or does not enter command mode.
    pub(super) async fn greet(
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    ) -> Result<(Self, mpsc::UnboundedReceiver<String>), QmpError> {
        let (reader, writer) = tokio::io::split(stream);
        let (reply, replies) = mpsc::unbounded_channel();
        let (tell, events) = mpsc::unbounded_channel();
        tokio::spawn(sort(reader, reply, tell));
        let mut exchange = Exchange { writer: Box::new(writer), replies, number: 0 };
        let greeting = exchange.next().await?;
        if greeting.get("QMP").is_none() {
            return Err(QmpError::Protocol(greeting.to_string()));
        }
        let qmp = Self { exchange: Mutex::new(exchange) };
        qmp.execute("qmp_capabilities", json!({})).await?;
        Ok((qmp, events))
    }

    /// Runs a command and returns its result.
    ///
    /// # Errors
    /// See [`QmpError`].
    pub(super) async fn execute(&self, command: &str, arguments: Value) -> Result<Value, QmpError> {
        let mut exchange = self.exchange.lock().await;
        exchange.number += 1;
        let number = exchange.number;
        let line = json!({ "execute": command, "arguments": arguments, "id": number }).to_string() + "\n";
        exchange.writer.write_all(line.as_bytes()).await.map_err(|_| QmpError::Closed)?;
        loop {
            let mut reply = exchange.next().await?;
            // This is the answer to a command whose caller no longer waits.
            if reply["id"].as_u64().is_some_and(|id| id < number) {
                continue;
            }
            if let Some(error) = reply.get("error") {
                let text = error["desc"].as_str().unwrap_or_default().to_owned();
                return Err(QmpError::Refused { command: command.to_owned(), text });
            }
            return match reply.get_mut("return") {
                Some(result) => Ok(result.take()),
                None => Err(QmpError::Protocol(reply.to_string())),
            };
        }
    }
}

impl Exchange {
    async fn next(&mut self) -> Result<Value, QmpError> {
        self.replies.recv().await.unwrap_or(Err(QmpError::Closed))
    }
}

/// Separates events from replies, until the connection ends or a message cannot be read.
async fn sort(
    reader: impl AsyncRead + Unpin,
    reply: mpsc::UnboundedSender<Result<Value, QmpError>>,
    tell: mpsc::UnboundedSender<String>,
) {
    let mut lines = BufReader::new(reader).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let Ok(value) = serde_json::from_str::<Value>(&line) else {
            let _ = reply.send(Err(QmpError::Protocol(line)));
            return;
        };
        // The receivers may no longer exist.
        let _ = match value["event"].as_str() {
            Some(event) => tell.send(event.to_owned()).is_ok(),
            None => reply.send(Ok(value)).is_ok(),
        };
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream, duplex};

    use super::{Qmp, QmpError};

    const GREETING: &str = r#"{"QMP": {"version": {}, "capabilities": ["oob"]}}"#;

    /// Returns a connection to a peer that sends `before`, answers each line with the next of `answers`, and then ends.
    fn peer(before: &str, answers: &[&str]) -> DuplexStream {
        let (ours, theirs) = duplex(4096);
        let (before, answers) = (format!("{before}\r\n"), answers.iter().map(|line| format!("{line}\r\n")));
        let answers: Vec<String> = answers.collect();
        tokio::spawn(async move {
            let (reader, mut writer) = tokio::io::split(theirs);
            let mut lines = BufReader::new(reader).lines();
            writer.write_all(before.as_bytes()).await.unwrap();
            for answer in answers {
                lines.next_line().await.unwrap();
                writer.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        ours
    }

    #[tokio::test]
    async fn replies_are_distinguished_from_events() {
        let stream = peer(
            GREETING,
            &[
                r#"{"return": {}, "id": 1}"#,
                "{\"timestamp\": {}, \"event\": \"RESET\", \"data\": {}}\r\n{\"return\": {\"status\": \"running\"}, \"id\": 2}",
            ],
        );
        let (qmp, mut events) = Qmp::greet(stream).await.unwrap();
        assert_eq!(qmp.execute("query-status", json!({})).await.unwrap(), json!({ "status": "running" }));
        assert_eq!(events.recv().await.as_deref(), Some("RESET"));
    }

    #[tokio::test]
    async fn a_refusal_is_reported_with_the_text_of_qemu() {
        let stream = peer(
            GREETING,
            &[r#"{"return": {}, "id": 1}"#, r#"{"error": {"class": "GenericError", "desc": "no"}, "id": 2}"#],
        );
        let (qmp, _events) = Qmp::greet(stream).await.unwrap();
        let refused = qmp.execute("send-key", json!({})).await.unwrap_err();
        assert!(matches!(refused, QmpError::Refused { command, text } if command == "send-key" && text == "no"));
    }

    #[tokio::test]
    async fn the_answer_to_an_abandoned_command_is_not_that_of_the_next_command() {
        let stream = peer(
            GREETING,
            &[r#"{"return": {}, "id": 1}"#, "{\"return\": \"late\", \"id\": 1}\r\n{\"return\": \"own\", \"id\": 2}"],
        );
        let (qmp, _events) = Qmp::greet(stream).await.unwrap();
        assert_eq!(qmp.execute("query-status", json!({})).await.unwrap(), json!("own"));
    }

    #[tokio::test]
    async fn the_end_or_an_unreadable_line_in_place_of_a_reply_is_an_error() {
        let (qmp, _events) = Qmp::greet(peer(GREETING, &[r#"{"return": {}, "id": 1}"#])).await.unwrap();
        assert!(matches!(qmp.execute("quit", json!({})).await, Err(QmpError::Closed)));
        let (qmp, _events) = Qmp::greet(peer(GREETING, &[r#"{"return": {}, "id": 1}"#, "{nonsense"])).await.unwrap();
        assert!(matches!(qmp.execute("quit", json!({})).await, Err(QmpError::Protocol(line)) if line == "{nonsense"));
        assert!(matches!(Qmp::greet(peer("{}", &[])).await, Err(QmpError::Protocol(_))));
        assert!(matches!(Qmp::greet(peer(GREETING, &[])).await, Err(QmpError::Closed)));
    }
}
