//! The wait for tasks. A request that returns a UPID has only started a task, and most refusals are the end of that
//! task.

mod pacing;

use std::time::Duration;

use ownership::NodeName;
use serde::Deserialize;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    call::{Call, Parameters, segment},
    client::Client,
    error::Error,
    lenient,
    upid::Upid,
};

/// Number of log lines in an error.
const LOG_TAIL: usize = 8;
const LOG_LIMIT: u32 = 500;

use pacing::Polls;
pub(crate) use pacing::TaskTimes;

/// Limits of the wait for a task.
#[derive(Debug, Clone)]
pub struct WaitOptions {
    /// Longest wait.
    pub deadline: Duration,
    /// Token that ends the wait early. The task continues.
    pub cancel: CancellationToken,
}

/// The end of a task that succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskEnd {
    /// The task has no warnings.
    Ok,
    /// The task has warnings. These are the last lines of its log.
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
    /// Waits for the end of a task. Passing errors of the connection do not end the wait before the deadline.
    ///
    /// The first poll is at the time by which tasks of this kind have usually ended on that node. Further polls follow
    /// at growing intervals.
    ///
    /// # Errors
    /// [`Error::Task`] with the end of the log if the task failed. [`Error::Deadline`] and [`Error::Cancelled`] if it
    /// still runs.
    pub async fn wait(&self, upid: &Upid, options: &WaitOptions) -> Result<TaskEnd, Error> {
        let mut waiting = Waiting::begin(self, upid, options);
        loop {
            waiting.pause().await?;
            if let Some(end) = waiting.end().await? {
                return Ok(end);
            }
        }
    }

    /// Waits like [`Client::wait`], but polls the effect of the task, from the third poll on in turn with the task. The
    /// effect also shows the end of the task, and the caller may need it anyway. Returns the result of `effect`, or
    /// `None` if the end of the task was found first.
    ///
    /// # Errors
    /// Those of [`Client::wait`].
    pub async fn wait_for_effect<T, F: Future<Output = Option<T>>>(
        &self,
        upid: &Upid,
        options: &WaitOptions,
        effect: impl Fn() -> F,
    ) -> Result<Option<T>, Error> {
        let mut waiting = Waiting::begin(self, upid, options);
        let mut polls = 0_u32;
        loop {
            waiting.pause().await?;
            polls += 1;
            // If the first poll is too early, it is usually so by little, and the second poll shows the effect.
            let asks_task = polls > 2 && polls % 2 == 1;
            if asks_task {
                if waiting.end().await?.is_some() {
                    return Ok(None);
                }
            } else if let Some(found) = effect().await {
                waiting.remember();
                return Ok(Some(found));
            }
        }
    }

    /// Returns the usual duration of recent tasks of this kind on that node, or `None` if none has been waited for.
    #[must_use]
    pub fn usual_time(&self, upid: &Upid) -> Option<Duration> {
        self.task_times().usual(upid)
    }

    /// Returns true if a task of this kind (`qmclone`, …) runs on the node. Only tasks that the token started or may
    /// see count.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn is_task_running(&self, node: &NodeName, kind: &str) -> Result<bool, Error> {
        let parameters = Parameters::default().with("source", "active").with("typefilter", kind);
        let tasks: Vec<ListedTask> =
            self.call(Call::get(format!("/nodes/{}/tasks", segment(node.as_str())), &parameters)).await?;
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

    /// Returns the end of the log, or nothing if it cannot be read, because it only explains the failure.
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

/// One wait for the end of a task.
struct Waiting<'a> {
    client: &'a Client,
    upid: &'a Upid,
    options: &'a WaitOptions,
    begin: Instant,
    polls: Polls,
}

impl<'a> Waiting<'a> {
    fn begin(client: &'a Client, upid: &'a Upid, options: &'a WaitOptions) -> Self {
        Self { client, upid, options, begin: Instant::now(), polls: client.task_times().polls(upid) }
    }

    fn left(&self) -> Duration {
        self.options.deadline.saturating_sub(self.begin.elapsed())
    }

    /// Waits until the next poll or the deadline.
    async fn pause(&mut self) -> Result<(), Error> {
        let pause = self.polls.next_pause().min(self.left());
        tokio::select! {
            biased;
            () = self.options.cancel.cancelled() => Err(Error::Cancelled { upid: self.upid.clone() }),
            () = sleep(pause) => Ok(()),
        }
    }

    /// Returns the end of a task that succeeded. Returns `None` if there is time for another poll and the task still
    /// runs or its status could not be read.
    async fn end(&self) -> Result<Option<TaskEnd>, Error> {
        match self.client.exit_status(self.upid).await {
            Ok(Some(exit_status)) => {
                let end = self.client.judge(self.upid, exit_status).await?;
                self.remember();
                Ok(Some(end))
            }
            Ok(None) if self.left().is_zero() => Err(Error::Deadline { upid: self.upid.clone() }),
            Ok(None) => Ok(None),
            Err(error) if error.is_transient() && !self.left().is_zero() => {
                tracing::debug!(upid = %self.upid, %error, "task status not read");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn remember(&self) {
        self.client.task_times().record(self.upid, self.begin.elapsed(), &self.polls);
    }
}

fn path(upid: &Upid) -> String {
    format!("/nodes/{}/tasks/{}", segment(upid.node().as_str()), segment(upid.as_str()))
}
