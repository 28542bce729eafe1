//! Dispatchers that are only played: they speak the console's protocol and do nothing. A real one runs in
//! `tests/dispatcher_life`.

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

/// Version that a played dispatcher says it has.
const VERSION: &str = "0.0.0-played";

/// What the played dispatchers of one farm share.
#[derive(Clone, Default)]
pub(crate) struct Dispatchers(Arc<Mutex<Shared>>);

#[derive(Default)]
struct Shared {
    /// How each is, by the root volume of its container.
    statuses: HashMap<String, Status>,
    /// Everything that stood on a console.
    shown: Vec<u8>,
    /// Work that is started but does not end.
    held: Option<Held>,
    /// True once it was started.
    is_started: bool,
}

/// What can be made to stand still.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Held {
    /// The first pass with a new configuration.
    Configuring,
    /// A drain: a job runs.
    Draining,
}

impl Dispatchers {
    /// Guests whose containers have a dispatcher behind their console.
    pub(crate) fn containers(&self) -> Scripted {
        let all = self.clone();
        Scripted::new(Boot::AtOnce).with_consoles(move |start, terminal| {
            let all = all.clone();
            tokio::spawn(async move {
                // The viewer has left.
                let _ = all.play(&start, terminal).await;
            });
        })
    }

    /// From here on, this starts but does not end.
    pub(crate) fn hold(&self, held: Held) {
        self.shared().held = Some(held);
    }

    /// Whether something stands still now.
    pub(crate) fn stand_still(&self) -> bool {
        self.shared().is_started
    }

    /// What stands still comes to its end.
    pub(crate) fn heal(&self) {
        let mut shared = self.shared();
        (shared.held, shared.is_started) = (None, false);
    }

    /// Everything that stood on a console.
    pub(crate) fn shown(&self) -> Vec<u8> {
        self.shared().shown.clone()
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn play(&self, start: &ContainerStart, mut terminal: DuplexStream) -> io::Result<()> {
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
            Request::Status {} | Request::Retry {} => reported(status, *held),
            Request::Logs { .. } => Answer::Logs { lines: Vec::new() },
            Request::Bye {} => Answer::Bye {},
        }
    }
}

/// How it is. A drain ends with the last job.
fn reported(status: &mut Status, held: Option<Held>) -> Answer {
    status.pools = Vec::new();
    match (status.phase, held) {
        (Phase::Draining, Some(Held::Draining)) => status.pools = vec![with_a_job()],
        (Phase::Draining, _) => status.phase = Phase::Drained,
        _ => {}
    }
    Answer::Status(Box::new(status.clone()))
}

/// A pool with a job that runs.
fn with_a_job() -> PoolStatus {
    let name = "plain".parse().expect("a name");
    PoolStatus { name, max: 2, queued: 0, preparing: 0, idle: 0, busy: 1, ending: 0 }
}
