//! The recording of the fleet's inputs on the state volume, and its replay.
//!
//! It holds no secret (`crates/fleet/src/record/`), so a user can send it with a report, and the decisions can be made again
//! from it.

use std::fs::{self, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fleet::{ReplayError, replay};

const FILE: &str = "flight-recorder.jsonl";

/// Returns the file of the recording, which is in the directory of the ledger.
pub(crate) fn file_beside(ledger: &Path) -> PathBuf {
    ledger.with_file_name(FILE)
}

/// Replaces the file by these lines. Only its owner can read it.
pub(crate) fn write(path: &Path, lines: &[Arc<str>]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = BufWriter::new(OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?);
    for line in lines {
        writeln!(file, "{line}")?;
    }
    file.flush()?;
    drop(file);
    fs::rename(&new, path)
}

/// Reason for which a recording cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// The file cannot be read.
    #[error("unable to read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The recording cannot be played.
    #[error("unable to play {}", path.display())]
    Replay {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: ReplayError,
    },
}

/// Plays the recording in a file and prints each pass that started effects or wrote to the audit trail. Returns false if the
/// decisions differ from the recorded ones.
///
/// # Errors
/// When the file cannot be read, or is not a recording.
pub fn play(path: &Path, out: &mut impl io::Write) -> Result<bool, RecordingError> {
    let failed = |source| RecordingError::File { path: path.to_owned(), source };
    let text = fs::read_to_string(path).map_err(failed)?;
    let played = replay(text.lines()).map_err(|source| RecordingError::Replay { path: path.to_owned(), source })?;
    for pass in &played.passes {
        for entry in &pass.events {
            writeln!(out, "{} {} {:?} -> {}", pass.at, entry.vm, entry.entry, entry.state.as_str()).map_err(failed)?;
        }
        for effect in &pass.effects {
            writeln!(out, "{} {} starts {:?}", pass.at, effect.name, effect.step).map_err(failed)?;
        }
    }
    let end = match played.diverged_at {
        None => format!("passes: {}, all as recorded", played.passes.len()),
        Some(line) => format!("the decisions differ from the recorded ones from line {line} on"),
    };
    writeln!(out, "{end}").map_err(failed)?;
    Ok(played.diverged_at.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_is_played_from_its_file_and_other_files_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = file_beside(&directory.path().join("ledger.sqlite"));
        let mut fleet = fleet::Fleet::new([], Default::default());
        let mut recorder = fleet::Recorder::new(1 << 20);
        let config = r#"{"installation":"lab","pve":{"endpoints":["https://h:8006"],"token_id":"a@pam!b"}}"#;
        let config = dispatcher_api::Config::from_json(config).unwrap();
        let now = jiff::Timestamp::from_second(1_800_000_000).unwrap();
        recorder.take(&mut fleet, fleet::Input::Draining(true), now);
        recorder.pass(&mut fleet, &config, &mut || "aaaaaa".parse().unwrap(), now);
        write(&path, &recorder.lines().cloned().collect::<Vec<_>>()).unwrap();
        let mut out = Vec::new();
        assert!(play(&path, &mut out).unwrap());
        assert_eq!(String::from_utf8(out).unwrap(), "passes: 1, all as recorded\n");

        fs::write(&path, "not a recording\n").unwrap();
        assert!(matches!(play(&path, &mut Vec::new()), Err(RecordingError::Replay { .. })));
        assert!(matches!(play(directory.path(), &mut Vec::new()), Err(RecordingError::File { .. })));
    }
}
