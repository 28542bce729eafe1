//! Replays recordings of a real server against the simulator and compares every answer.
//!
//! The replay goes over HTTP, on virtual time: it passes only while the replay and all that it set off wait, so that the
//! outcome does not depend on how fast the machine is.
//!
//! A recording's README says what is fixed and what is not. Known differences are in `data/deviations.toml`, each
//! with its reason.

mod against;
mod answers;
mod client;
mod compare;
mod replay;
mod request;
mod step;
mod transport;

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

pub use against::{ForeignServer, ForeignServerError, against};
use sim_pve::schema::Schema;
use step::Step;

/// How one scenario compares.
#[derive(Debug, Clone)]
struct Scenario {
    file: String,
    name: String,
    equal: usize,
    /// Left out by the recordings themselves: unstable, or an artefact of the laboratory.
    left_out: usize,
    /// Why, where that is not the recordings' own word.
    reasons: BTreeSet<String>,
    accepted: Vec<String>,
    different: Vec<String>,
}

impl Scenario {
    fn new(file: &str, name: &str) -> Self {
        Self {
            file: file.to_owned(),
            name: name.to_owned(),
            equal: 0,
            left_out: 0,
            reasons: BTreeSet::new(),
            accepted: Vec::new(),
            different: Vec::new(),
        }
    }
}

/// How recordings and simulator compare.
#[derive(Debug, Default)]
pub struct Report {
    scenarios: Vec<Scenario>,
    /// Parts of the simulator's answers that their calls do not declare.
    undeclared: BTreeSet<String>,
    /// The same of the recorded answers.
    recorded: BTreeSet<String>,
    /// Recordings of the directory that were not replayed.
    not_replayed: Vec<NotReplayed>,
}

/// Why recordings could not be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// A file is missing or unreadable.
    #[error("cannot read {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A file does not hold what it should.
    #[error("{path}, line {line}: not a recorded step")]
    Parse {
        /// Which.
        path: PathBuf,
        /// Line number from 1.
        line: usize,
        /// The parser's error.
        source: serde_json::Error,
    },
    /// The world's description.
    #[error("the recordings' world.json")]
    World(#[source] sim_pve::WorldError),
    /// The checked-in list of accepted differences.
    #[error("the list of accepted differences")]
    Deviations(#[source] toml::de::Error),
    /// The checked-in schema.
    #[error("the simulator's API schema")]
    Schema(#[source] serde_json::Error),
    /// The simulator.
    #[error("the simulator did not start")]
    Start(#[source] sim_pve::StartError),
    /// The connection to the simulator, or to the server in its place.
    #[error("the server was not reachable")]
    Connect(#[source] std::io::Error),
}

#[derive(Debug, Deserialize)]
struct Deviations {
    accepted: Vec<Deviation>,
    not_replayed: Vec<NotReplayed>,
}

/// A recording about something that is not simulated.
#[derive(Debug, Deserialize)]
struct NotReplayed {
    file: String,
    reason: String,
}

/// A difference that is known and has a reason.
#[derive(Debug, Deserialize)]
struct Deviation {
    scenario: String,
    #[serde(default)]
    steps: Vec<u64>,
    reason: String,
}

impl Report {
    /// Returns the names of recordings that were not replayed, with the reason.
    pub fn not_replayed(&self) -> impl Iterator<Item = (&str, &str)> {
        self.not_replayed.iter().map(|skipped| (skipped.file.as_str(), skipped.reason.as_str()))
    }

    /// No difference but accepted ones.
    #[must_use]
    pub fn is_conformant(&self) -> bool {
        self.scenarios.iter().all(|scenario| scenario.different.is_empty()) && self.undeclared().is_empty()
    }

    /// Parts of the simulator's answers that PVE's schema does not declare for their calls, but for those that the real
    /// server is known to give too.
    #[must_use]
    pub fn undeclared(&self) -> Vec<&String> {
        let known = answers::known();
        self.undeclared.iter().filter(|what| !known.contains(*what)).collect()
    }

    /// The same parts of the recorded answers: what `data/answer-deviations.txt` is made of.
    #[must_use]
    pub fn recorded_undeclared(&self) -> &BTreeSet<String> {
        &self.recorded
    }

    fn sum(&self, of: impl Fn(&Scenario) -> usize) -> usize {
        self.scenarios.iter().map(of).sum()
    }

    fn line(f: &mut fmt::Formatter<'_>, name: &str, scenarios: &[&Scenario]) -> fmt::Result {
        let sum = |of: &dyn Fn(&Scenario) -> usize| scenarios.iter().map(|s| of(s)).sum::<usize>();
        let (equal, accepted, different) = (sum(&|s| s.equal), sum(&|s| s.accepted.len()), sum(&|s| s.different.len()));
        let left_out = sum(&|s| s.left_out);
        writeln!(
            f,
            "{name}: {equal} of {} equal, {accepted} accepted, {different} different, {left_out} left out",
            equal + accepted + different
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for scenario in &self.scenarios {
            Self::line(f, &format!("{} {}", scenario.file, scenario.name), &[scenario])?;
            for text in &scenario.different {
                writeln!(f, "    {text}")?;
            }
            for reason in &scenario.reasons {
                writeln!(f, "    left out: {reason}")?;
            }
        }
        let files: BTreeSet<&str> = self.scenarios.iter().map(|scenario| scenario.file.as_str()).collect();
        for file in files {
            let all: Vec<&Scenario> = self.scenarios.iter().filter(|scenario| scenario.file == file).collect();
            Self::line(f, &format!("= {file}"), &all)?;
        }
        for (file, reason) in self.not_replayed() {
            writeln!(f, "= {file}: not replayed: {reason}")?;
        }
        for what in self.undeclared() {
            writeln!(f, "not as PVE's schema declares it: {what}")?;
        }
        let (equal, accepted, different) =
            (self.sum(|s| s.equal), self.sum(|s| s.accepted.len()), self.sum(|s| s.different.len()));
        write!(
            f,
            "total: {equal} of {} steps equal, {accepted} accepted, {different} different",
            equal + accepted + different
        )
    }
}

/// The recordings of a directory by name, in order.
fn recordings(directory: &Path) -> Result<Vec<(String, Vec<Step>)>, ReplayError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| ReplayError::Read { path, source }
    };
    let listing = std::fs::read_dir(directory).map_err(failed(directory))?;
    let mut files: Vec<PathBuf> = listing
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "jsonl"))
        .collect();
    files.sort();
    let mut out = Vec::new();
    for path in files {
        let steps = step::parse(&path, &std::fs::read_to_string(&path).map_err(failed(&path))?)?;
        out.push((path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default(), steps));
    }
    Ok(out)
}

/// Replays all recordings of a directory (`world.json` and `*.jsonl`), each file against a fresh simulator.
///
/// # Errors
/// When they cannot be read or no simulator can be started.
pub async fn run(directory: &Path) -> Result<Report, ReplayError> {
    let read = |path: PathBuf| std::fs::read_to_string(&path).map_err(|source| ReplayError::Read { path, source });
    let world = sim_pve::World::from_json(&read(directory.join("world.json"))?).map_err(ReplayError::World)?;
    let mut deviations: Deviations =
        toml::from_str(include_str!("../data/deviations.toml")).map_err(ReplayError::Deviations)?;
    let schema = Schema::of(world.line().unwrap_or_default()).map_err(ReplayError::Schema)?;
    let mut report = Report::default();
    for (name, steps) in recordings(directory)? {
        if let Some(at) = deviations.not_replayed.iter().position(|skipped| skipped.file == name) {
            report.not_replayed.push(deviations.not_replayed.swap_remove(at));
            continue;
        }
        // Measurements of the wire have a form of their own.
        if steps.iter().all(|step| step.is_measurement() || step.method.is_none()) {
            report.scenarios.extend(transport::file(&world, &name, &steps).await?);
            continue;
        }
        report.recorded.extend(steps.iter().flat_map(|step| answers::recorded(&schema, step)));
        let replayed = replay::file(&world, &name, &steps, &deviations.accepted).await?;
        report.scenarios.extend(replayed.scenarios);
        report.undeclared.extend(replayed.undeclared);
    }
    Ok(report)
}
