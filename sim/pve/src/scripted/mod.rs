//! Scripted guests: they answer immediately and run no programs on this vm.

mod commands;
mod network;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use network::Leases;
use sim_backend::{
    AgentCall, AgentError, AgentReply, Backend, ContainerSetup, ContainerStart, Events, GuestEvent, GuestEventKind,
    NetworkCard, Stream, VmStart,
};

/// When a scripted guest's agent answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Boot {
    /// As soon as a VM with an enabled agent starts.
    AtOnce,
    /// Only after [`Scripted::boot`].
    OnRequest,
}

#[derive(Debug, Default)]
struct Vm {
    events: Option<Events>,
    agent: bool,
    up: bool,
    cards: Vec<NetworkCard>,
    files: BTreeMap<String, Vec<u8>>,
    exits: HashMap<u32, (Duration, AgentReply)>,
}

impl Vm {
    fn now(&self) -> Duration {
        self.events.as_ref().map_or(Duration::ZERO, Events::now)
    }
}

/// Plays the program behind the console of a container, which is passed as it was started.
#[derive(Clone)]
struct Consoles(Arc<dyn Fn(ContainerStart, DuplexStream) + Send + Sync>);

impl std::fmt::Debug for Consoles {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Consoles")
    }
}

#[derive(Debug, Default)]
struct Guests {
    vms: HashMap<u32, Vm>,
    /// VMs that were suspended to disk, with their memory.
    suspended: HashMap<u32, Vm>,
    leases: Leases,
    containers: HashMap<u32, ContainerStart>,
    /// Lines on each console since the guest's last start.
    consoles: HashMap<u32, Vec<String>>,
    disks: HashSet<String>,
    variables: HashMap<u32, BTreeMap<String, String>>,
    next_pid: u32,
}

/// Largest number of lines on a console.
const CONSOLE_LINES: usize = 1000;

impl Guests {
    fn print(&mut self, vmid: u32, line: &str) {
        let lines = self.consoles.entry(vmid).or_default();
        if lines.len() < CONSOLE_LINES {
            lines.push(line.to_owned());
        }
    }
}

/// The backend of tests that run no guests on this vm.
#[derive(Debug, Clone)]
pub struct Scripted {
    guests: Arc<Mutex<Guests>>,
    boot: Boot,
    consoles: Option<Consoles>,
}

impl Scripted {
    /// Creates a backend without running guests.
    #[must_use]
    pub fn new(boot: Boot) -> Self {
        Self { guests: Arc::default(), boot, consoles: None }
    }

    /// Connects the consoles of running containers to `play` instead of a shell.
    #[must_use]
    pub fn with_consoles(self, play: impl Fn(ContainerStart, DuplexStream) + Send + Sync + 'static) -> Self {
        Self { consoles: Some(Consoles(Arc::new(play))), ..self }
    }

    /// Writes a line on a guest's console.
    pub fn print(&self, vmid: u32, line: &str) {
        self.guests().print(vmid, line);
    }

    fn guests(&self) -> MutexGuard<'_, Guests> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finishes a VM's boot: its agent answers and it reacts to the power button.
    pub fn boot(&self, vmid: u32) {
        let mut guests = self.guests();
        if let Some(vm) = guests.vms.get_mut(&vmid) {
            vm.up = true;
            let agent = vm.agent;
            if agent {
                send_event(vm, vmid, GuestEventKind::AgentUp);
            }
            guests.print(vmid, if agent { "booted; the guest agent answers" } else { "booted" });
        }
    }

    /// Returns the contents of a file that was written by a VM's agent.
    #[must_use]
    pub fn file(&self, vmid: u32, path: &str) -> Option<Vec<u8>> {
        self.guests().vms.get(&vmid)?.files.get(path).cloned()
    }

    /// Makes a VM power itself off.
    pub fn power_off(&self, vmid: u32) {
        let mut guests = self.guests();
        if let Some(vm) = guests.vms.remove(&vmid) {
            send_event(&vm, vmid, GuestEventKind::PoweredOff);
            guests.print(vmid, "powered off");
        }
    }

    fn run(&self, vmid: u32, command: &[String], input: &[u8]) -> Result<AgentReply, AgentError> {
        let program = command.first().map_or("", String::as_str);
        let Some(end) = commands::run(command, input) else {
            let text = format!(
                "Guest agent command failed, error was 'Failed to execute child process \u{201c}{program}\u{201d} (No such file or directory)'"
            );
            return Err(AgentError::Refused(text));
        };
        let script = command.get(2).map_or("", String::as_str);
        let seconds = script
            .strip_prefix("sleep ")
            .and_then(|rest| rest.split(';').next()?.trim().parse::<f64>().ok())
            .unwrap_or(0.0);
        let mut guests = self.guests();
        guests.next_pid += 1;
        // The complete command could contain a secret.
        guests.print(vmid, &format!("agent: ran {program}"));
        let pid = 500 + guests.next_pid;
        if let Some(vm) = guests.vms.get_mut(&vmid) {
            let ready = vm.now() + Duration::from_secs_f64(seconds);
            vm.exits.insert(pid, (ready, end));
        }
        Ok(AgentReply::Pid(pid))
    }
}

fn send_event(vm: &Vm, vmid: u32, kind: GuestEventKind) {
    if let Some(events) = &vm.events {
        events.send(GuestEvent { vmid, kind });
    }
}

impl Backend for Scripted {
    fn disk_create<'a>(&'a self, volume: &'a str) -> BoxFuture<'a, io::Result<()>> {
        self.guests().disks.insert(volume.to_owned());
        async { Ok(()) }.boxed()
    }

    fn disk_clone<'a>(&'a self, _from: &'a str, to: &'a str, _linked: bool) -> BoxFuture<'a, io::Result<()>> {
        self.disk_create(to)
    }

    fn disk_rename<'a>(&'a self, from: &'a str, to: &'a str) -> BoxFuture<'a, io::Result<()>> {
        self.guests().disks.remove(from);
        self.disk_create(to)
    }

    fn disk_delete<'a>(&'a self, volume: &'a str) -> BoxFuture<'a, io::Result<()>> {
        self.guests().disks.remove(volume);
        async { Ok(()) }.boxed()
    }

    fn vm_start<'a>(&'a self, start: VmStart, events: Events) -> BoxFuture<'a, Result<(), String>> {
        let vmid = start.vmid;
        let mut guests = self.guests();
        let kept = guests.suspended.remove(&vmid).filter(|_| start.resume);
        let (up, line) = match &kept {
            Some(vm) => (vm.up, "resumed"),
            None => (self.boot == Boot::AtOnce, "powered on"),
        };
        let vm = Vm { events: Some(events), agent: start.agent, cards: start.networks, ..kept.unwrap_or_default() };
        guests.vms.insert(vmid, vm);
        guests.consoles.insert(vmid, vec![format!("{}: {line}", start.name)]);
        drop(guests);
        if up {
            self.boot(vmid);
        }
        async { Ok(()) }.boxed()
    }

    fn vm_shutdown(&self, vmid: u32) -> BoxFuture<'_, ()> {
        let up = self.guests().vms.get(&vmid).is_some_and(|vm| vm.up);
        if up {
            self.power_off(vmid);
        }
        async {}.boxed()
    }

    fn vm_stop(&self, vmid: u32) -> BoxFuture<'_, ()> {
        let mut guests = self.guests();
        if guests.vms.remove(&vmid).is_some() {
            guests.print(vmid, "the power was cut");
        }
        async {}.boxed()
    }

    fn can_suspend(&self) -> bool {
        true
    }

    fn vm_suspend(&self, vmid: u32) -> BoxFuture<'_, ()> {
        let mut guests = self.guests();
        if let Some(vm) = guests.vms.remove(&vmid) {
            guests.suspended.insert(vmid, vm);
            guests.print(vmid, "suspended to disk");
        }
        async {}.boxed()
    }

    fn cards_changed(&self, vmid: u32, cards: Vec<NetworkCard>) {
        let mut guests = self.guests();
        if let Some(vm) = guests.vms.get_mut(&vmid) {
            vm.cards = cards;
        } else if let Some(container) = guests.containers.get_mut(&vmid) {
            container.setup.networks = cards;
        }
    }

    fn vm_key<'a>(&'a self, _vmid: u32, _key: &'a str) -> BoxFuture<'a, ()> {
        async {}.boxed()
    }

    fn agent(&self, vmid: u32, call: AgentCall) -> BoxFuture<'_, Result<AgentReply, AgentError>> {
        async move {
            if !self.guests().vms.get(&vmid).is_some_and(|vm| vm.up && vm.agent) {
                return Err(AgentError::NotRunning);
            }
            match call {
                AgentCall::Exec { command, input } => self.run(vmid, &command, &input),
                call => self.simple(vmid, call),
            }
        }
        .boxed()
    }

    fn console(&self, vmid: u32) -> Vec<String> {
        self.guests().consoles.get(&vmid).cloned().unwrap_or_default()
    }

    fn container_create<'a>(
        &'a self,
        rootfs: &'a str,
        template: PathBuf,
        _setup: ContainerSetup,
    ) -> BoxFuture<'a, Result<(), String>> {
        self.guests().disks.insert(rootfs.to_owned());
        async move {
            let bytes = std::fs::read(template).map_err(|error| error.to_string())?;
            if bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
                Ok(())
            } else {
                Err("tar failed: exit code 2".to_owned())
            }
        }
        .boxed()
    }

    fn container_start<'a>(&'a self, start: ContainerStart, _events: Events) -> BoxFuture<'a, Result<(), String>> {
        let mut guests = self.guests();
        guests.consoles.insert(start.vmid, vec![format!("{}: started", start.setup.hostname)]);
        guests.containers.insert(start.vmid, start);
        drop(guests);
        async { Ok(()) }.boxed()
    }

    fn container_stop(&self, vmid: u32) -> BoxFuture<'_, ()> {
        let mut guests = self.guests();
        if guests.containers.remove(&vmid).is_some() {
            guests.print(vmid, "stopped");
        }
        drop(guests);
        async {}.boxed()
    }

    fn container_interfaces(&self, vmid: u32) -> BoxFuture<'_, Option<serde_json::Value>> {
        let mut guests = self.guests();
        let cards = guests.containers.get(&vmid).map(|start| start.setup.networks.clone());
        let listed = cards.map(|cards| network::as_ip_lists(&cards, &mut guests.leases));
        async { listed }.boxed()
    }

    fn container_console(&self, vmid: u32) -> BoxFuture<'_, io::Result<Box<dyn Stream>>> {
        let (ours, theirs) = tokio::io::duplex(64 << 10);
        if let Some(Consoles(play)) = &self.consoles {
            let Some(start) = self.guests().containers.get(&vmid).cloned() else {
                return async { Err(io::ErrorKind::NotConnected.into()) }.boxed();
            };
            play(start, theirs);
            return async move { Ok(Box::new(ours) as Box<dyn Stream>) }.boxed();
        }
        let player = self.clone();
        tokio::spawn(async move {
            let _ = player.play_shell(vmid, theirs).await;
        });
        async move { Ok(Box::new(ours) as Box<dyn Stream>) }.boxed()
    }
}

const BANNER: &str = "\r\r\n\r\r\nBusyBox v1.37.0 (Debian 1:1.37.0-6+b9) built-in shell (ash)\r\r\nEnter 'help' for a list of built-in commands.\r\r\n\r\r\n";
const PROMPT: &str = "/ # \x1b[6n";

impl Scripted {
    fn simple(&self, vmid: u32, call: AgentCall) -> Result<AgentReply, AgentError> {
        let mut guests = self.guests();
        let Some(vm) = guests.vms.get_mut(&vmid) else { return Err(AgentError::NotRunning) };
        match call {
            AgentCall::ExecStatus { pid } => match vm.exits.get(&pid) {
                None => Err(AgentError::Refused("PID ld does not exist".to_owned())),
                Some((ready, _)) if *ready > vm.now() => {
                    Ok(AgentReply::Exited { exited: false, code: None, signal: None, out: Vec::new(), err: Vec::new() })
                }
                Some((_, reply)) => {
                    let reply = reply.clone();
                    vm.exits.remove(&pid);
                    Ok(reply)
                }
            },
            AgentCall::FileRead { path } if path == "/etc/passwd" => {
                Ok(AgentReply::Content(b"root:x:0:0:root:/root:/bin/bash\n".to_vec()))
            }
            AgentCall::FileRead { path } => {
                let missing = || {
                    AgentError::Refused(format!("failed to open file '{path}' (mode: 'r'): No such file or directory"))
                };
                vm.files.get(&path).cloned().map(AgentReply::Content).ok_or_else(missing)
            }
            AgentCall::FileWrite { path, content } => {
                if let Some(reason) = unwritable(&path) {
                    return Err(AgentError::Refused(format!("failed to open file '{path}' (mode: 'wb'): {reason}")));
                }
                let line = format!("agent: wrote {path} ({} bytes)", content.len());
                vm.files.insert(path, content);
                guests.print(vmid, &line);
                Ok(AgentReply::Done)
            }
            AgentCall::Interfaces => {
                let cards = vm.cards.clone();
                Ok(AgentReply::Json(network::as_agent_lists(&cards, &mut guests.leases)))
            }
            AgentCall::OsInfo | AgentCall::Exec { .. } => Ok(AgentReply::Json(json!({
                "id": "debian", "kernel-release": "6.12.107+deb13-cloud-amd64",
                "kernel-version": "#1 SMP PREEMPT_DYNAMIC Debian 6.12.107-1 (2026-08-29)", "machine": "x86_64", "name": "Debian GNU/Linux",
                "pretty-name": "Debian GNU/Linux 13 (trixie)", "version": "13 (trixie)", "version-id": "13",
            }))),
        }
    }

    async fn play_shell(&self, vmid: u32, mut terminal: DuplexStream) -> io::Result<()> {
        terminal.write_all(format!("{BANNER}{PROMPT}").as_bytes()).await?;
        let mut line = String::new();
        let mut buffer = [0_u8; 1024];
        loop {
            let count = terminal.read(&mut buffer).await?;
            if count == 0 {
                return Ok(());
            }
            for byte in &buffer[..count] {
                if *byte != b'\n' && *byte != b'\r' {
                    terminal.write_all(&[*byte]).await?;
                    line.push(char::from(*byte));
                    continue;
                }
                terminal.write_all(b"\r\r\n").await?;
                let command = std::mem::take(&mut line);
                if command == "exit" {
                    return Ok(());
                }
                let answer = self.answer(vmid, &command);
                terminal.write_all(format!("{}{PROMPT}", answer.replace('\n', "\r\r\n")).as_bytes()).await?;
            }
        }
    }

    fn answer(&self, vmid: u32, command: &str) -> String {
        let mut guests = self.guests();
        let variables = guests.variables.entry(vmid).or_default();
        let mut status = 0;
        let mut out = String::new();
        for part in command.split(';').map(str::trim).filter(|part| !part.is_empty()) {
            if let Some((name, value)) = part.split_once('=').filter(|(name, _)| !name.contains(' ')) {
                variables.insert(name.to_owned(), value.to_owned());
            } else if let Some(text) = part.strip_prefix("echo ") {
                let shown = text.strip_prefix('$').map_or(Some(text.to_owned()), |name| variables.get(name).cloned());
                out.push_str(&format!("{}\n", shown.unwrap_or_default()));
            } else if part.starts_with("printf 'DO%s:%s") {
                out.push_str(&format!("DONE:{status}\n"));
            } else if let Some(path) = part.strip_prefix("ls ") {
                out.push_str(&format!("ls: {path}: No such file or directory\n"));
                status = 1;
            } else {
                out.push_str(match part {
                    "pwd" => "/\n",
                    "id" => "uid=0(root) gid=0(root)\n",
                    "env" => "SHLVL=1\ncontainer=lxc\nTERM=linux\nPATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nPWD=/\n",
                    "stty size" => "40 120\n",
                    "tty" => "/dev/pts/3\n",
                    _ => "",
                });
            }
        }
        out
    }
}

/// Returns the reason why a file cannot be written. A scripted guest has the usual top-level directories, and every
/// directory below them.
fn unwritable(path: &str) -> Option<&'static str> {
    const TOP: [&str; 13] =
        ["boot", "dev", "etc", "home", "media", "mnt", "opt", "root", "run", "srv", "tmp", "usr", "var"];
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    match (parts.next(), parts.next()) {
        (None, _) => Some("Is a directory"),
        (Some(name), None) => TOP.contains(&name).then_some("Is a directory"),
        (Some(name), Some(_)) => (!TOP.contains(&name)).then_some("No such file or directory"),
    }
}
