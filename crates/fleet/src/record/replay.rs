//! Playing a recording again.

use std::iter::Peekable;

use dispatcher_api::Config;
use jiff::Timestamp;
use ownership::{NameError, Nonce};

use super::{Recorded, RecordedInput, Snapshot, digest};
use crate::fleet::Fleet;
use crate::{AuditEntry, Effect, Pass, Waiting};

/// Nonce for a reservation that the recording does not have.
const UNRECORDED: &str = "000000";

/// The decisions of a recording that was played again.
#[derive(Debug, Default)]
pub struct Replay {
    /// Passes, oldest first.
    pub passes: Vec<Replayed>,
    /// Number of the first line, from 1, at which the decisions differ from the recorded ones.
    pub diverged_at: Option<usize>,
}

/// The decisions of one pass.
#[derive(Debug)]
pub struct Replayed {
    /// Number of the line, from 1.
    pub line: usize,
    /// Time of the pass.
    pub at: Timestamp,
    /// Effects that the fleet started, or wanted to start once the ledger had written its changes.
    pub effects: Vec<Effect>,
    /// Events in the lives of VMs since the pass before, oldest first.
    pub events: Vec<AuditEntry>,
    /// Queued jobs and what each waited for.
    pub waiting: Vec<Waiting>,
}

/// Why a recording cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// A line that is not the last one cannot be read.
    #[error("line {line} of the recording cannot be read")]
    Unreadable {
        /// Number of the line, from 1.
        line: usize,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// No line has the state of a fleet.
    #[error("the recording has no start")]
    NoStart,
    /// A pass has no configuration before it.
    #[error("line {line} of the recording is a pass without a configuration before it")]
    NoConfig {
        /// Number of the line, from 1.
        line: usize,
    },
    /// Decisions have no written form.
    #[error("the decisions of line {line} cannot be compared with the recorded ones")]
    Compare {
        /// Number of the line, from 1.
        line: usize,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// There is no nonce for a reservation that the recording does not have.
    #[error("a reservation that is not in the recording has no nonce")]
    Nonce(#[source] NameError),
}

/// Plays a recording again. Lines before the first start are skipped, and so is a last line that was cut off.
///
/// # Errors
/// When the recording has no start, or a line cannot be read or played.
pub fn replay<'a>(lines: impl IntoIterator<Item = &'a str>) -> Result<Replay, ReplayError> {
    let spare = UNRECORDED.parse().map_err(ReplayError::Nonce)?;
    let mut player = Player { spare, fleet: None, config: None, replay: Replay::default() };
    let mut lines = (1..).zip(lines).peekable();
    while let Some((number, recorded)) = next(&mut lines)? {
        player.play(number, recorded)?;
    }
    match player.fleet {
        Some(_) => Ok(player.replay),
        None => Err(ReplayError::NoStart),
    }
}

/// Reads the next line. Returns `None` at the end, or at a last line that was cut off.
fn next<'a>(
    lines: &mut Peekable<impl Iterator<Item = (usize, &'a str)>>,
) -> Result<Option<(usize, Recorded)>, ReplayError> {
    let Some((line, text)) = lines.next() else { return Ok(None) };
    match serde_json::from_str(text) {
        Ok(recorded) => Ok(Some((line, recorded))),
        Err(_) if lines.peek().is_none() => Ok(None),
        Err(source) => Err(ReplayError::Unreadable { line, source }),
    }
}

struct Player {
    fleet: Option<Fleet>,
    config: Option<Config>,
    replay: Replay,
    spare: Nonce,
}

impl Player {
    fn play(&mut self, line: usize, recorded: Recorded) -> Result<(), ReplayError> {
        match recorded.input {
            RecordedInput::Start { continues, snapshot } => self.start(line, continues, *snapshot)?,
            RecordedInput::Config(config) => self.config = Some(*config),
            RecordedInput::Taken(input) => {
                if let Some(fleet) = &mut self.fleet {
                    fleet.take(*input, recorded.at);
                }
            }
            RecordedInput::Pass { nonces, digest } => self.pass(line, recorded.at, nonces, &digest)?,
        }
        Ok(())
    }

    /// Goes on with a snapshot. A snapshot that continues must be the state that the lines before it led to.
    fn start(&mut self, line: usize, continues: bool, snapshot: Snapshot) -> Result<(), ReplayError> {
        if let Some(fleet) = self.fleet.as_ref().filter(|_| continues) {
            let text =
                |snapshot| serde_json::to_string(snapshot).map_err(|source| ReplayError::Compare { line, source });
            if text(&Snapshot::of(fleet))? != text(&snapshot)? {
                self.diverge(line);
            }
        }
        self.fleet = Some(snapshot.into_fleet());
        Ok(())
    }

    fn pass(&mut self, line: usize, at: Timestamp, nonces: Vec<Nonce>, recorded: &str) -> Result<(), ReplayError> {
        let Some(fleet) = &mut self.fleet else { return Ok(()) };
        let config = self.config.as_ref().ok_or(ReplayError::NoConfig { line })?;
        let mut nonces = nonces.into_iter();
        let mut is_short = false;
        let mut draw = || {
            nonces.next().unwrap_or_else(|| {
                is_short = true;
                self.spare.clone()
            })
        };
        let pass = fleet.pass(config, &mut draw, at);
        let digest = digest(&pass).map_err(|source| ReplayError::Compare { line, source })?;
        if is_short || nonces.next().is_some() || digest != recorded {
            self.diverge(line);
        }
        self.replay.passes.push(Replayed::new(line, at, pass));
        Ok(())
    }

    fn diverge(&mut self, line: usize) {
        self.replay.diverged_at.get_or_insert(line);
    }
}

impl Replayed {
    fn new(line: usize, at: Timestamp, pass: Pass) -> Self {
        let effects = pass.start.into_iter().chain(pass.start_after_commit).collect();
        Self { line, at, effects, events: pass.events, waiting: pass.waiting }
    }
}
