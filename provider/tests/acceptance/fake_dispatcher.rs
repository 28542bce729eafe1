//! Fake dispatchers, which speak the console's protocol and take no action. `tests/dispatcher_life` runs a real
//! dispatcher.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dispatcher_api::frames::{Decoder, Direction, Message, encode};
use dispatcher_api::protocol::{Answer, PROTOCOL, Refusal, Request};
use dispatcher_api::{Phase, PoolStatus, SessionKey, Status};
use jiff::Timestamp;
use sim_backend::ContainerStart;
use sim_pve::scripted::{Boot, Scripted};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

/// Version of the fake dispatchers.
const VERSION: &str = "0.0.0-fake";

/// The fake dispatchers of one farm.
#[derive(Clone, Default)]
pub(crate) struct Dispatchers(Arc<Mutex<Shared>>);

#[derive(Default)]
struct Shared {
    /// Status of each dispatcher, by the root volume of its container.
    statuses: HashMap<String, Status>,
    /// Everything that appeared on a console.
    shown: Vec<u8>,
    /// Kind of work that does not end.
    held: Option<Held>,
    /// True once such work has started.
    is_started: bool,
}

/// A kind of work that can be held.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Held {
    /// The first pass with a new configuration.
    Configuring,
    /// A drain, because a job runs.
    Draining,
}

impl Dispatchers {
    /// Returns guests whose containers have a fake dispatcher on their console.
    pub(crate) fn containers(&self) -> Scripted {
        let all = self.clone();
        Scripted::new(Boot::AtOnce).with_consoles(move |start, terminal| {
            let all = all.clone();
            tokio::spawn(async move {
                // An error means that the viewer has left.
                let _ = all.serve(&start, terminal).await;
            });
        })
    }

    /// Holds a kind of work: from now on it starts but does not end.
    pub(crate) fn hold(&self, held: Held) {
        self.shared().held = Some(held);
    }

    /// Returns true if held work has started.
    pub(crate) fn is_holding(&self) -> bool {
        self.shared().is_started
    }

    /// Ends the work that is held.
    pub(crate) fn release(&self) {
        let mut shared = self.shared();
        (shared.held, shared.is_started) = (None, false);
    }

    /// Returns everything that appeared on a console.
    pub(crate) fn shown(&self) -> Vec<u8> {
        self.shared().shown.clone()
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn serve(&self, start: &ContainerStart, mut terminal: DuplexStream) -> io::Result<()> {
        let (key, mut decoder) = (SessionKey::generate(), Decoder::new(Direction::Request));
        let mut buffer = [0; 4096];
        loop {
            let count = terminal.read(&mut buffer).await?;
            if count == 0 {
                return Ok(());
            }
            // A terminal echoes.
            self.show(&buffer[..count], &mut terminal).await?;
            for message in decoder.push(&buffer[..count]) {
                let request = serde_json::from_slice(&message.payload).map_err(io::Error::other)?;
                let answer = self.answer(start, &key, request);
                let answer = Message { payload: serde_json::to_vec(&answer).map_err(io::Error::other)?, ..message };
                let lines = encode(Direction::Answer, &answer).map_err(io::Error::other)?;
                self.show(lines.concat().replace('\n', "\r\n").as_bytes(), &mut terminal).await?;
            }
        }
    }

    async fn show(&self, bytes: &[u8], terminal: &mut DuplexStream) -> io::Result<()> {
        self.shared().shown.extend_from_slice(bytes);
        terminal.write_all(bytes).await
    }

    fn answer(&self, start: &ContainerStart, key: &SessionKey, request: Request) -> Answer {
        let Shared { statuses, held, is_started, .. } = &mut *self.shared();
        let status = statuses.entry(start.rootfs.clone()).or_default();
        VERSION.clone_into(&mut status.version);
        match request {
            Request::Hello { .. } => {
                Answer::Hello { protocol: PROTOCOL, version: VERSION.to_owned(), public_key: key.public_key() }
            }
            Request::Configure { config, secrets } => {
                if key.open(&secrets).is_err() {
                    let message = "the secrets are not sealed for this session".to_owned();
                    return Answer::Refused { reason: Refusal::Unsealing, message, problems: Vec::new() };
                }
                let config_hash = config.hash();
                status.config_hash = Some(config_hash.clone());
                status.phase = Phase::Starting;
                if *held == Some(Held::Configuring) {
                    *is_started = true;
                } else {
                    (status.phase, status.last_good_pass_at) = (Phase::Running, Some(Timestamp::now()));
                }
                Answer::Configured { config_hash }
            }
            Request::Drain {} => {
                status.phase = Phase::Draining;
                *is_started |= *held == Some(Held::Draining);
                reported(status, *held)
            }
            Request::Status {} | Request::Retry {} | Request::Release { .. } => reported(status, *held),
            Request::Logs { .. } => Answer::Logs { lines: Vec::new() },
            Request::Bye {} => Answer::Bye {},
        }
    }
}

/// Returns the status. A drain ends with the last job.
fn reported(status: &mut Status, held: Option<Held>) -> Answer {
    status.pools = Vec::new();
    match (status.phase, held) {
        (Phase::Draining, Some(Held::Draining)) => status.pools = vec![with_a_job()],
        (Phase::Draining, _) => status.phase = Phase::Drained,
        _ => {}
    }
    Answer::Status(Box::new(status.clone()))
}

/// Returns the status of a pool with a running job.
fn with_a_job() -> PoolStatus {
    let name = "plain".parse().expect("a name");
    PoolStatus { name, max: 2, queued: 0, preparing: 0, idle: 0, busy: 1, ending: 0 }
}
