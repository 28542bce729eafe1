//! One run of a core, and what it said.

use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::Command;

use crate::engines::Core;

/// What a finished run of a core left.
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
    pub fn succeeded(self) -> Result<Self> {
        if self.status.success() {
            return Ok(self);
        }
        bail!("`{}` failed ({}):\n{}\n{}", self.command, self.status, self.stdout.trim(), self.stderr.trim())
    }

    /// Standard output and error together.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}\n{}", self.stdout, self.stderr)
    }
}

/// Where a core runs: its directory, its environment.
#[derive(Debug)]
pub struct Invocation<'a> {
    /// Which core.
    pub core: &'a Core,
    /// The directory with the configuration.
    pub directory: &'a Path,
    /// Variables beyond the few that are passed on.
    pub environment: &'a [(String, String)],
    /// Whether each line is shown as it comes (the demo) or kept (tests).
    pub echo: Option<fn(&str)>,
}

/// Variables of this process that a core needs; everything else stays out, so that a developer's set-up cannot matter.
const PASSED_ON: [&str; 7] =
    ["PATH", "HOME", "TMPDIR", "LANG", "PXCI_PACKER", "PXCI_PACKER_PLUGIN", "PACKER_PLUGIN_PATH"];

impl Invocation<'_> {
    /// Runs the core with these words.
    ///
    /// The core dies with this process, whatever ends it.
    ///
    /// # Errors
    /// When it cannot be started; not when it fails.
    pub async fn run(&self, words: &[&str]) -> Result<Finished> {
        let began = Instant::now();
        let mut child =
            self.command(words).spawn().with_context(|| format!("starting {}", self.core.program.display()))?;
        let stdout = child.stdout.take().context("no standard output")?;
        let stderr = child.stderr.take().context("no standard error")?;
        let (stdout, stderr, status) =
            tokio::join!(collect(stdout, self.echo), collect(stderr, self.echo), child.wait());
        Ok(Finished {
            command: format!(
                "{} {}",
                self.core.program.file_name().unwrap_or_default().to_string_lossy(),
                words.join(" ")
            ),
            status: status.context("waiting for the core")?,
            stdout: stdout?,
            stderr: stderr?,
            took: began.elapsed(),
        })
    }

    /// The command, ready to start: tests that interrupt a core start it by themselves.
    #[must_use]
    pub fn command(&self, words: &[&str]) -> Command {
        // util-linux' setpriv sets the parent-death signal before the core begins.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(&self.core.program).args(words);
        command.current_dir(self.directory).env_clear();
        for name in PASSED_ON {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.env("CHECKPOINT_DISABLE", "1").env("TF_IN_AUTOMATION", "1").env("TF_INPUT", "0");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }
}

async fn collect(stream: impl AsyncRead + Unpin, echo: Option<fn(&str)>) -> Result<String> {
    let mut lines = BufReader::new(stream).lines();
    let mut text = String::new();
    while let Some(line) = lines.next_line().await.context("reading the core's output")? {
        if let Some(echo) = echo {
            echo(&line);
        }
        text.push_str(&line);
        text.push('\n');
    }
    Ok(text)
}
