//! Decodes bodies and queries. An error names the place of the mistake.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::fault_rules::NewRule;
use super::problem::Problem;

const MOST_JOBS: u32 = 1000;
const MOST_STEPS: usize = 100;
const MOST_LABELS: usize = 100;
const FASTEST: f64 = 100_000.0;

/// Jobs to queue, as one run.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewJobs {
    /// `owner/name`; made where it is not there.
    pub repository: String,
    /// Labels that the jobs' runners must have.
    pub labels: Vec<String>,
    /// Their name; several are numbered.
    #[serde(default = "name")]
    pub name: String,
    /// How many.
    #[serde(default = "one")]
    pub count: u32,
    /// Shell scripts, run one after the other.
    #[serde(default = "steps")]
    pub steps: Vec<String>,
    /// What triggers the run.
    #[serde(default = "event")]
    pub event: String,
    /// The fork that a pull request comes from.
    #[serde(default)]
    pub fork: Option<String>,
}

fn name() -> String {
    "job".to_owned()
}

fn one() -> u32 {
    1
}

fn steps() -> Vec<String> {
    vec!["echo hello from $(hostname)".to_owned()]
}

fn event() -> String {
    "push".to_owned()
}

/// How full a storage is to be.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fill {
    /// As this node sees it.
    pub(super) node: String,
    /// Bytes that stay free.
    pub(super) free: u64,
}

/// How time is to go on.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum PaceInput {
    /// A step of this many seconds; then time stands still, or runs on if it ran.
    Step {
        /// More than 0, up to a week.
        seconds: f64,
    },
    /// It stands still.
    Hold,
    /// It runs.
    Run {
        /// Seconds in one real second.
        #[serde(default = "real")]
        speed: f64,
    },
}

fn real() -> f64 {
    1.0
}

/// One rule or several.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rules {
    pub(super) rules: Vec<NewRule>,
}

/// Reads a body.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    if body.is_empty() {
        return Err(Problem::new(400, "the call needs a body").allowing("JSON"));
    }
    // It could be read as fields without names.
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
    /// Checks what types do not say.
    pub(super) fn check(&self) -> Result<(), Problem> {
        check_repository("repository", &self.repository)?;
        if let Some(fork) = &self.fork {
            check_repository("fork", fork)?;
        }
        let word = |text: &String| !text.trim().is_empty() && text.len() <= 256;
        let words = "1 to 256 characters";
        if self.labels.is_empty() || self.labels.len() > MOST_LABELS {
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
        if !(1..=MOST_JOBS).contains(&self.count) {
            return Err(Problem::value("count", format!("{} jobs", self.count), "1 to 1000"));
        }
        if self.steps.len() > MOST_STEPS {
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
    /// Checks what types do not say.
    pub(super) fn check(&self) -> Result<(), Problem> {
        let longest = super::pace::LONGEST_STEP.as_secs_f64();
        match self {
            Self::Step { seconds } if !(*seconds > 0.0 && *seconds <= longest) => Err(Problem::value(
                "step.seconds",
                format!("{seconds} seconds is not a step"),
                "more than 0, at most 604800",
            )),
            Self::Run { speed } if !(*speed > 0.0 && *speed <= FASTEST) => {
                Err(Problem::value("run.speed", format!("{speed} is not a speed"), "more than 0, at most 100000"))
            }
            _ => Ok(()),
        }
    }
}
