//! The console program's end of the control socket.

use std::io;
use std::path::Path;
use std::time::Duration;

use dispatcher_api::protocol::{Answer, PROTOCOL, Request};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// A daemon that takes longer is taken for absent; it answers from memory, or after one write to its disk.
const DEADLINE: Duration = Duration::from_secs(10);

/// One session with the daemon.
#[derive(Debug)]
pub(super) struct Connection {
    stream: BufReader<UnixStream>,
}

impl Connection {
    pub(super) async fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { stream: BufReader::new(UnixStream::connect(path).await?) })
    }

    /// Opens a connection with its session.
    pub(super) async fn open_session(path: &Path) -> io::Result<Self> {
        let mut connection = Self::open(path).await?;
        let hello = Request::Hello { protocol: PROTOCOL, version: env!("CARGO_PKG_VERSION").to_owned() };
        match connection.ask(&hello).await? {
            Answer::Hello { .. } => Ok(connection),
            Answer::Refused { message, .. } => Err(io::Error::other(message)),
            _ => Err(io::Error::other("unexpected answer")),
        }
    }

    /// Asks, and waits for the answer.
    pub(super) async fn ask(&mut self, request: &Request) -> io::Result<Answer> {
        timeout(DEADLINE, self.exchange(request)).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }

    async fn exchange(&mut self, request: &Request) -> io::Result<Answer> {
        let mut line = serde_json::to_string(request)?;
        line.push('\n');
        self.stream.get_mut().write_all(line.as_bytes()).await?;
        let mut answer = String::new();
        if self.stream.read_line(&mut answer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(serde_json::from_str(&answer)?)
    }
}
