//! The namespaces of one running guest, and the commands that run inside.

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::watch;

use super::host;
use super::lifeline::Watcher;
use super::log::Log;
use super::state::State;

/// Script of the first process of a guest. It describes its arguments.
const SCRIPT: &str = include_str!("sandbox.sh");
/// Search path of systemd's services.
pub(super) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Number of users of a guest that belongs to root.
const USERS: u32 = 65_536;

/// The parts of a guest.
#[derive(Debug)]
pub(super) enum Kind {
    /// A VM.
    Vm {
        /// Options of the overlay that is its disk ([`super::state::Disk::overlay_options`]).
        overlay: String,
    },
    /// A container.
    Container {
        /// Process that holds the user namespace of its node.
        node: Pid,
        /// Root directory.
        root: String,
        /// Mounted directories, each with its path inside.
        mounts: Vec<(String, String)>,
        /// Host name.
        name: String,
        /// Number of terminals.
        terminals: u32,
    },
}

/// The end of a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// All processes of the guest have ended.
    PoweredOff,
    /// The guest asked for a reboot.
    Rebooted,
}

/// A running guest.
#[derive(Debug)]
pub(super) struct Sandbox {
    first_process: Pid,
    has_network: bool,
    killed: AtomicBool,
    ended: watch::Receiver<Option<End>>,
}

/// A guest whose file system is complete and whose own programs do not run yet.
#[derive(Debug)]
pub(super) struct Prepared {
    child: Child,
    input: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    first_process: Pid,
    has_network: bool,
}

impl Sandbox {
    /// Starts the namespaces of a VM. Returns when the guest's own file system is its root.
    ///
    /// # Errors
    /// Errors of the host, with the last line of the first process.
    pub(super) async fn start(state: &State, kind: &Kind, log: &Log) -> io::Result<Self> {
        Prepared::make(state, kind, log).await?.run(log).await
    }

    /// Returns a command inside the guest. It runs as root in `/`, with systemd's search path as its only environment
    /// variable.
    pub(super) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        self.enter(&mut command, program);
        // The command has its own process group. The kernel hangs up a whole orphaned group if one process of it ends
        // while another one is stopped. The simulator must not be in such a group.
        command.process_group(0);
        command
    }

    /// Returns a command like [`Sandbox::command`] whose standard input is its controlling terminal.
    pub(super) fn command_on_terminal(&self, program: &str) -> Command {
        let mut command = Command::new("setsid");
        command.args(["--ctty", "nsenter"]);
        self.enter(&mut command, program);
        command
    }

    fn enter(&self, command: &mut Command, program: &str) {
        command
            .args(["--user", "--mount", "--pid", "--uts", "--ipc", "--target"])
            .arg(self.first_process.as_raw_nonzero().to_string());
        if self.has_network {
            command.arg("--net");
        }
        command.arg("--").arg(program).env_clear().env("PATH", PATH);
        command.stdin(Stdio::null()).kill_on_drop(true);
    }

    /// Returns a command for a program of this machine in the guest's network.
    pub(super) fn network_command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--user", "--net", "--target"]).arg(self.first_process.as_raw_nonzero().to_string());
        command.arg("--").args(words).env_clear().env("PATH", PATH).process_group(0).kill_on_drop(true);
        command
    }

    /// Runs a shell script inside the guest with arguments and `input`. The caller checks the exit status.
    pub(super) async fn script(&self, script: &str, arguments: &[&str], input: &[u8]) -> io::Result<Output> {
        let mut command = self.command("/bin/sh");
        command.args(["-euc", script, "sh"]).args(arguments);
        run(command, input).await
    }

    /// Runs a shell script that must succeed, and returns its standard output.
    pub(super) async fn must(&self, what: &str, script: &str, arguments: &[&str], input: &[u8]) -> io::Result<String> {
        let output = self.script(script, arguments, input).await?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(io::Error::other(format!("{what}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim())))
    }

    /// Returns the host's path of the guest's file `path`. A symbolic link in it would lead to a file of the host.
    pub(super) fn outside(&self, path: &str) -> std::path::PathBuf {
        format!("/proc/{}/root{path}", self.first_process.as_raw_nonzero()).into()
    }

    /// Sends a signal to the guest's first process, unless it has ended, because its number may then belong to another
    /// process.
    pub(super) fn signal(&self, signal: Signal) {
        if !self.has_ended() {
            // The process may have ended in between.
            let _ = kill_process(self.first_process, signal);
        }
    }

    /// Returns true if no process of the guest runs any more.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.borrow().is_some()
    }

    /// Ends the guest at once. Returns when none of its processes runs.
    pub(super) async fn kill(&self) {
        self.cut();
        self.ended().await;
    }

    fn cut(&self) {
        if !self.has_ended() {
            self.killed.store(true, Ordering::SeqCst);
            self.signal(Signal::KILL);
        }
    }

    /// Returns true if the simulator ended the guest.
    pub(super) fn was_killed(&self) -> bool {
        self.killed.load(Ordering::SeqCst)
    }

    /// Waits for the guest's end.
    pub(super) async fn ended(&self) -> End {
        self.end_watch().await
    }

    /// Waits like [`Sandbox::ended`], without keeping the guest.
    pub(super) fn end_watch(&self) -> impl Future<Output = End> + Send + use<> {
        let mut ended = self.ended.clone();
        async move {
            let end = ended.wait_for(Option::is_some).await.map_or(Some(End::PoweredOff), |end| *end);
            end.unwrap_or(End::PoweredOff)
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.cut();
    }
}

/// Runs a command to its end with `input` on its standard input.
pub(super) async fn run(mut command: Command, input: &[u8]) -> io::Result<Output> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let pipe = child.stdin.take();
    let feed = async {
        if let Some(mut pipe) = pipe {
            // A program need not read its input.
            let _ = pipe.write_all(input).await;
        }
    };
    let ((), output) = tokio::join!(feed, child.wait_with_output());
    output
}

impl Prepared {
    /// Makes the namespaces and the file system.
    ///
    /// # Errors
    /// Errors of the host, with the last line of the first process.
    pub(super) async fn make(state: &State, kind: &Kind, log: &Log) -> io::Result<Self> {
        let mut child = spawn(state, kind)?;
        let (Some(input), Some(output), Some(errors)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(io::Error::other("no pipes to the guest's first process"));
        };
        log.follow(errors);
        let mut lines = BufReader::new(output).lines();
        match pivot(&mut child, input, &mut lines, matches!(kind, Kind::Vm { .. })).await {
            Ok((input, first_process)) => {
                Ok(Self { child, input, lines, first_process, has_network: matches!(kind, Kind::Container { .. }) })
            }
            Err(error) => {
                // Killing a process that has ended already is not a failure.
                let _ = child.kill().await;
                Err(log.explain(error))
            }
        }
    }

    /// Returns the number of the guest's first process on this machine.
    pub(super) fn first_process(&self) -> Pid {
        self.first_process
    }

    /// Starts the guest's own programs.
    ///
    /// # Errors
    /// Errors of the host, with the last line of the first process.
    pub(super) async fn run(mut self, log: &Log) -> io::Result<Sandbox> {
        // A container's first process becomes its init, which does not watch a pipe. Until then, the pipe is its
        // lifeline.
        let watcher = match (self.has_network, self.child.id()) {
            (true, Some(number)) => Some(Watcher::over(number)?),
            _ => None,
        };
        self.input.write_all(b"go\n").await?;
        let line = self.lines.next_line().await?;
        line.filter(|line| line == "running").ok_or_else(|| log.explain(gone()))?;
        let Self { mut child, input, mut lines, first_process, has_network } = self;
        let (tell, ended) = watch::channel(None);
        let log = log.clone();
        tokio::spawn(async move {
            let _lifeline = input;
            while let Ok(Some(line)) = lines.next_line().await {
                log.say(&line);
            }
            let end = child.wait().await.map_or(End::PoweredOff, |status| end_of(&status));
            if let Some(watcher) = watcher
                && let Err(error) = watcher.release().await
            {
                log.say(&format!("watcher: {error}"));
            }
            // The receiver may no longer exist.
            let _ = tell.send(Some(end));
        });
        Ok(Sandbox { first_process, has_network, killed: AtomicBool::new(false), ended })
    }
}

fn spawn(state: &State, kind: &Kind) -> io::Result<Child> {
    let mut command = match kind {
        Kind::Vm { .. } => {
            let mut command = Command::new("unshare");
            if host::is_root() {
                command.arg("--user");
            } else {
                command.args(host::MAPPED);
            }
            command
        }
        Kind::Container { node, .. } => {
            let mut command = Command::new("nsenter");
            command.args(["--user", "--target"]).arg(node.as_raw_nonzero().to_string());
            command.args(["--", "unshare", "--net"]);
            command
        }
    };
    command.args(["--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child", "--"]);
    // The process becomes root with its next program, once users are mapped.
    command.args(["sh", "-c", "echo unshared; read -r _; exec sh -c \"$@\"", "sh", SCRIPT, "pxci-guest"]);
    let place = format!("run/{}", state.number());
    match kind {
        Kind::Vm { overlay } => {
            command.arg("vm").arg(state.path()).arg(place).arg(overlay);
        }
        Kind::Container { root, mounts, name, terminals, .. } => {
            let mounts: Vec<String> = mounts.iter().map(|(directory, path)| format!("{directory} {path}")).collect();
            command.arg("container").arg(state.path()).arg(place).arg(root);
            command.arg(mounts.join("\n")).arg(name).arg(terminals.to_string());
        }
    }
    command
        .env_clear()
        .env("PATH", PATH)
        .env("HOME", "/")
        .env("TERM", "linux")
        .env("SHELL", "/bin/sh")
        .env("USER", "root");
    // The process has its own process group, so that Ctrl-C reaches the simulator and not its guests.
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
    command.spawn()
}

/// Maps the users of a user namespace that root made. In other user namespaces, they are mapped already.
pub(super) fn map_users(child: &Child) -> io::Result<()> {
    if host::is_root() {
        let number = child.id().ok_or_else(gone)?;
        for map in ["gid_map", "uid_map"] {
            std::fs::write(format!("/proc/{number}/{map}"), format!("0 0 {USERS}\n"))?;
        }
    }
    Ok(())
}

fn gone() -> io::Error {
    io::Error::other("the guest's first process ended")
}

/// Lets the first process continue until the guest's file system is its root. Returns its input and its number.
async fn pivot(
    child: &mut Child,
    mut input: ChildStdin,
    lines: &mut Lines<BufReader<ChildStdout>>,
    has_own_users: bool,
) -> io::Result<(ChildStdin, Pid)> {
    lines.next_line().await?.filter(|line| line == "unshared").ok_or_else(gone)?;
    if has_own_users {
        map_users(child)?;
    }
    input.write_all(b"go\n").await?;
    let line = lines.next_line().await?.ok_or_else(gone)?;
    let number = line.strip_prefix("pivoted ").and_then(|number| number.parse().ok()).and_then(Pid::from_raw);
    let first_process = number.ok_or_else(gone)?;
    remove_old_root(first_process).await?;
    Ok((input, first_process))
}

/// Unmounts the old root. A process that enters the mount namespace sees the old root first, where `umount` is the
/// host's program.
async fn remove_old_root(first_process: Pid) -> io::Result<()> {
    let mut command = Command::new("nsenter");
    command.args(["--user", "--mount", "--target"]).arg(first_process.as_raw_nonzero().to_string());
    let output = command.args(["--", "umount", "--lazy", "/"]).env("PATH", PATH).output().await?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("umount: {}", String::from_utf8_lossy(&output.stderr).trim())))
}

/// The kernel reports a reboot call in a process namespace as the signal that ended its first process.
fn end_of(status: &ExitStatus) -> End {
    if status.signal() == Some(Signal::HUP.as_raw()) { End::Rebooted } else { End::PoweredOff }
}
