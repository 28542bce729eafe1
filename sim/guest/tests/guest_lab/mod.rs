#![allow(dead_code, reason = "each test program uses a part of it")]
//! The set-up of tests of guests: the base system, seed images, input at a boot loader, waits for events.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use sim_backend::{AgentCall, AgentReply, Backend as _, GuestEvent, GuestEventKind, VmStart};
use sim_guest::Namespaces;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Deadline of every wait, even on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

/// Password of the account that installations make.
pub(crate) const PASSWORD: &str = "secret";
/// Hash of the password, as `openssl passwd -6` prints it.
pub(crate) const PASSWORD_HASH: &str =
    "$6$saltsalt$TVLlQcbpFVof5W3Yz4DTP6gRstiNuHwwTt6GLc1E5n0U0aDehy0S5knV8wiOQSpT0Y77vwPZN.Pq.H91p5hVO1";

/// A backend with its event channel and a directory for images.
pub(crate) struct Lab {
    pub(crate) guests: Arc<Namespaces>,
    pub(crate) events: UnboundedReceiver<GuestEvent>,
    pub(crate) sender: UnboundedSender<GuestEvent>,
    pub(crate) directory: tempfile::TempDir,
}

impl Lab {
    pub(crate) async fn start() -> Self {
        let base = tokio::task::spawn_blocking(base).await.unwrap();
        let (sender, events) = unbounded_channel();
        Self {
            guests: Namespaces::start(&base).await.unwrap(),
            events,
            sender,
            directory: tempfile::tempdir().unwrap(),
        }
    }

    /// Makes a seed CD with this document.
    pub(crate) fn seed(&self, name: &str, user_data: &str) -> PathBuf {
        let source = self.directory.path().join(name);
        std::fs::create_dir_all(&source).unwrap();
        std::fs::write(source.join("user-data"), user_data).unwrap();
        std::fs::write(source.join("meta-data"), format!("instance-id: {name}\n")).unwrap();
        let image = self.directory.path().join(format!("{name}.iso"));
        write_image(&image, "cidata", &source);
        image
    }

    /// Makes a CD that is not a seed, in place of an installer's CD.
    pub(crate) fn installer(&self) -> PathBuf {
        let source = self.directory.path().join("installer");
        std::fs::create_dir_all(source.join("casper")).unwrap();
        let image = self.directory.path().join("installer.iso");
        write_image(&image, "Ubuntu-Server 22.04", &source);
        image
    }

    pub(crate) async fn power_on(&self, vmid: u32, disk: &str, cdroms: Vec<PathBuf>) {
        let name = format!("vm-{vmid}");
        let boot_disk = Some(disk.to_owned());
        let start = VmStart { vmid, name, boot_disk, cdroms, agent: true, ..VmStart::default() };
        self.guests.vm_start(start, self.sender.clone().into()).await.unwrap();
    }

    /// Types lines at the boot loader's console.
    pub(crate) async fn type_lines(&self, vmid: u32, lines: &[&str]) {
        self.guests.vm_key(vmid, "c").await;
        for line in lines {
            for character in line.chars() {
                self.guests.vm_key(vmid, &key(character)).await;
            }
            self.guests.vm_key(vmid, "ret").await;
        }
    }

    /// Installs a system on `disk` and leaves the VM running.
    pub(crate) async fn install(&mut self, vmid: u32, disk: &str, autoinstall: &str) {
        self.guests.disk_create(disk).await.unwrap();
        let discs = vec![self.installer(), self.seed("autoinstall", autoinstall)];
        self.power_on(vmid, disk, discs).await;
        self.type_lines(vmid, &["linux /casper/vmlinuz autoinstall ---", "initrd /casper/initrd", "boot"]).await;
        self.wait_for(vmid, GuestEventKind::AgentUp).await;
    }

    /// Waits for this event. Panics if the guest has another event first.
    pub(crate) async fn wait_for(&mut self, vmid: u32, kind: GuestEventKind) {
        let wanted = GuestEvent { vmid, kind };
        match tokio::time::timeout(DEADLINE, self.events.recv()).await {
            Ok(event) => assert_eq!(event, Some(wanted), "{:#?}", self.guests.guest_log(vmid)),
            Err(_) => panic!("no {wanted:?} in time; the guest's log: {:#?}", self.guests.guest_log(vmid)),
        }
    }

    /// Waits until the guest's log has a line with these words.
    pub(crate) async fn wait_for_log(&self, vmid: u32, words: &str) {
        let said = async {
            while !self.guests.guest_log(vmid).iter().any(|line| line.contains(words)) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(DEADLINE, said).await.is_err() {
            panic!("{words:?} was never said; the guest's log: {:#?}", self.guests.guest_log(vmid));
        }
    }

    /// Runs a shell line with the agent to its end. Returns exit code and standard output.
    pub(crate) async fn run(&self, vmid: u32, line: &str) -> (Option<i32>, String) {
        let command = ["/bin/sh", "-c", line].map(str::to_owned).to_vec();
        let AgentReply::Pid(pid) =
            self.guests.agent(vmid, AgentCall::Exec { command, input: Vec::new() }).await.unwrap()
        else {
            panic!("exec answers a process number");
        };
        let ended = async {
            loop {
                match self.guests.agent(vmid, AgentCall::ExecStatus { pid }).await.unwrap() {
                    AgentReply::Exited { exited: true, code, out, .. } => {
                        break (code, String::from_utf8(out).unwrap());
                    }
                    _ => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        };
        tokio::time::timeout(DEADLINE, ended).await.unwrap()
    }
}

/// Waits until the condition holds.
pub(crate) async fn until(is_so: impl Fn() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(DEADLINE, waiting).await.is_ok(), "it never came to be so");
}

/// Returns true if a process with exactly these words runs on this machine.
pub(crate) fn is_running(words: &str) -> bool {
    let wanted = words.replace(' ', "\0") + "\0";
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|process| std::fs::read(process.path().join("cmdline")).ok())
        .any(|line| line == wanted.as_bytes())
}

/// A process of this machine. Its start time distinguishes it from a later one with the same number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) name: String,
    number: u32,
    parent: u32,
    is_zombie: bool,
    start: u64,
}

impl Process {
    fn read(number: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{number}/stat")).ok()?;
        let (head, tail) = stat.rsplit_once(") ")?;
        let fields: Vec<&str> = tail.split(' ').collect();
        Some(Self {
            name: head.split_once('(')?.1.to_owned(),
            number,
            parent: fields.get(1)?.parse().ok()?,
            is_zombie: fields.first() == Some(&"Z"),
            start: fields.get(19)?.parse().ok()?,
        })
    }

    /// Returns true if the process still runs. A zombie does not.
    pub(crate) fn is_alive(&self) -> bool {
        Self::read(self.number).is_some_and(|now| now.start == self.start && !now.is_zombie)
    }
}

/// Returns all descendants of a process.
pub(crate) fn descendants(number: u32) -> Vec<Process> {
    let numbers = std::fs::read_dir("/proc").unwrap().flatten();
    let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let all: Vec<Process> = numbers.filter_map(Process::read).collect();
    let mut found: Vec<Process> = Vec::new();
    let mut parents = vec![number];
    while let Some(parent) = parents.pop() {
        let children = all.iter().filter(|process| process.parent == parent);
        parents.extend(children.clone().map(|child| child.number));
        found.extend(children.cloned());
    }
    found
}

/// Returns the path of the dispatcher's appliance, which `cargo xtask test` builds.
pub(crate) fn appliance() -> PathBuf {
    std::env::var_os("PXCI_APPLIANCE").expect("PXCI_APPLIANCE is not set: run `cargo xtask test`").into()
}

/// Returns the path of the base system. Makes it if `cargo xtask setup` did not.
pub(crate) fn base() -> PathBuf {
    if let Some(base) = std::env::var_os("PXCI_GUEST_BASE") {
        return base.into();
    }
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache/pxci");
    sim_guest::base::build(&std::env::var_os("PXCI_CACHE").map_or_else(home, PathBuf::from)).unwrap()
}

fn write_image(image: &Path, label: &str, source: &Path) {
    let mut command = Command::new("xorriso");
    command.args(["-as", "mkisofs", "-quiet", "-joliet", "-rock", "-volid", label, "-output"]).arg(image).arg(source);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn key(character: char) -> String {
    match character {
        ' ' => "spc".to_owned(),
        '/' => "slash".to_owned(),
        '-' => "minus".to_owned(),
        '.' => "dot".to_owned(),
        '=' => "equal".to_owned(),
        ';' => "semicolon".to_owned(),
        ':' => "shift-semicolon".to_owned(),
        '"' => "shift-apostrophe".to_owned(),
        other => other.to_string(),
    }
}

/// Returns the path of an example. Cargo builds examples with the tests, next to the directory of the test programs.
pub(crate) fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("own path");
    let example = test.ancestors().nth(2).expect("target directory").join("examples").join(name);
    assert!(example.is_file(), "the example is not built: `cargo build -p pxci-sim-guest --example {name}`");
    example
}
