//! Runs of a core, and their output.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use super::{Core, Failed};

/// Variables that a core gets from this process. Others are removed, so that a developer's environment has no
/// influence.
const PASSED_ON: [&str; 4] = ["PATH", "HOME", "TMPDIR", "LANG"];

/// A finished run of a core.
#[derive(Debug)]
pub struct Finished {
    /// The command line, for messages.
    pub command: String,
    /// Exit status.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: String,
    /// Standard error, which has the diagnostics.
    pub stderr: String,
    /// Duration of the run.
    pub took: Duration,
}

impl Finished {
    /// Returns the run if it succeeded.
    ///
    /// # Errors
    /// Fails with the whole output if the run failed.
    pub fn succeeded(self) -> Result<Self, Failed> {
        if self.status.success() {
            return Ok(self);
        }
        Err(Failed::new(format!("`{}` failed ({})", self.command, self.status)).with_output(self.text()))
    }

    /// Returns the run if it failed.
    ///
    /// # Errors
    /// Fails with the whole output if the run succeeded.
    pub fn refused(self) -> Result<Self, Failed> {
        if !self.status.success() {
            return Ok(self);
        }
        Err(Failed::new(format!("`{}` succeeded, but must fail", self.command)).with_output(self.text()))
    }

    /// Returns standard output and standard error.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}\n{}", self.stdout, self.stderr)
    }

    /// Returns the output as one line, without the frames and line breaks that cores put into diagnostics.
    #[must_use]
    pub fn flat(&self) -> String {
        let text = self.text();
        text.split_whitespace().filter(|word| !["│", "╷", "╵"].contains(word)).collect::<Vec<_>>().join(" ")
    }
}

/// A running core. It is killed when this value is dropped, and when this process ends.
#[derive(Debug)]
pub struct Running {
    command: String,
    child: Child,
    group: Option<Pid>,
    stdout: JoinHandle<std::io::Result<String>>,
    stderr: JoinHandle<std::io::Result<String>>,
    started: Instant,
}

impl Running {
    /// Starts a core with these arguments.
    pub(crate) fn start(
        core: &Core,
        arguments: &[&str],
        directory: &Path,
        environment: impl IntoIterator<Item = (String, String)>,
        echo: Option<fn(&str)>,
    ) -> Result<Self, Failed> {
        let name = core.program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let command = format!("{name} {}", arguments.join(" "));
        let mut program = tied_to_this_process(&core.program);
        program.args(arguments).current_dir(directory).env_clear().envs(inherited());
        program.env("CHECKPOINT_DISABLE", "1").env("TF_IN_AUTOMATION", "1").env("TF_INPUT", "0").envs(environment);
        program.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        // A separate process group: an interrupt reaches the core and its providers, as from a terminal, but not this
        // process.
        program.process_group(0);
        let started = Instant::now();
        let mut child = program.spawn().map_err(Failed::io(format_args!("starting {}", core.program.display())))?;
        let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(Failed::new(format!("`{command}` has no output")));
        };
        let (stdout, stderr) = (tokio::spawn(collect(stdout, echo)), tokio::spawn(collect(stderr, echo)));
        Ok(Self { command, child, group, stdout, stderr, started })
    }

    /// Interrupts the core and the programs that it started, as Ctrl-C in a terminal does.
    ///
    /// # Errors
    /// Fails if the core has already ended.
    pub fn interrupt(&self) -> Result<(), Failed> {
        let group = self.group.ok_or_else(|| Failed::new(format!("`{}` has no process", self.command)))?;
        kill_process_group(group, Signal::INT)
            .map_err(|error| Failed::new(format!("interrupting `{}`: {error}", self.command)))
    }

    /// Returns true if the core has ended.
    ///
    /// # Errors
    /// Fails if the system reports an error.
    pub fn has_ended(&mut self) -> Result<bool, Failed> {
        let status = self.child.try_wait().map_err(Failed::io(format_args!("waiting for `{}`", self.command)))?;
        Ok(status.is_some())
    }

    /// Waits until the core has ended.
    ///
    /// # Errors
    /// Fails if the output cannot be read.
    pub async fn finish(mut self) -> Result<Finished, Failed> {
        let reading = |error: std::io::Error| Failed::new(format!("reading the core's output: {error}"));
        let status = self.child.wait().await.map_err(Failed::io(format_args!("waiting for `{}`", self.command)))?;
        let (stdout, stderr) = tokio::join!(self.stdout, self.stderr);
        Ok(Finished {
            command: self.command,
            status,
            stdout: stdout.map_err(|error| reading(error.into()))?.map_err(reading)?,
            stderr: stderr.map_err(|error| reading(error.into()))?.map_err(reading)?,
            took: self.started.elapsed(),
        })
    }

    /// Waits until the core has ended, at most for `limit`.
    ///
    /// # Errors
    /// Fails and kills the core if it does not end in time.
    pub async fn finish_within(self, limit: Duration) -> Result<Finished, Failed> {
        let command = self.command.clone();
        let ended = tokio::time::timeout(limit, self.finish()).await;
        ended.unwrap_or_else(|_| Err(Failed::new(format!("`{command}` has not ended after {limit:?}"))))
    }
}

/// Returns the variables of this process that programs get.
pub(super) fn inherited() -> impl Iterator<Item = (&'static str, OsString)> {
    PASSED_ON.into_iter().filter_map(|name| std::env::var_os(name).map(|value| (name, value)))
}

/// Returns a command that ends with this process, if the system has setpriv of util-linux, which sets the parent-death
/// signal before the program starts.
pub(super) fn tied_to_this_process(program: &Path) -> Command {
    if which("setpriv").is_none() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(program)).find(|file| file.is_file())
}

async fn collect(stream: impl AsyncRead + Unpin, echo: Option<fn(&str)>) -> std::io::Result<String> {
    let mut lines = BufReader::new(stream).lines();
    let mut text = String::new();
    while let Some(line) = lines.next_line().await? {
        if let Some(echo) = echo {
            echo(&line);
        }
        text.push_str(&line);
        text.push('\n');
    }
    Ok(text)
}
