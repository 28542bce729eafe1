//! Containers: a root directory that was unpacked from a template, booted by its own init.
//!
//! The init is process 1 of its own process, mount, host name, IPC and network namespaces, and reads its `inittab`
//! unchanged. Before it starts, this module does the work of LXC: it mounts `/proc` and a private `/dev`, plugs in the
//! network cards, which are down, and makes Proxmox VE's edits of the files. The root directory survives a stop.
//! Namespaces and the container's own mounts do not.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::fs::{Mode, OFlags, open};
use rustix::process::{Pid, Signal};
use rustix::pty::unlockpt;

use super::disks::Disks;
use super::host;
use super::log::Log;
use super::network::Network;
use super::sandbox::{End, Kind, Prepared, Sandbox, run};
use super::setup;
use super::state::State;
use super::terminal::Terminal;
use sim_backend::{ContainerSetup, ContainerStart, Events, GuestEvent, GuestEventKind};

/// A started container.
#[derive(Debug, Clone)]
pub(super) struct Container {
    sandbox: Arc<Sandbox>,
    log: Log,
    /// True if the simulator has asked the container to halt. Its end is then not reported as an event.
    asked: Arc<AtomicBool>,
    _terminals: Arc<Vec<OwnedFd>>,
}

impl Container {
    /// Starts a container. Returns when its init runs.
    pub(super) async fn start(
        start: &ContainerStart,
        state: &State,
        disks: &Disks,
        network: &Network,
        events: Events,
    ) -> io::Result<Self> {
        let root = disks.existing(&start.rootfs)?.directory();
        setup::before_start(&state.path().join(&root), &start.setup)?;
        let mounts = start
            .mounts
            .iter()
            .map(|(volume, path)| disks.existing(volume).map(|disk| (disk.directory(), path.clone())));
        let kind = Kind::Container {
            node: network.holder(),
            mounts: mounts.collect::<io::Result<_>>()?,
            root,
            name: start.setup.hostname.clone(),
            terminals: start.setup.terminals,
        };
        let log = Log::default();
        let prepared = Prepared::make(state, &kind, &log).await?;
        network.plug(&start.setup.networks, prepared.first_process()).await?;
        let terminals = open_terminals(prepared.first_process(), start.setup.terminals)?;
        let sandbox = Arc::new(prepared.run(&log).await?);
        let asked = Arc::new(AtomicBool::new(false));
        report_end(&sandbox, &asked, start.vmid, events);
        Ok(Self { sandbox, log, asked, _terminals: Arc::new(terminals) })
    }

    pub(super) async fn stop(&self) {
        self.sandbox.kill().await;
    }

    /// Asks init to halt, as LXC does. Returns false if the container still runs after `limit`.
    pub(super) async fn shut_down(&self, limit: Duration) -> bool {
        self.asked.store(true, Ordering::SeqCst);
        self.sandbox.signal(Signal::POWER);
        let ended = tokio::time::timeout(limit, self.sandbox.ended()).await.is_ok();
        if !ended {
            self.asked.store(false, Ordering::SeqCst);
        }
        ended
    }

    pub(super) fn has_ended(&self) -> bool {
        self.sandbox.has_ended()
    }

    pub(super) fn log(&self) -> Vec<String> {
        self.log.lines()
    }

    /// Opens root's login shell, from the container's own list of users, behind a terminal.
    pub(super) fn console(&self) -> io::Result<Terminal> {
        let users = std::fs::read_to_string(self.sandbox.outside("/etc/passwd"))?;
        let shell = login_shell(&users).ok_or_else(|| io::Error::other("root has no login shell"))?;
        let mut command = self.sandbox.command_on_terminal(shell);
        command.env("TERM", "linux").env("container", "lxc");
        Terminal::start(command)
    }

    /// Runs a program inside the container to its end.
    pub(super) async fn attach(&self, words: &[&str]) -> io::Result<Output> {
        let (program, arguments) = words.split_first().ok_or_else(|| io::Error::other("no program is named"))?;
        let mut command = self.sandbox.command(program);
        command.args(arguments);
        run(command, b"").await
    }

    /// Returns the network interfaces, as `ip` lists them.
    pub(super) async fn interfaces(&self) -> io::Result<serde_json::Value> {
        let output = run(self.sandbox.network_command(&["ip", "-json", "address"]), b"").await?;
        serde_json::from_slice(&output.stdout).map_err(io::Error::other)
    }
}

/// Opens the pseudo-terminals behind `/dev/tty1` and so on, so that a getty can wait there.
fn open_terminals(first_process: Pid, count: u32) -> io::Result<Vec<OwnedFd>> {
    let multiplexer = format!("/proc/{}/root/dev/pts/ptmx", first_process.as_raw_nonzero());
    let terminal = |_| {
        let terminal = open(&multiplexer, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
        unlockpt(&terminal)?;
        Ok(terminal)
    };
    (0..count).map(terminal).collect()
}

/// Reports the container's end, unless the simulator has caused it.
fn report_end(sandbox: &Arc<Sandbox>, asked: &Arc<AtomicBool>, vmid: u32, events: Events) {
    let (watched, asked, ended) = (Arc::downgrade(sandbox), Arc::clone(asked), sandbox.end_watch());
    tokio::spawn(async move {
        let kind = match ended.await {
            End::PoweredOff => GuestEventKind::PoweredOff,
            End::Rebooted => GuestEventKind::Rebooted,
        };
        let stopped_by_host = watched.upgrade().is_none_or(|sandbox| sandbox.was_killed());
        if !stopped_by_host && !asked.load(Ordering::SeqCst) {
            // The receiver may no longer exist.
            events.send(GuestEvent { vmid, kind });
        }
    });
}

/// Unpacks a template into an empty directory and writes the container's files.
pub(super) fn create(template: &Path, directory: &Path, setup: &ContainerSetup) -> io::Result<()> {
    unpack(template, directory)?;
    setup::after_create(directory, setup)
}

/// Unpacks a template into an empty directory.
fn unpack(template: &Path, directory: &Path) -> io::Result<()> {
    let mut tar = host::as_root([
        "tar",
        "--extract",
        "--numeric-owner",
        "--preserve-permissions",
        "--exclude=./dev/*",
        "--directory",
    ]);
    let mut tar = tar.arg(directory).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let archive = File::open(template)?;
    let fed = match tar.stdin.take() {
        Some(pipe) => zstd::stream::copy_decode(archive, pipe),
        None => Ok(()),
    };
    let output = tar.wait_with_output()?;
    if !output.status.success() {
        return Err(io::Error::other(format!("tar: {}", String::from_utf8_lossy(&output.stderr).trim())));
    }
    fed
}

fn login_shell(users: &str) -> Option<&str> {
    users.lines().find(|line| line.starts_with("root:"))?.rsplit(':').next().filter(|shell| !shell.is_empty())
}

#[cfg(test)]
mod tests {
    use super::login_shell;

    #[test]
    fn the_login_shell_is_the_last_field() {
        assert_eq!(
            login_shell("daemon:x:1:1::/:/bin/false\nroot:x:0:0:root:/root:/usr/bin/console\n"),
            Some("/usr/bin/console")
        );
        assert_eq!(login_shell("root:x:0:0:root:/root:\n"), None);
    }
}
