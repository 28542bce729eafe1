//! Containers: a root directory that was unpacked from a template, started in namespaces.
//!
//! The container's own init does not run: its `inittab` is read here, `sysinit` lines run but for those that set up a
//! network card, `respawn` lines run but for `getty`. So a container's init and its DHCP are not proven by a run here.

use std::fs::File;
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use super::disks::Disks;
use super::host;
use super::log::Log;
use super::sandbox::{Kind, Sandbox};
use super::state::State;
use super::terminal::Terminal;
use crate::backend::{ContainerStart, Events, GuestEvent, GuestEventKind};

/// A started container.
#[derive(Debug, Clone)]
pub(super) struct Container {
    sandbox: Arc<Sandbox>,
    log: Log,
}

impl Container {
    /// Starts a container; returns when its first process runs.
    pub(super) async fn start(
        start: &ContainerStart,
        state: &State,
        disks: &Disks,
        events: Events,
    ) -> io::Result<Self> {
        let root = disks.existing(&start.rootfs)?.directory();
        let mounts = start
            .mounts
            .iter()
            .map(|(volume, path)| disks.existing(volume).map(|disk| (disk.directory(), path.clone())));
        let kind = Kind::Container {
            inittab: inittab(
                &std::fs::read_to_string(state.path().join(&root).join("etc/inittab")).unwrap_or_default(),
            ),
            mounts: mounts.collect::<io::Result<_>>()?,
            root,
            name: start.hostname.clone(),
            resolver: std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default(),
        };
        let log = Log::default();
        let sandbox = Arc::new(Sandbox::start(state, &kind, &log).await?);
        let (watched, vmid) = (Arc::downgrade(&sandbox), start.vmid);
        let ended = sandbox.end_watch();
        tokio::spawn(async move {
            ended.await;
            let stopped_by_host = watched.upgrade().is_none_or(|sandbox| sandbox.was_killed());
            if !stopped_by_host {
                // A world that is gone needs no events.
                events.send(GuestEvent { vmid, kind: GuestEventKind::PoweredOff });
            }
        });
        Ok(Self { sandbox, log })
    }

    pub(super) async fn stop(&self) {
        self.sandbox.kill().await;
    }

    pub(super) fn log(&self) -> Vec<String> {
        self.log.lines()
    }

    /// Root's login shell, from the container's own list of users, behind a terminal.
    pub(super) fn console(&self) -> io::Result<Terminal> {
        let users = std::fs::read_to_string(self.sandbox.outside("/etc/passwd"))?;
        let shell = login_shell(&users).ok_or_else(|| io::Error::other("root has no login shell"))?;
        let mut command = self.sandbox.command_on_terminal(shell);
        command.env("TERM", "linux").env("container", "lxc");
        Terminal::start(command)
    }
}

/// Unpacks a template into an empty directory.
pub(super) fn unpack(template: &Path, directory: &Path) -> io::Result<()> {
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

/// The lines that run here, as `action command`.
fn inittab(text: &str) -> Vec<String> {
    let runs = |line: &str| {
        let mut fields = line.splitn(4, ':');
        let (_, _, action, command) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?.trim());
        let left_out =
            command.contains("getty") || command.contains("ifup") || command.is_empty() || line.starts_with('#');
        (["sysinit", "respawn"].contains(&action) && !left_out).then(|| format!("{action} {command}"))
    };
    text.lines().filter_map(runs).collect()
}

fn login_shell(users: &str) -> Option<&str> {
    users.lines().find(|line| line.starts_with("root:"))?.rsplit(':').next().filter(|shell| !shell.is_empty())
}

#[cfg(test)]
mod tests {
    use super::{inittab, login_shell};

    #[test]
    fn programs_run_but_terminals_and_network_cards_do_not() {
        let text = "# ::respawn:/bin/no\n::sysinit:/bin/mkdir -p /run/x\n::sysinit:/sbin/ifup -a\n::respawn:/usr/bin/dispatcher run\ntty1::respawn:/sbin/getty 38400 tty1\n::ctrlaltdel:/sbin/reboot\n";
        assert_eq!(inittab(text), ["sysinit /bin/mkdir -p /run/x", "respawn /usr/bin/dispatcher run"]);
    }

    #[test]
    fn the_login_shell_is_the_last_field() {
        assert_eq!(
            login_shell("daemon:x:1:1::/:/bin/false\nroot:x:0:0:root:/root:/usr/bin/console\n"),
            Some("/usr/bin/console")
        );
        assert_eq!(login_shell("root:x:0:0:root:/root:\n"), None);
    }
}
