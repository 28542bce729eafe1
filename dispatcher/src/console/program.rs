//! The console program: a status view for people that turns into the machine protocol when a request arrives.
//!
//! ```text
//! view ── any request ──► protocol ── Bye, Ctrl-C, or silence ──► view ── Ctrl-C, Ctrl-D ──► end
//! ```
//!
//! It must end only when a person asks for it or its terminal goes away: it is the only way to the dispatcher.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dispatcher_api::Status;
use dispatcher_api::frames::{Decoder, Direction, Message, SessionId, encode};
use dispatcher_api::protocol::{Answer, LogLine, Refusal, Request};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::connection::Connection;
use super::terminal::Terminal;
use super::typed::{Command, Typed};
use super::view::{ViewInput, render};
use crate::clock;

const REDRAW: Duration = Duration::from_secs(2);
/// A caller that died without a Bye leaves the terminal to people after this.
const SILENCE: Duration = Duration::from_secs(30);
const MOST_SESSIONS: usize = 4;
const CTRL_C: u8 = 0x03;
const CTRL_D: u8 = 0x04;
const CLEAR_SCREEN: &str = "\x1b[H\x1b[J";

/// Why the console program ended.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    /// The terminal cannot be put into raw mode.
    #[error("the terminal cannot be prepared")]
    Terminal(#[source] io::Error),
    /// The terminal does not take output any more.
    #[error("the terminal is gone")]
    Gone(#[source] io::Error),
}

/// Runs on standard input and output until a person leaves or the terminal goes away.
///
/// # Errors
/// [`ConsoleError`].
pub async fn run(socket: &Path) -> Result<(), ConsoleError> {
    let terminal = Terminal::raw().map_err(ConsoleError::Terminal)?;
    let mut input = Terminal::input();
    let mut program = Program::new(socket, terminal);
    let mut redraw = interval(REDRAW);
    redraw.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let goes_on = tokio::select! {
            bytes = input.recv() => match bytes {
                Some(bytes) => program.take(&bytes).await,
                None => return Ok(()),
            },
            _ = redraw.tick() => program.tick().await.map(|()| true),
        };
        if !goes_on.map_err(ConsoleError::Gone)? {
            return Ok(());
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Mode {
    View,
    Protocol { last_heard: Instant },
}

struct Program {
    socket: PathBuf,
    terminal: Terminal,
    decoder: Decoder,
    sessions: Vec<(SessionId, Connection)>,
    viewer: Option<Connection>,
    typed: Typed,
    mode: Mode,
}

impl Program {
    fn new(socket: &Path, terminal: Terminal) -> Self {
        Self {
            socket: socket.to_owned(),
            terminal,
            decoder: Decoder::new(Direction::Request),
            sessions: Vec::new(),
            viewer: None,
            typed: Typed::default(),
            mode: Mode::View,
        }
    }

    /// Takes what was typed or sent; `false`: a person wants to leave.
    async fn take(&mut self, bytes: &[u8]) -> io::Result<bool> {
        for message in self.decoder.push(bytes) {
            self.serve(message).await?;
        }
        let command = self.typed.push(bytes).filter(|_| matches!(self.mode, Mode::View));
        if let Some(command) = command {
            self.obey(command).await?;
        }
        // Neither byte occurs in a frame.
        if !bytes.iter().any(|byte| [CTRL_C, CTRL_D].contains(byte)) {
            return Ok(true);
        }
        match self.mode {
            Mode::View => {
                self.terminal.write(CLEAR_SCREEN)?;
                Ok(false)
            }
            Mode::Protocol { .. } => self.show_view().await.map(|()| true),
        }
    }

    async fn tick(&mut self) -> io::Result<()> {
        match self.mode {
            Mode::View => self.draw().await,
            Mode::Protocol { last_heard } if last_heard.elapsed() >= SILENCE => self.show_view().await,
            Mode::Protocol { .. } => Ok(()),
        }
    }

    async fn show_view(&mut self) -> io::Result<()> {
        self.mode = Mode::View;
        self.sessions.clear();
        self.terminal.write(CLEAR_SCREEN)?;
        self.draw().await
    }

    async fn serve(&mut self, message: Message) -> io::Result<()> {
        if matches!(self.mode, Mode::View) {
            // The view may have left the cursor anywhere.
            self.terminal.write("\r\n")?;
        }
        self.mode = Mode::Protocol { last_heard: Instant::now() };
        let request = serde_json::from_slice::<Request>(&message.payload);
        let answer = match &request {
            Ok(request) => self.relay(message.session, request).await,
            // The parser's message can quote what was sent.
            Err(_) => refused(Refusal::Malformed, "the request cannot be read"),
        };
        self.send(&message, &answer)?;
        if matches!(request, Ok(Request::Bye {})) {
            self.sessions.retain(|(session, _)| *session != message.session);
            return if self.sessions.is_empty() { self.show_view().await } else { Ok(()) };
        }
        Ok(())
    }

    fn send(&self, request: &Message, answer: &Answer) -> io::Result<()> {
        let payload = serde_json::to_vec(answer)?;
        let message = Message { session: request.session, number: request.number, payload };
        let lines = encode(Direction::Answer, &message).map_err(io::Error::other)?;
        let text: String = lines.iter().map(|line| line.replace('\n', "\r\n")).collect();
        self.terminal.write(&text)
    }

    async fn relay(&mut self, session: SessionId, request: &Request) -> Answer {
        match request {
            Request::Hello { .. } => self.open(session, request).await,
            Request::Bye {} => Answer::Bye {},
            _ => self.ask(session, request).await,
        }
    }

    /// Opens a session. A second Hello of the same session starts it again, with another key.
    async fn open(&mut self, session: SessionId, hello: &Request) -> Answer {
        self.sessions.retain(|(open, _)| *open != session);
        let answered = async {
            let mut connection = Connection::open(&self.socket).await?;
            let answer = connection.ask(hello).await?;
            Ok::<_, io::Error>((connection, answer))
        };
        let (connection, answer) = match answered.await {
            Ok(pair) => pair,
            Err(error) => return unavailable(&error),
        };
        if self.sessions.len() == MOST_SESSIONS {
            self.sessions.remove(0);
        }
        self.sessions.push((session, connection));
        answer
    }

    async fn ask(&mut self, session: SessionId, request: &Request) -> Answer {
        let Some(place) = self.sessions.iter().position(|(open, _)| *open == session) else {
            return refused(Refusal::NoSession, "the session is not open");
        };
        match self.sessions[place].1.ask(request).await {
            Ok(answer) => answer,
            Err(error) => {
                // An answer that comes late must not be taken for that of the next request.
                self.sessions.remove(place);
                unavailable(&error)
            }
        }
    }

    async fn draw(&mut self) -> io::Result<()> {
        let seen = self.poll().await;
        let input = ViewInput {
            status: seen.as_ref().map(|(status, _)| status).map_err(String::as_str),
            logs: seen.as_ref().map_or(&[], |(_, logs)| logs.as_slice()),
            size: self.terminal.size(),
            now: clock::wall_now(),
        };
        self.terminal.write(&render(&input))
    }

    /// Passes a person's wish on. The log that the view shows tells that it arrived.
    async fn obey(&mut self, command: Command) -> io::Result<()> {
        let request = match command {
            Command::Retry => Request::Retry {},
            Command::Release(vm) => Request::Release { vm },
        };
        let asked = async { self.viewer().await?.ask(&request).await };
        if asked.await.is_err() {
            self.viewer = None;
        }
        self.draw().await
    }

    async fn poll(&mut self) -> Result<(Status, Vec<LogLine>), String> {
        let seen = self.poll_once().await;
        if seen.is_err() {
            self.viewer = None;
        }
        seen.map_err(|error| format!("the daemon does not answer ({error})"))
    }

    async fn poll_once(&mut self) -> io::Result<(Status, Vec<LogLine>)> {
        let viewer = self.viewer().await?;
        let status = match viewer.ask(&Request::Status {}).await? {
            Answer::Status(status) => *status,
            _ => return Err(io::Error::other("unexpected answer")),
        };
        match viewer.ask(&Request::Logs { since: 0 }).await? {
            Answer::Logs { lines } => Ok((status, lines)),
            _ => Err(io::Error::other("unexpected answer")),
        }
    }

    async fn viewer(&mut self) -> io::Result<&mut Connection> {
        if self.viewer.is_none() {
            self.viewer = Some(Connection::open_session(&self.socket).await?);
        }
        self.viewer.as_mut().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

fn refused(reason: Refusal, message: &str) -> Answer {
    Answer::Refused { reason, message: message.to_owned(), problems: Vec::new() }
}

fn unavailable(error: &io::Error) -> Answer {
    refused(Refusal::Unavailable, &format!("the dispatcher does not answer its console: {error}"))
}
