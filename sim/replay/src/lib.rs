//! Replays recordings of a real server against the simulator and compares all answers.
//!
//! The replay uses HTTP on virtual time, which passes only while the replay and everything that it started wait. The
//! outcome therefore does not depend on the speed of the machine.
//!
//! The recordings' README lists what is fixed and what is not. Known differences are in `data/deviations.toml`, each
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

/// Result of one scenario.
#[derive(Debug, Clone)]
struct Scenario {
    file: String,
    name: String,
    equal: usize,
    /// Number of steps that the recordings themselves exclude, because they are unstable or artefacts of the
    /// laboratory.
    left_out: usize,
    /// Other reasons for steps that were left out.
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

/// Result of the comparison.
#[derive(Debug, Default)]
pub struct Report {
    scenarios: Vec<Scenario>,
    /// Fields of the simulator's answers that their calls do not declare.
    undeclared: BTreeSet<String>,
    /// Fields of the recorded answers that their calls do not declare.
    recorded: BTreeSet<String>,
    /// Recordings of the directory that were not replayed.
    not_replayed: Vec<NotReplayed>,
}

/// Error that prevents a replay.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// A file is missing or cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// Path of the file.
        path: PathBuf,
        /// Error of the operating system.
        source: std::io::Error,
    },
    /// A file has the wrong format.
    #[error("{path}, line {line}: not a recorded step")]
    Parse {
        /// Path of the file.
        path: PathBuf,
        /// Line number from 1.
        line: usize,
        /// Error of the parser.
        source: serde_json::Error,
    },
    /// The world's description cannot be read.
    #[error("the recordings' world.json")]
    World(#[source] sim_pve::WorldError),
    /// The checked-in list of accepted differences cannot be read.
    #[error("the list of accepted differences")]
    Deviations(#[source] toml::de::Error),
    /// The checked-in schema cannot be read.
    #[error("the simulator's API schema")]
    Schema(#[source] serde_json::Error),
    /// The simulator did not start.
    #[error("the simulator did not start")]
    Start(#[source] sim_pve::StartError),
    /// The simulator, or the foreign server, could not be reached.
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

/// A known difference with its reason.
#[derive(Debug, Deserialize)]
struct Deviation {
    scenario: String,
    #[serde(default)]
    steps: Vec<u64>,
    /// True if the steps are not sent, because they cannot be replayed or would change what was not changed in the
    /// recording.
    #[serde(default)]
    not_sent: bool,
    reason: String,
}

impl Deviation {
    fn is_about(&self, scenario: &Scenario, step: &step::Step) -> bool {
        let named = self.scenario.split_once('/') == Some((scenario.file.as_str(), scenario.name.as_str()));
        named && (self.steps.is_empty() || self.steps.contains(&step.step.unwrap_or(0)))
    }
}

impl Report {
    /// Returns the names of recordings that were not replayed, with the reason.
    pub fn not_replayed(&self) -> impl Iterator<Item = (&str, &str)> {
        self.not_replayed.iter().map(|skipped| (skipped.file.as_str(), skipped.reason.as_str()))
    }

    /// Returns true if all differences are accepted ones.
    #[must_use]
    pub fn is_conformant(&self) -> bool {
        self.scenarios.iter().all(|scenario| scenario.different.is_empty()) && self.undeclared().is_empty()
    }

    /// Returns the fields of the simulator's answers that PVE's schema does not declare, except for those that the real
    /// server also has.
    #[must_use]
    pub fn undeclared(&self) -> Vec<&String> {
        let known = answers::known();
        self.undeclared.iter().filter(|what| !known.contains(*what)).collect()
    }

    /// Returns the fields of the recorded answers that PVE's schema does not declare, from which
    /// `data/answer-deviations.txt` is made.
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

/// Returns the recordings of a directory by name, in order.
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

/// Replays all recordings of a directory (`world.json` and `*.jsonl`), each file against a new simulator.
///
/// # Errors
/// When they cannot be read, or a simulator cannot be started.
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
        // Measurements of connections have a format of their own.
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
