//! Decoding of bodies and queries. An error names the position of the mistake.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use sim_github::{Condition, JobStep};

use super::fault_rules::NewRule;
use super::problem::Problem;

const MAX_JOBS: u32 = 1000;
const MAX_STEPS: usize = 100;
const MAX_LABELS: usize = 100;
const MAX_SPEED: f64 = 100_000.0;

/// Jobs to queue as one workflow run.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewJobs {
    /// Repository as `owner/name`. A missing one is created.
    pub repository: String,
    /// Labels that the jobs' runners must have.
    pub labels: Vec<String>,
    /// Name of the jobs. Several jobs are numbered.
    #[serde(default = "name")]
    pub name: String,
    /// Number of jobs.
    #[serde(default = "one")]
    pub count: u32,
    /// Steps, in their order: a shell script each, or `{"run": script, "if": condition}`.
    #[serde(default = "steps")]
    pub steps: Vec<NewStep>,
    /// Event that triggers the run.
    #[serde(default = "event")]
    pub event: String,
    /// Fork that a pull request comes from.
    #[serde(default)]
    pub fork: Option<String>,
}

fn name() -> String {
    "job".to_owned()
}

fn one() -> u32 {
    1
}

fn steps() -> Vec<NewStep> {
    vec![NewStep::Script("echo hello from $(hostname)".to_owned())]
}

/// A step of a job to queue.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged, expecting = "a step is a shell script, or {\"run\": script, \"if\": condition}")]
pub enum NewStep {
    /// A script that runs as long as no step has failed.
    Script(String),
    /// A script with a condition of its own.
    Conditional {
        /// Shell script.
        run: String,
        /// Condition of the step.
        r#if: NewCondition,
    },
}

/// A step's condition, spelled as in a workflow file.
#[derive(Debug, Clone, Copy, Deserialize)]
#[expect(missing_docs, reason = "GitHub's own words")]
pub enum NewCondition {
    #[serde(rename = "success()")]
    Success,
    #[serde(rename = "failure()")]
    Failure,
    #[serde(rename = "cancelled()")]
    Cancelled,
    #[serde(rename = "always()")]
    Always,
}

impl NewStep {
    /// Returns the step for the simulated GitHub.
    pub(super) fn to_job_step(&self) -> JobStep {
        match self {
            Self::Script(script) => script.as_str().into(),
            Self::Conditional { run, r#if } => JobStep::under(r#if.to_condition(), run),
        }
    }
}

impl NewCondition {
    fn to_condition(self) -> Condition {
        match self {
            Self::Success => Condition::Success,
            Self::Failure => Condition::Failure,
            Self::Cancelled => Condition::Cancelled,
            Self::Always => Condition::Always,
        }
    }
}

fn event() -> String {
    "push".to_owned()
}

/// The amount to which a storage is filled.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fill {
    /// Node that sees the storage.
    pub(super) node: String,
    /// Number of bytes that stay free.
    pub(super) free: u64,
}

/// A change of the pace of time.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum PaceInput {
    /// Time passes by one step, then continues as before.
    Step {
        /// Length of the step in seconds, more than 0 and up to a week.
        seconds: f64,
    },
    /// Time stands still.
    Hold,
    /// Time runs.
    Run {
        /// Virtual seconds per real second.
        #[serde(default = "real")]
        speed: f64,
    },
}

fn real() -> f64 {
    1.0
}

/// One rule, or several.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rules {
    pub(super) rules: Vec<NewRule>,
}

/// Decodes a body.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    if body.is_empty() {
        return Err(Problem::new(400, "the call needs a body").allowing("JSON"));
    }
    // The decoder would accept a list as fields without names.
    if body.trim_ascii_start().starts_with(b"[") {
        return Err(Problem::new(422, "the body is a list").allowing("an object"));
    }
    let mut reader = serde_json::Deserializer::from_slice(body);
    let read = serde_path_to_error::deserialize(&mut reader).map_err(|error| wrong(&error))?;
    reader.end().map_err(|error| Problem::new(400, format!("the body is not JSON: {error}")))?;
    Ok(read)
}

fn wrong(error: &serde_path_to_error::Error<serde_json::Error>) -> Problem {
    let inner = error.inner();
    if !inner.is_data() {
        return Problem::new(400, format!("the body is not JSON: {inner}"));
    }
    let place = error.path().to_string();
    let mut problem = Problem::new(422, inner.to_string());
    problem.at = Some(place).filter(|place| place != ".");
    problem
}

impl NewJobs {
    /// Checks the values beyond their types.
    pub(super) fn check(&self) -> Result<(), Problem> {
        check_repository("repository", &self.repository)?;
        if let Some(fork) = &self.fork {
            check_repository("fork", fork)?;
        }
        let word = |text: &String| !text.trim().is_empty() && text.len() <= 256;
        let words = "1 to 256 characters";
        if self.labels.is_empty() || self.labels.len() > MAX_LABELS {
            return Err(Problem::value("labels", format!("{} labels", self.labels.len()), "1 to 100 labels"));
        }
        if let Some(index) = self.labels.iter().position(|label| !word(label)) {
            return Err(Problem::value(format!("labels[{index}]"), "a label that is empty or too long", words));
        }
        for (at, text) in [("name", &self.name), ("event", &self.event)] {
            if !word(text) {
                return Err(Problem::value(at, "a text that is empty or too long", words));
            }
        }
        if !(1..=MAX_JOBS).contains(&self.count) {
            return Err(Problem::value("count", format!("{} jobs", self.count), "1 to 1000"));
        }
        if self.steps.len() > MAX_STEPS {
            return Err(Problem::value("steps", format!("{} steps", self.steps.len()), "at most 100"));
        }
        Ok(())
    }
}

fn check_repository(at: &str, name: &str) -> Result<(), Problem> {
    let part = |part: &str| {
        (1..=100).contains(&part.len())
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    if name.split_once('/').is_some_and(|(owner, name)| part(owner) && part(name)) {
        return Ok(());
    }
    let allowed = "owner/name, each of 1 to 100 letters, digits, hyphens, points and underscores";
    Err(Problem::value(at, format!("{name:?} is not a repository"), allowed))
}

impl PaceInput {
    /// Checks the values beyond their types.
    pub(super) fn check(&self) -> Result<(), Problem> {
        let longest = super::pace::MAX_STEP.as_secs_f64();
        match self {
            Self::Step { seconds } if !(*seconds > 0.0 && *seconds <= longest) => Err(Problem::value(
                "step.seconds",
                format!("{seconds} seconds is not a step"),
                "more than 0, at most 604800",
            )),
            Self::Run { speed } if !(*speed > 0.0 && *speed <= MAX_SPEED) => {
                Err(Problem::value("run.speed", format!("{speed} is not a speed"), "more than 0, at most 100000"))
            }
            _ => Ok(()),
        }
    }
}
