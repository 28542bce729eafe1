//! QEMU's control protocol: one JSON object per line, commands answered in turn, events in between.

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::sync::{Mutex, mpsc};

/// Why a command has no result.
#[derive(Debug, thiserror::Error)]
pub(super) enum QmpError {
    /// QEMU is gone, or ends.
    #[error("QEMU closed its control connection")]
    Closed,
    /// The message does not follow the protocol.
    #[error("QEMU's control connection sent what is not understood: {0}")]
    Protocol(String),
    /// The command was refused, with QEMU's words.
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
    /// Takes up a fresh connection. The names of QEMU's events (`RESET`, `SHUTDOWN`, …) go to the receiver, which ends with
    /// the connection.
    ///
    /// # Errors
    /// When the other end does not greet, or does not enter command mode.
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

    /// Runs a command to its result.
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
            // The answer to a command whose caller waits no more.
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

/// Sends events one way and replies another, until the connection ends or nothing of it can be understood any more.
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
        // Nobody need listen to either any more.
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

    /// A peer that says `before`, and then answers each line that comes with the next of `answers`; then it is gone.
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
    async fn a_refusal_is_reported_in_the_words_of_qemu() {
        let stream = peer(
            GREETING,
            &[r#"{"return": {}, "id": 1}"#, r#"{"error": {"class": "GenericError", "desc": "no"}, "id": 2}"#],
        );
        let (qmp, _events) = Qmp::greet(stream).await.unwrap();
        let refused = qmp.execute("send-key", json!({})).await.unwrap_err();
        assert!(matches!(refused, QmpError::Refused { command, text } if command == "send-key" && text == "no"));
    }

    #[tokio::test]
    async fn the_answer_to_an_abandoned_command_is_not_taken_for_the_next_ones() {
        let stream = peer(
            GREETING,
            &[r#"{"return": {}, "id": 1}"#, "{\"return\": \"late\", \"id\": 1}\r\n{\"return\": \"own\", \"id\": 2}"],
        );
        let (qmp, _events) = Qmp::greet(stream).await.unwrap();
        assert_eq!(qmp.execute("query-status", json!({})).await.unwrap(), json!("own"));
    }

    #[tokio::test]
    async fn an_end_or_nonsense_in_place_of_a_reply_is_an_error() {
        let (qmp, _events) = Qmp::greet(peer(GREETING, &[r#"{"return": {}, "id": 1}"#])).await.unwrap();
        assert!(matches!(qmp.execute("quit", json!({})).await, Err(QmpError::Closed)));
        let (qmp, _events) = Qmp::greet(peer(GREETING, &[r#"{"return": {}, "id": 1}"#, "{nonsense"])).await.unwrap();
        assert!(matches!(qmp.execute("quit", json!({})).await, Err(QmpError::Protocol(line)) if line == "{nonsense"));
        assert!(matches!(Qmp::greet(peer("{}", &[])).await, Err(QmpError::Protocol(_))));
        assert!(matches!(Qmp::greet(peer(GREETING, &[])).await, Err(QmpError::Closed)));
    }
}
