//! The session with a dispatcher over its container's console.
//!
//! The console is a terminal: it echoes, other people may use it at the same time, and it can lose input while the
//! program at its other end starts. Every request is therefore repeated until its answer arrives, which the protocol
//! allows. A session must never send a secret that is not sealed, and must never wait without a deadline.

use std::time::Duration;

use bytes::Bytes;
use dispatcher_api::frames::{Decoder, Direction, Message, SessionId, TooLarge, encode};
use dispatcher_api::protocol::{Answer, PROTOCOL, Refusal, Request};
use dispatcher_api::{Config, ConfigProblem, PublicKey, SealError, Secrets, Status};
use guest::OwnedContainer;
use tokio::time::{Instant, sleep, timeout_at};

use crate::diagnostics::Cause;

/// Time after which a request is repeated. The first answer waits for the start of the program at the other end.
const ANSWER_DEADLINE: Duration = Duration::from_secs(3);
/// Number of times that a request is sent.
const ATTEMPTS: u32 = 4;
/// Time between two attempts to open the console, and between two polls of a dispatcher that starts.
const PAUSE: Duration = Duration::from_millis(500);
/// Number of polls of a dispatcher that starts.
const STARTING_POLLS: u32 = 20;

/// Reason why a session failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConsoleError {
    /// The console cannot be opened, or its connection broke.
    #[error("the container's console cannot be used")]
    Console(#[source] pve::Error),
    /// The console ended because the container stopped or a person closed the view.
    #[error("the container's console ended")]
    Ended,
    /// The dispatcher does not answer.
    #[error("the dispatcher does not answer on the container's console")]
    Silent,
    /// The dispatcher refused the request.
    #[error("the dispatcher refused: {message}{}", .problems.iter().map(|problem| format!("\n  {problem}")).collect::<String>())]
    Refused {
        /// Reason in the protocol.
        reason: Refusal,
        /// Reason as text.
        message: String,
        /// Problems of fields of the configuration.
        problems: Vec<ConfigProblem>,
    },
    /// The answer does not fit the request.
    #[error("the dispatcher gave an unexpected answer")]
    Unexpected,
    /// The request is too large.
    #[error("the configuration is too large for the console")]
    TooLarge(#[source] TooLarge),
    /// The secrets cannot be sealed.
    #[error("the secrets cannot be sent")]
    Seal(#[source] SealError),
    /// The request cannot be encoded.
    #[error("the request cannot be encoded")]
    Write(#[source] serde_json::Error),
}

impl Cause for ConsoleError {}

impl ConsoleError {
    /// Returns true if the error can disappear while a container starts.
    fn is_transient(&self) -> bool {
        match self {
            Self::Ended | Self::Silent => true,
            Self::Console(error) => {
                !error.is_permission_denied() && !error.is_unauthenticated() && !error.is_guest_missing()
            }
            Self::Refused { reason, .. } => *reason == Refusal::Unavailable,
            _ => false,
        }
    }
}

/// The connection to a terminal.
pub(crate) trait Wire {
    /// Sends bytes as input of the terminal.
    async fn send(&mut self, bytes: &[u8]) -> Result<(), ConsoleError>;
    /// Waits for output of the terminal. Returns `None` at its end.
    async fn receive(&mut self) -> Result<Option<Bytes>, ConsoleError>;
}

impl Wire for pve::console::Console {
    async fn send(&mut self, bytes: &[u8]) -> Result<(), ConsoleError> {
        Self::send(self, bytes).await.map_err(ConsoleError::Console)
    }

    async fn receive(&mut self) -> Result<Option<Bytes>, ConsoleError> {
        self.recv().await.map_err(ConsoleError::Console)
    }
}

/// An open session with a dispatcher.
pub(crate) struct Session<W> {
    wire: W,
    id: SessionId,
    decoder: Decoder,
    last_number: u32,
    key: PublicKey,
    answer_deadline: Duration,
}

/// Opens a session with the dispatcher in a running container. Repeats the attempt until the deadline, because the
/// container may be starting.
pub(crate) async fn open(
    container: &OwnedContainer,
    deadline: Instant,
) -> Result<Session<pve::console::Console>, ConsoleError> {
    loop {
        match open_once(container).await {
            Err(error) if error.is_transient() && Instant::now() + PAUSE < deadline => {
                tracing::debug!(%error, vmid = container.vmid().get(), "the dispatcher's console is not ready");
                sleep(PAUSE).await;
            }
            other => return other,
        }
    }
}

async fn open_once(container: &OwnedContainer) -> Result<Session<pve::console::Console>, ConsoleError> {
    let wire = container.console().await.map_err(ConsoleError::Console)?;
    Session::start(wire, ANSWER_DEADLINE).await
}

impl<W: Wire> Session<W> {
    /// Opens a session. Each request is repeated if its answer does not arrive within `answer_deadline`.
    pub(crate) async fn start(mut wire: W, answer_deadline: Duration) -> Result<Self, ConsoleError> {
        // Ends an unfinished line that another user of the terminal may have typed.
        wire.send(b"\n").await?;
        let (id, decoder) = (SessionId::random(), Decoder::new(Direction::Answer));
        let mut exchange = Exchange { wire: &mut wire, id, decoder, last_number: 0, answer_deadline };
        let hello = Request::Hello { protocol: PROTOCOL, version: env!("CARGO_PKG_VERSION").to_owned() };
        let Answer::Hello { public_key, .. } = exchange.ask(&hello).await? else {
            return Err(ConsoleError::Unexpected);
        };
        let Exchange { decoder, last_number, .. } = exchange;
        Ok(Self { wire, id, decoder, last_number, key: public_key, answer_deadline })
    }

    /// Sends a configuration. Returns its hash as computed by the dispatcher.
    pub(crate) async fn configure(&mut self, config: &Config, secrets: &Secrets) -> Result<String, ConsoleError> {
        let secrets = secrets.seal(&self.key).map_err(ConsoleError::Seal)?;
        match self.ask(&Request::Configure { config: Box::new(config.clone()), secrets }).await? {
            Answer::Configured { config_hash } => Ok(config_hash),
            _ => Err(ConsoleError::Unexpected),
        }
    }

    /// Returns the status of the dispatcher.
    pub(crate) async fn status(&mut self) -> Result<Status, ConsoleError> {
        self.ask_for_status(&Request::Status {}).await
    }

    /// Makes the dispatcher take no more jobs and destroy idle runner VMs. Returns its status.
    pub(crate) async fn drain(&mut self) -> Result<Status, ConsoleError> {
        self.ask_for_status(&Request::Drain {}).await
    }

    /// Returns the newest lines of the log, or no lines if they cannot be read.
    pub(crate) async fn last_log_lines(&mut self, count: usize) -> Vec<String> {
        let Ok(Answer::Logs { lines }) = self.ask(&Request::Logs { since: 0 }).await else { return Vec::new() };
        let newest = &lines[lines.len().saturating_sub(count)..];
        newest.iter().map(|line| format!("{} {}", line.level, line.text)).collect()
    }

    /// Ends the session. The dispatcher notices the end even if this request is lost.
    pub(crate) async fn close(mut self) {
        let _ = self.ask(&Request::Bye {}).await;
    }

    /// Asks for the status until it is complete. A dispatcher that has just started answers with an empty status.
    async fn ask_for_status(&mut self, request: &Request) -> Result<Status, ConsoleError> {
        for _ in 0..STARTING_POLLS {
            match self.ask(request).await? {
                Answer::Status(status) if status.version.is_empty() => sleep(PAUSE).await,
                Answer::Status(status) => return Ok(*status),
                _ => return Err(ConsoleError::Unexpected),
            }
        }
        Err(ConsoleError::Silent)
    }

    async fn ask(&mut self, request: &Request) -> Result<Answer, ConsoleError> {
        let decoder = std::mem::replace(&mut self.decoder, Decoder::new(Direction::Answer));
        let (id, last_number, answer_deadline) = (self.id, self.last_number, self.answer_deadline);
        let mut exchange = Exchange { wire: &mut self.wire, id, decoder, last_number, answer_deadline };
        let answer = exchange.ask(request).await;
        self.last_number = exchange.last_number;
        self.decoder = exchange.decoder;
        answer
    }
}

/// One request and its answer.
struct Exchange<'a, W> {
    wire: &'a mut W,
    id: SessionId,
    decoder: Decoder,
    last_number: u32,
    answer_deadline: Duration,
}

impl<W: Wire> Exchange<'_, W> {
    async fn ask(&mut self, request: &Request) -> Result<Answer, ConsoleError> {
        let payload = serde_json::to_vec(request).map_err(ConsoleError::Write)?;
        let first = self.last_number + 1;
        for _ in 0..ATTEMPTS {
            self.last_number += 1;
            self.send(&payload).await?;
            if let Some(answer) = self.wait(first).await? {
                return accept(answer);
            }
        }
        Err(ConsoleError::Silent)
    }

    async fn send(&mut self, payload: &[u8]) -> Result<(), ConsoleError> {
        let message = Message { session: self.id, number: self.last_number, payload: payload.to_vec() };
        let lines = encode(Direction::Request, &message).map_err(ConsoleError::TooLarge)?;
        self.wire.send(lines.concat().as_bytes()).await
    }

    /// Waits for the answer to any repetition of the request. Returns `None` if there is none before the deadline.
    async fn wait(&mut self, first: u32) -> Result<Option<Answer>, ConsoleError> {
        let deadline = Instant::now() + self.answer_deadline;
        while let Ok(received) = timeout_at(deadline, self.wire.receive()).await {
            let bytes = received?.ok_or(ConsoleError::Ended)?;
            let answers = self.decoder.push(&bytes);
            let own = answers
                .into_iter()
                .find(|message| message.session == self.id && (first..=self.last_number).contains(&message.number));
            if let Some(message) = own {
                return serde_json::from_slice(&message.payload).map(Some).map_err(|_| ConsoleError::Unexpected);
            }
        }
        Ok(None)
    }
}

fn accept(answer: Answer) -> Result<Answer, ConsoleError> {
    match answer {
        Answer::Refused { reason, message, problems } => Err(ConsoleError::Refused { reason, message, problems }),
        answer => Ok(answer),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use dispatcher_api::{PveConfig, SessionKey};
    use secrecy::ExposeSecret as _;

    use super::*;

    /// A fake dispatcher behind a terminal that echoes, and that loses the first inputs.
    struct FakeTerminal {
        decoder: Decoder,
        key: SessionKey,
        to_show: VecDeque<Bytes>,
        shown: Vec<u8>,
        lose: usize,
        secrets: Option<Secrets>,
    }

    impl FakeTerminal {
        fn new(lose: usize) -> Self {
            let (decoder, key) = (Decoder::new(Direction::Request), SessionKey::generate());
            Self { decoder, key, to_show: VecDeque::new(), shown: Vec::new(), lose, secrets: None }
        }

        fn answer(&mut self, request: Request) -> Answer {
            match request {
                Request::Hello { .. } => {
                    Answer::Hello { protocol: PROTOCOL, version: "0".into(), public_key: self.key.public_key() }
                }
                Request::Configure { config, secrets } => {
                    self.secrets = Some(self.key.open(&secrets).unwrap());
                    Answer::Configured { config_hash: config.hash() }
                }
                Request::Bye {} => Answer::Bye {},
                _ => Answer::Refused { reason: Refusal::NoSession, message: "closed".into(), problems: Vec::new() },
            }
        }

        fn show(&mut self, text: &str) {
            let text = text.replace('\n', "\r\r\n");
            self.shown.extend_from_slice(text.as_bytes());
            self.to_show.extend(text.as_bytes().chunks(100).map(Bytes::copy_from_slice));
        }
    }

    impl Wire for &mut FakeTerminal {
        async fn send(&mut self, bytes: &[u8]) -> Result<(), ConsoleError> {
            self.show(&format!("\x1b[H\x1b[J{}", String::from_utf8_lossy(bytes)));
            if self.lose > 0 {
                self.lose -= 1;
                return Ok(());
            }
            for message in self.decoder.push(bytes) {
                let answer = self.answer(serde_json::from_slice(&message.payload).unwrap());
                let answer = Message { payload: serde_json::to_vec(&answer).unwrap(), ..message };
                self.show(&encode(Direction::Answer, &answer).unwrap().concat());
            }
            Ok(())
        }

        async fn receive(&mut self) -> Result<Option<Bytes>, ConsoleError> {
            match self.to_show.pop_front() {
                Some(bytes) => Ok(Some(bytes)),
                None => std::future::pending().await,
            }
        }
    }

    fn config() -> Config {
        let pve = PveConfig {
            endpoints: vec!["https://h:8006".into()],
            ca_pem: None,
            fingerprint: None,
            token_id: "a@pam!b".into(),
        };
        Config {
            installation: "lab".parse().unwrap(),
            pve,
            github: Default::default(),
            poll_interval_seconds: 15,
            pools: Vec::new(),
        }
    }

    fn secrets() -> Secrets {
        Secrets { pve_token_secret: "pve-hunter2".to_owned().into(), github_token: "github-hunter2".to_owned().into() }
    }

    #[tokio::test]
    async fn secrets_arrive_and_never_appear_on_the_terminal() {
        let mut terminal = FakeTerminal::new(0);
        let mut session = Session::start(&mut terminal, ANSWER_DEADLINE).await.unwrap();
        assert_eq!(session.configure(&config(), &secrets()).await.unwrap(), config().hash());
        session.close().await;
        assert_eq!(terminal.secrets.as_ref().unwrap().github_token.expose_secret(), "github-hunter2");
        let shown = String::from_utf8_lossy(&terminal.shown).into_owned();
        assert!(shown.contains("~pxci1>") && !shown.contains("hunter2"));
    }

    #[tokio::test]
    async fn a_request_that_is_lost_while_the_program_starts_is_repeated() {
        let mut terminal = FakeTerminal::new(3);
        assert!(Session::start(&mut terminal, Duration::from_millis(20)).await.is_ok());
    }

    #[tokio::test]
    async fn the_wait_for_a_silent_dispatcher_ends() {
        let mut terminal = FakeTerminal::new(usize::MAX);
        assert!(matches!(Session::start(&mut terminal, Duration::from_millis(5)).await, Err(ConsoleError::Silent)));
    }

    #[tokio::test]
    async fn a_refusal_is_reported_with_the_text_of_the_dispatcher() {
        let mut terminal = FakeTerminal::new(0);
        let mut session = Session::start(&mut terminal, ANSWER_DEADLINE).await.unwrap();
        let error = session.status().await.unwrap_err();
        assert_eq!(error.to_string(), "the dispatcher refused: closed");
    }
}
