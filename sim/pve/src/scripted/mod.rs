//! Guests that are only played: they answer at once and need nothing of the operating system.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use sim_backend::{
    AgentCall, AgentError, AgentReply, Backend, ContainerSetup, ContainerStart, Events, GuestEvent, GuestEventKind,
    Stream, VmStart,
};

/// When a played VM's agent answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Boot {
    /// As soon as the VM is powered on, where the agent is configured.
    AtOnce,
    /// Only when [`Scripted::boot`] says so.
    WhenTold,
}

#[derive(Debug, Default)]
struct Machine {
    events: Option<Events>,
    agent: bool,
    up: bool,
    files: BTreeMap<String, Vec<u8>>,
    exits: HashMap<u32, (Duration, AgentReply)>,
}

impl Machine {
    fn now(&self) -> Duration {
        self.events.as_ref().map_or(Duration::ZERO, Events::now)
    }
}

/// Plays what a container's console leads to, with the container as it was started.
#[derive(Clone)]
struct Consoles(Arc<dyn Fn(ContainerStart, DuplexStream) + Send + Sync>);

impl std::fmt::Debug for Consoles {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Consoles")
    }
}

#[derive(Debug, Default)]
struct Stage {
    machines: HashMap<u32, Machine>,
    containers: HashMap<u32, ContainerStart>,
    /// What consoles show since the guests' last starts.
    consoles: HashMap<u32, Vec<String>>,
    disks: HashSet<String>,
    variables: HashMap<u32, BTreeMap<String, String>>,
    next_pid: u32,
}

/// Lines that a console keeps.
const CONSOLE_LINES: usize = 1000;

impl Stage {
    fn print(&mut self, vmid: u32, line: &str) {
        let lines = self.consoles.entry(vmid).or_default();
        if lines.len() < CONSOLE_LINES {
            lines.push(line.to_owned());
        }
    }
}

/// The backend of tests that need no system.
#[derive(Debug, Clone)]
pub struct Scripted {
    stage: Arc<Mutex<Stage>>,
    boot: Boot,
    consoles: Option<Consoles>,
}

impl Scripted {
    /// Nothing runs yet.
    #[must_use]
    pub fn new(boot: Boot) -> Self {
        Self { stage: Arc::default(), boot, consoles: None }
    }

    /// Consoles of running containers lead to `play`, in place of a shell.
    #[must_use]
    pub fn with_consoles(self, play: impl Fn(ContainerStart, DuplexStream) + Send + Sync + 'static) -> Self {
        Self { consoles: Some(Consoles(Arc::new(play))), ..self }
    }

    /// Puts a line on a guest's console.
    pub fn print(&self, vmid: u32, line: &str) {
        self.stage().print(vmid, line);
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The guest's system is up: its agent answers and it heeds the power button.
    pub fn boot(&self, vmid: u32) {
        let mut stage = self.stage();
        if let Some(machine) = stage.machines.get_mut(&vmid) {
            machine.up = true;
            let agent = machine.agent;
            if agent {
                tell(machine, vmid, GuestEventKind::AgentUp);
            }
            stage.print(vmid, if agent { "booted; the guest agent answers" } else { "booted" });
        }
    }

    /// What was written into a guest's file by its agent.
    #[must_use]
    pub fn file(&self, vmid: u32, path: &str) -> Option<Vec<u8>> {
        self.stage().machines.get(&vmid)?.files.get(path).cloned()
    }

    /// The guest powers itself off.
    pub fn power_off(&self, vmid: u32) {
        let mut stage = self.stage();
        if let Some(machine) = stage.machines.remove(&vmid) {
            tell(&machine, vmid, GuestEventKind::PoweredOff);
            stage.print(vmid, "powered off");
        }
    }

    fn run(&self, vmid: u32, command: &[String], input: &[u8]) -> Result<AgentReply, AgentError> {
        let program = command.first().map_or("", String::as_str);
        let known = ["/bin/sh", "sh", "/bin/cat", "cat", "/bin/echo", "true", "/bin/true", "false", "/bin/false", "ls"];
        if !known.contains(&program) {
            let text = format!(
                "Guest agent command failed, error was 'Failed to execute child process \u{201c}{program}\u{201d} (No such file or directory)'"
            );
            return Err(AgentError::Refused(text));
        }
        let script = command.get(2).map_or("", String::as_str);
        let end = match program {
            "/bin/sh" | "sh" => shell(script),
            "/bin/cat" | "cat" => ended(0, input, b""),
            "/bin/echo" => ended(0, format!("{}\n", command[1..].join(" ")).as_bytes(), b""),
            "false" | "/bin/false" => ended(1, b"", b""),
            _ => ended(0, b"", b""),
        };
        let seconds = script
            .strip_prefix("sleep ")
            .and_then(|rest| rest.split(';').next()?.trim().parse::<f64>().ok())
            .unwrap_or(0.0);
        let mut stage = self.stage();
        stage.next_pid += 1;
        // Not the whole command: it may hold a secret.
        stage.print(vmid, &format!("agent: ran {program}"));
        let pid = 500 + stage.next_pid;
        if let Some(machine) = stage.machines.get_mut(&vmid) {
            let ready = machine.now() + Duration::from_secs_f64(seconds);
            machine.exits.insert(pid, (ready, end));
        }
        Ok(AgentReply::Pid(pid))
    }
}

fn tell(machine: &Machine, vmid: u32, kind: GuestEventKind) {
    if let Some(events) = &machine.events {
        events.send(GuestEvent { vmid, kind });
    }
}

fn ended(code: i32, out: &[u8], err: &[u8]) -> AgentReply {
    AgentReply::Exited { exited: true, code: Some(code), signal: None, out: out.to_vec(), err: err.to_vec() }
}

/// A few lines that a shell would run; everything else succeeds silently.
fn shell(script: &str) -> AgentReply {
    if script.contains("kill -9 $$") {
        return AgentReply::Exited { exited: true, code: None, signal: Some(9), out: Vec::new(), err: Vec::new() };
    }
    if let Some(count) = script.strip_prefix("head -c ").and_then(|rest| rest.split(' ').next()?.parse::<usize>().ok())
    {
        return ended(0, &vec![b'a'; count], b"");
    }
    if script.starts_with('/') && !script.contains(' ') {
        return ended(127, b"", format!("/bin/sh: {script}: not found\n").as_bytes());
    }
    let (mut out, mut err, mut code) = (Vec::new(), Vec::new(), 0);
    for part in script.split(';').map(str::trim) {
        if let Some(text) = part.strip_prefix("echo ") {
            match text.strip_suffix(" >&2") {
                Some(text) => err.extend_from_slice(format!("{text}\n").as_bytes()),
                None => out.extend_from_slice(format!("{text}\n").as_bytes()),
            }
        }
        if let Some(text) = part.strip_prefix("printf \"").and_then(|p| p.strip_suffix('"')) {
            out.extend(escapes(text));
        }
        if let Some(number) = part.strip_prefix("exit ") {
            code = number.parse().unwrap_or(0);
        }
    }
    ended(code, &out, &err)
}

/// `\377`, `\n`.
fn escapes(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        rest = &rest[at + 1..];
        let digits: String = rest.chars().take(3).take_while(|c| c.is_digit(8)).collect();
        if digits.is_empty() {
            out.push(if rest.starts_with('n') { b'\n' } else { b'\\' });
            rest = rest.get(1..).unwrap_or_default();
        } else {
            out.push(u8::try_from(u32::from_str_radix(&digits, 8).unwrap_or(0)).unwrap_or(0));
            rest = &rest[digits.len()..];
        }
    }
    out.extend_from_slice(rest.as_bytes());
    out
}

impl Backend for Scripted {
    fn disk_create<'a>(&'a self, volume: &'a str) -> BoxFuture<'a, io::Result<()>> {
        self.stage().disks.insert(volume.to_owned());
        async { Ok(()) }.boxed()
    }

    fn disk_clone<'a>(&'a self, _from: &'a str, to: &'a str, _linked: bool) -> BoxFuture<'a, io::Result<()>> {
        self.disk_create(to)
    }

    fn disk_rename<'a>(&'a self, from: &'a str, to: &'a str) -> BoxFuture<'a, io::Result<()>> {
        self.stage().disks.remove(from);
        self.disk_create(to)
    }

    fn disk_delete<'a>(&'a self, volume: &'a str) -> BoxFuture<'a, io::Result<()>> {
        self.stage().disks.remove(volume);
        async { Ok(()) }.boxed()
    }

    fn vm_start<'a>(&'a self, start: VmStart, events: Events) -> BoxFuture<'a, Result<(), String>> {
        let machine = Machine { events: Some(events), agent: start.agent, ..Machine::default() };
        let mut stage = self.stage();
        stage.machines.insert(start.vmid, machine);
        stage.consoles.insert(start.vmid, vec![format!("{}: powered on", start.name)]);
        drop(stage);
        if self.boot == Boot::AtOnce {
            self.boot(start.vmid);
        }
        async { Ok(()) }.boxed()
    }

    fn vm_shutdown(&self, vmid: u32) -> BoxFuture<'_, ()> {
        let up = self.stage().machines.get(&vmid).is_some_and(|machine| machine.up);
        if up {
            self.power_off(vmid);
        }
        async {}.boxed()
    }

    fn vm_stop(&self, vmid: u32) -> BoxFuture<'_, ()> {
        let mut stage = self.stage();
        if stage.machines.remove(&vmid).is_some() {
            stage.print(vmid, "the power was cut");
        }
        async {}.boxed()
    }

    fn vm_key<'a>(&'a self, _vmid: u32, _key: &'a str) -> BoxFuture<'a, ()> {
        async {}.boxed()
    }

    fn agent(&self, vmid: u32, call: AgentCall) -> BoxFuture<'_, Result<AgentReply, AgentError>> {
        async move {
            if !self.stage().machines.get(&vmid).is_some_and(|machine| machine.up && machine.agent) {
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
        self.stage().consoles.get(&vmid).cloned().unwrap_or_default()
    }

    fn container_create<'a>(
        &'a self,
        rootfs: &'a str,
        template: PathBuf,
        _setup: ContainerSetup,
    ) -> BoxFuture<'a, Result<(), String>> {
        self.stage().disks.insert(rootfs.to_owned());
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
        let mut stage = self.stage();
        stage.consoles.insert(start.vmid, vec![format!("{}: started", start.setup.hostname)]);
        stage.containers.insert(start.vmid, start);
        drop(stage);
        async { Ok(()) }.boxed()
    }

    fn container_stop(&self, vmid: u32) -> BoxFuture<'_, ()> {
        let mut stage = self.stage();
        if stage.containers.remove(&vmid).is_some() {
            stage.print(vmid, "stopped");
        }
        drop(stage);
        async {}.boxed()
    }

    fn container_console(&self, vmid: u32) -> BoxFuture<'_, io::Result<Box<dyn Stream>>> {
        let (ours, theirs) = tokio::io::duplex(64 << 10);
        if let Some(Consoles(play)) = &self.consoles {
            let Some(start) = self.stage().containers.get(&vmid).cloned() else {
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
        let mut stage = self.stage();
        let Some(machine) = stage.machines.get_mut(&vmid) else { return Err(AgentError::NotRunning) };
        match call {
            AgentCall::ExecStatus { pid } => match machine.exits.get(&pid) {
                None => Err(AgentError::Refused("PID ld does not exist".to_owned())),
                Some((ready, _)) if *ready > machine.now() => {
                    Ok(AgentReply::Exited { exited: false, code: None, signal: None, out: Vec::new(), err: Vec::new() })
                }
                Some((_, reply)) => {
                    let reply = reply.clone();
                    machine.exits.remove(&pid);
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
                machine.files.get(&path).cloned().map(AgentReply::Content).ok_or_else(missing)
            }
            AgentCall::FileWrite { path, content } => {
                if let Some(reason) = unwritable(&path) {
                    return Err(AgentError::Refused(format!("failed to open file '{path}' (mode: 'wb'): {reason}")));
                }
                let line = format!("agent: wrote {path} ({} bytes)", content.len());
                machine.files.insert(path, content);
                stage.print(vmid, &line);
                Ok(AgentReply::Done)
            }
            AgentCall::Interfaces => Ok(AgentReply::Json(interfaces(vmid))),
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
        let mut stage = self.stage();
        let variables = stage.variables.entry(vmid).or_default();
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

fn interfaces(vmid: u32) -> serde_json::Value {
    let zero = json!({ "rx-bytes": 0, "rx-dropped": 0, "rx-errs": 0, "rx-packets": 0, "tx-bytes": 0, "tx-dropped": 0, "tx-errs": 0, "tx-packets": 0 });
    json!([
        { "name": "lo", "hardware-address": "00:00:00:00:00:00", "statistics": zero, "ip-addresses": [
            { "ip-address": "127.0.0.1", "ip-address-type": "ipv4", "prefix": 8 }, { "ip-address": "::1", "ip-address-type": "ipv6", "prefix": 128 } ] },
        { "name": "eth0", "hardware-address": "bc:24:11:00:00:01", "statistics": zero, "ip-addresses": [
            { "ip-address": format!("10.78.0.{}", 100 + vmid % 150), "ip-address-type": "ipv4", "prefix": 24 },
            { "ip-address": "fe80::be24:11ff:fe00:1", "ip-address-type": "ipv6", "prefix": 64 } ] },
    ])
}

/// Returns why a file cannot be written: a played guest has the directories of every system, and all that is asked for
/// below them.
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
