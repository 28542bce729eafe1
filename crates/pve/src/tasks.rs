//! Waiting for tasks. A call that answers with a UPID has only begun; most refusals come at the end of the task.

use std::time::Duration;

use serde::Deserialize;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    client::Client,
    error::Error,
    lenient,
    transport::{Call, Parameters, segment},
    upid::Upid,
};

const FIRST_POLL: Duration = Duration::from_millis(100);
const SLOWEST_POLL: Duration = Duration::from_secs(2);
/// Lines of a log that are worth showing.
const LOG_TAIL: usize = 8;
const LOG_LIMIT: u32 = 500;

/// How long to wait for a task.
#[derive(Debug, Clone)]
pub struct WaitOptions {
    /// Longest wait.
    pub deadline: Duration,
    /// Ends the wait early. The task goes on.
    pub cancel: CancellationToken,
}

/// How a task ended, when it ended well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskEnd {
    /// Nothing to say.
    Ok,
    /// Done, with warnings; the last lines of its log.
    Warnings(Vec<String>),
}

#[derive(Deserialize)]
struct TaskStatus {
    status: String,
    #[serde(default, deserialize_with = "lenient::optional_text")]
    exitstatus: Option<String>,
}

#[derive(Deserialize)]
struct ListedTask {
    #[serde(default, deserialize_with = "lenient::optional_number")]
    endtime: Option<u64>,
}

#[derive(Deserialize)]
struct LogLine {
    #[serde(default, deserialize_with = "lenient::text")]
    t: String,
}

impl Client {
    /// Waits for the end of a task. Trouble on the way to the server is waited out until the deadline.
    ///
    /// # Errors
    /// [`Error::Task`] with the end of the log when it failed; [`Error::Deadline`] and [`Error::Cancelled`] when it still runs.
    pub async fn wait(&self, upid: &Upid, options: &WaitOptions) -> Result<TaskEnd, Error> {
        let end = Instant::now() + options.deadline;
        let mut pause = FIRST_POLL;
        loop {
            match self.exit_status(upid).await {
                Ok(Some(exit_status)) => return self.judge(upid, exit_status).await,
                Ok(None) => {}
                Err(error) if error.is_transient() && Instant::now() < end => {
                    tracing::debug!(%upid, %error, "task status not read")
                }
                Err(error) => return Err(error),
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Error::Deadline { upid: upid.clone() });
            }
            tokio::select! {
                () = options.cancel.cancelled() => return Err(Error::Cancelled { upid: upid.clone() }),
                () = sleep(pause.min(left)) => {}
            }
            pause = (pause * 3 / 2).min(SLOWEST_POLL);
        }
    }

    /// Whether a task of this kind (`qmclone`, …) that the token began, or may see, is running on the node.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn is_task_running(&self, node: &str, kind: &str) -> Result<bool, Error> {
        let parameters = Parameters::default().with("source", "active").with("typefilter", kind);
        let tasks: Vec<ListedTask> =
            self.call(Call::get(format!("/nodes/{}/tasks", segment(node)), &parameters)).await?;
        // The list of active tasks keeps ended ones for a while.
        Ok(tasks.iter().any(|task| task.endtime.is_none()))
    }

    async fn exit_status(&self, upid: &Upid) -> Result<Option<String>, Error> {
        let task: TaskStatus = self.call(Call::get(format!("{}/status", path(upid)), &Parameters::default())).await?;
        Ok((task.status == "stopped").then(|| task.exitstatus.unwrap_or_else(|| "unknown".to_owned())))
    }

    async fn judge(&self, upid: &Upid, exit_status: String) -> Result<TaskEnd, Error> {
        if exit_status == "OK" {
            return Ok(TaskEnd::Ok);
        }
        let log = self.log_tail(upid).await;
        if exit_status.starts_with("WARNINGS:") {
            return Ok(TaskEnd::Warnings(log));
        }
        Err(Error::Task { upid: upid.clone(), exit_status, log })
    }

    /// The log only explains: without it the outcome is the same.
    async fn log_tail(&self, upid: &Upid) -> Vec<String> {
        let parameters = Parameters::default().with("start", 0).with("limit", LOG_LIMIT);
        let lines: Vec<LogLine> =
            self.call(Call::get(format!("{}/log", path(upid)), &parameters)).await.unwrap_or_default();
        let first = lines.len().saturating_sub(LOG_TAIL);
        lines
            .into_iter()
            .skip(first)
            .map(|line| line.t)
            .filter(|line| !line.is_empty() && line != "no content")
            .collect()
    }
}

fn path(upid: &Upid) -> String {
    format!("/nodes/{}/tasks/{}", segment(upid.node()), segment(upid.as_str()))
}
