//! GitHub's objects, as far as they are read. Unknown fields are ignored and unknown words kept, because GitHub adds
//! both without notice.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer};

/// A word of a list that GitHub may extend.
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
    /// How far a job is.
    JobStatus {
        /// Waits for a runner.
        Queued = "queued",
        /// Runs, or is being handed to a runner.
        InProgress = "in_progress",
        /// Ended; see its conclusion.
        Completed = "completed",
        /// Waits for a deployment gate.
        Waiting = "waiting",
        /// Just created.
        Requested = "requested",
        /// Waits for a concurrency group.
        Pending = "pending",
    }
}

words! {
    /// How a job ended.
    Conclusion {
        /// All steps succeeded.
        Success = "success",
        /// A step failed, or the runner was lost.
        Failure = "failure",
        /// Somebody, or a newer run, cancelled it.
        Cancelled = "cancelled",
        /// Its condition was false.
        Skipped = "skipped",
        /// It ran into its time limit.
        TimedOut = "timed_out",
    }
}

words! {
    /// Whether a runner has a connection to GitHub; lags by seconds (a dead one may show `online` for 15 minutes).
    RunnerStatus {
        /// Connected.
        Online = "online",
        /// Not connected; also a registration that no machine used yet.
        Offline = "offline",
    }
}

/// A workflow run: the frame of its jobs. Its own status says nothing about single jobs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct WorkflowRun {
    /// Number of the run.
    pub id: u64,
    /// Name of what triggered it (`push`, `pull_request`, …).
    pub event: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// When its present attempt was started. A run that is started again keeps `created_at`.
    #[serde(default)]
    pub run_started_at: Option<Timestamp>,
    /// When it last changed, for example because a person approved it.
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
    /// Name as shown to people.
    pub name: String,
    /// How far it is.
    pub status: JobStatus,
    /// How it ended, once it has.
    #[serde(default)]
    pub conclusion: Option<Conclusion>,
    /// Labels that a runner must all have, as written in the workflow.
    #[serde(default)]
    pub labels: Vec<String>,
    /// The runner that took it; GitHub says 0 or nothing while there is none.
    #[serde(default, deserialize_with = "nonzero")]
    pub runner_id: Option<u64>,
    /// Name of that runner.
    #[serde(default, deserialize_with = "nonempty")]
    pub runner_name: Option<String>,
    /// When it was created.
    #[serde(default)]
    pub created_at: Option<Timestamp>,
    /// When it started; for a queued job GitHub fills in the time of its creation.
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
    /// Whether it is connected.
    pub status: RunnerStatus,
    /// True if it runs a job; lags by up to a minute and can be wrong, so it alone proves nothing.
    pub busy: bool,
    /// Its labels.
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
    /// `linux`, `win`, `osx`.
    pub os: String,
    /// `x64`, `arm64`, `arm`.
    pub architecture: String,
    /// Where the archive is.
    pub download_url: String,
    /// Name of the archive (`actions-runner-linux-x64-2.336.0.tar.gz`).
    pub filename: String,
    /// SHA-256 of the archive, 64 hexadecimal digits. Old servers leave it out.
    #[serde(default)]
    pub sha256_checksum: Option<String>,
}

impl RunnerDownload {
    /// The version in the name of the archive: `2.336.0`.
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
