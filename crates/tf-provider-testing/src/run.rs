//! One run of a core, and what it said.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use super::{Core, Failed};

/// Variables of this process that a core needs; everything else stays out, so that a developer's set-up cannot matter.
const PASSED_ON: [&str; 4] = ["PATH", "HOME", "TMPDIR", "LANG"];

/// Result of a finished run of a core.
#[derive(Debug)]
pub struct Finished {
    /// The command's words, for messages.
    pub command: String,
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error; diagnostics stand here.
    pub stderr: String,
    /// How long it took.
    pub took: Duration,
}

impl Finished {
    /// The run itself, when it ended well.
    ///
    /// # Errors
    /// When it failed: with all that it printed.
    pub fn succeeded(self) -> Result<Self, Failed> {
        if self.status.success() {
            return Ok(self);
        }
        Err(Failed::new(format!("`{}` failed ({})", self.command, self.status)).with_output(self.text()))
    }

    /// The run itself, when it failed.
    ///
    /// # Errors
    /// When it passed: with all that it printed.
    pub fn refused(self) -> Result<Self, Failed> {
        if !self.status.success() {
            return Ok(self);
        }
        Err(Failed::new(format!("`{}` passed, but must fail", self.command)).with_output(self.text()))
    }

    /// Standard output and error together.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}\n{}", self.stdout, self.stderr)
    }

    /// All that was printed as one line, without the frames and line breaks that cores put into diagnostics.
    #[must_use]
    pub fn flat(&self) -> String {
        let text = self.text();
        text.split_whitespace().filter(|word| !["│", "╷", "╵"].contains(word)).collect::<Vec<_>>().join(" ")
    }
}

/// A core at work. It dies with this process, and when this is dropped.
#[derive(Debug)]
pub struct Running {
    command: String,
    child: Child,
    group: Option<Pid>,
    stdout: JoinHandle<std::io::Result<String>>,
    stderr: JoinHandle<std::io::Result<String>>,
    began: Instant,
}

impl Running {
    /// Starts a core with these words.
    pub(crate) fn start(
        core: &Core,
        words: &[&str],
        directory: &Path,
        environment: impl IntoIterator<Item = (String, String)>,
        echo: Option<fn(&str)>,
    ) -> Result<Self, Failed> {
        let name = core.program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let command = format!("{name} {}", words.join(" "));
        let mut program = tied_to_this_process(&core.program);
        program.args(words).current_dir(directory).env_clear().envs(inherited());
        program.env("CHECKPOINT_DISABLE", "1").env("TF_IN_AUTOMATION", "1").env("TF_INPUT", "0").envs(environment);
        program.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        // A group of its own, so that an interrupt reaches the core and its providers, as from a terminal, but not us.
        program.process_group(0);
        let began = Instant::now();
        let mut child = program.spawn().map_err(Failed::io(format_args!("starting {}", core.program.display())))?;
        let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(Failed::new(format!("`{command}` has no output")));
        };
        let (stdout, stderr) = (tokio::spawn(collect(stdout, echo)), tokio::spawn(collect(stderr, echo)));
        Ok(Self { command, child, group, stdout, stderr, began })
    }

    /// Interrupts the core and all that it started, as Ctrl-C in a terminal does.
    ///
    /// # Errors
    /// When it has ended already.
    pub fn interrupt(&self) -> Result<(), Failed> {
        let group = self.group.ok_or_else(|| Failed::new(format!("`{}` has no process", self.command)))?;
        kill_process_group(group, Signal::INT)
            .map_err(|error| Failed::new(format!("interrupting `{}`: {error}", self.command)))
    }

    /// Whether it has ended.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn has_ended(&mut self) -> Result<bool, Failed> {
        let status = self.child.try_wait().map_err(Failed::io(format_args!("waiting for `{}`", self.command)))?;
        Ok(status.is_some())
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// When its output cannot be read.
    pub async fn finish(mut self) -> Result<Finished, Failed> {
        let reading = |error: std::io::Error| Failed::new(format!("reading what the core prints: {error}"));
        let status = self.child.wait().await.map_err(Failed::io(format_args!("waiting for `{}`", self.command)))?;
        let (stdout, stderr) = tokio::join!(self.stdout, self.stderr);
        Ok(Finished {
            command: self.command,
            status,
            stdout: stdout.map_err(|error| reading(error.into()))?.map_err(reading)?,
            stderr: stderr.map_err(|error| reading(error.into()))?.map_err(reading)?,
            took: self.began.elapsed(),
        })
    }

    /// Waits for the end, at most this long.
    ///
    /// # Errors
    /// When it does not end; then it is killed.
    pub async fn finish_within(self, limit: Duration) -> Result<Finished, Failed> {
        let command = self.command.clone();
        let ended = tokio::time::timeout(limit, self.finish()).await;
        ended.unwrap_or_else(|_| Err(Failed::new(format!("`{command}` has not ended after {limit:?}"))))
    }
}

/// Variables of this process' environment that programs get.
pub(super) fn inherited() -> impl Iterator<Item = (&'static str, OsString)> {
    PASSED_ON.into_iter().filter_map(|name| std::env::var_os(name).map(|value| (name, value)))
}

/// util-linux' setpriv, where it is there, sets the parent-death signal before the program begins.
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
