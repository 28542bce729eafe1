//! The parts of GitHub's objects that pxci reads. Unknown fields are ignored and unknown words are kept, because GitHub
//! adds both without notice.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer};

/// Defines a type whose values are words of a list that GitHub may extend.
macro_rules! words {
    ($(#[$outer:meta])* $name:ident { $($(#[$inner:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$outer])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum $name {
            $($(#[$inner])* $variant,)+
            /// A word that this version does not know.
            Other(String),
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let word = String::deserialize(deserializer)?;
                Ok(match word.as_str() {
                    $($word => Self::$variant,)+
                    _ => Self::Other(word),
                })
            }
        }
    };
}

words! {
    /// Status of a job.
    JobStatus {
        /// The job waits for a runner.
        Queued = "queued",
        /// The job runs, or is being assigned to a runner.
        InProgress = "in_progress",
        /// The job has ended, with a conclusion.
        Completed = "completed",
        /// The job waits for a deployment gate.
        Waiting = "waiting",
        /// The job was just created.
        Requested = "requested",
        /// The job waits for a concurrency group.
        Pending = "pending",
    }
}

words! {
    /// Conclusion of a job.
    Conclusion {
        /// All steps succeeded.
        Success = "success",
        /// A step failed, or the runner was lost.
        Failure = "failure",
        /// A person or a newer run cancelled the job.
        Cancelled = "cancelled",
        /// The condition of the job was false.
        Skipped = "skipped",
        /// The job exceeded its time limit.
        TimedOut = "timed_out",
    }
}

words! {
    /// Connection of a runner to GitHub. It lags by seconds, and a dead runner may be `online` for 15 minutes.
    RunnerStatus {
        /// Connected.
        Online = "online",
        /// Not connected, or a registration that was not used yet.
        Offline = "offline",
    }
}

/// A workflow run. Its status says nothing about its single jobs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct WorkflowRun {
    /// Number of the run.
    pub id: u64,
    /// Event that triggered the run (`push`, `pull_request`, …).
    pub event: String,
    /// Time of the creation.
    pub created_at: Timestamp,
    /// Time at which the latest attempt was started. A run that is started again keeps `created_at`.
    #[serde(default)]
    pub run_started_at: Option<Timestamp>,
    /// Time of the last change, for example of an approval.
    #[serde(default)]
    pub updated_at: Option<Timestamp>,
}

/// A workflow job.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Job {
    /// Number of the job.
    pub id: u64,
    /// Number of its run.
    pub run_id: u64,
    /// Name that people see.
    pub name: String,
    /// Status of the job.
    pub status: JobStatus,
    /// Conclusion of a job that has ended.
    #[serde(default)]
    pub conclusion: Option<Conclusion>,
    /// Labels of which the runner must have all, as written in the workflow.
    #[serde(default)]
    pub labels: Vec<String>,
    /// Number of its runner. GitHub returns 0 or nothing for a job without a runner.
    #[serde(default, deserialize_with = "nonzero")]
    pub runner_id: Option<u64>,
    /// Name of that runner.
    #[serde(default, deserialize_with = "nonempty")]
    pub runner_name: Option<String>,
    /// Time of the creation.
    #[serde(default)]
    pub created_at: Option<Timestamp>,
    /// Time of the start. For a queued job, it is the time of the creation.
    #[serde(default)]
    pub started_at: Option<Timestamp>,
}

/// A registered self-hosted runner.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Runner {
    /// Number of the registration.
    pub id: u64,
    /// Name, unique in its scope.
    pub name: String,
    /// Connection to GitHub.
    pub status: RunnerStatus,
    /// True if the runner has a job. The value lags by up to a minute and can be wrong, so it alone proves nothing.
    pub busy: bool,
    /// Labels of the runner.
    #[serde(default)]
    pub labels: Vec<RunnerLabel>,
}

/// A label of a runner.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct RunnerLabel {
    /// The label, compared without regard to case.
    pub name: String,
}

/// A build of GitHub's runner program.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct RunnerDownload {
    /// Operating system: `linux`, `win` or `osx`.
    pub os: String,
    /// Architecture: `x64`, `arm64` or `arm`.
    pub architecture: String,
    /// URL of the archive.
    pub download_url: String,
    /// Name of the archive (`actions-runner-linux-x64-2.336.0.tar.gz`).
    pub filename: String,
    /// SHA-256 of the archive, as 64 hexadecimal digits. Old servers leave it out.
    #[serde(default)]
    pub sha256_checksum: Option<String>,
}

impl RunnerDownload {
    /// Returns the version in the name of the archive, as in `2.336.0`.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        let stem = self.filename.strip_suffix(".tar.gz").or_else(|| self.filename.strip_suffix(".zip"))?;
        let version = stem.rsplit('-').next()?;
        version.starts_with(|c: char| c.is_ascii_digit()).then_some(version)
    }
}

fn nonzero<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    Ok(Option::<u64>::deserialize(deserializer)?.filter(|id| *id != 0))
}

fn nonempty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.filter(|name| !name.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_github_adds_later_is_kept() {
        let job: Job = serde_json::from_str(
            r#"{"id":1,"run_id":2,"name":"n","status":"simmering","conclusion":null,"labels":[],"runner_id":0,"runner_name":""}"#,
        )
        .unwrap();
        assert_eq!(job.status, JobStatus::Other("simmering".into()));
        assert_eq!((job.runner_id, job.runner_name), (None, None));
    }

    #[test]
    fn the_version_is_read_from_the_archives_name() {
        let mut download = RunnerDownload {
            os: "linux".into(),
            architecture: "x64".into(),
            download_url: String::new(),
            filename: "actions-runner-linux-x64-2.336.0.tar.gz".into(),
            sha256_checksum: None,
        };
        assert_eq!(download.version(), Some("2.336.0"));
        download.filename = "something-else.tar.gz".into();
        assert_eq!(download.version(), None);
    }
}
