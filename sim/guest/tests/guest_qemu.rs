//! Power, lifeline and disks of machines that QEMU runs, without a system on their disks.
//!
//! These tests run only in `cargo xtask test --guests qemu`, which installs QEMU and sets `PXCI_GUESTS`. The acceptance
//! tests `machines` test the programs in a machine.
#![cfg(test)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustix::process::Pid;
use sim_backend::{AgentCall, AgentError, Backend as _, GuestEvent, GuestEventKind, VmStart};
use sim_guest::Namespaces;
use sim_guest::qemu::Qemu;
use tokio::io::AsyncBufReadExt as _;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

mod guest_lab;

const DISK: &str = "local:100/vm-100-disk-0.qcow2";

/// Boot code that prints a text to the console: `mov si,text` `again: lodsb` `test al,al` `jz end` `mov dx,0x3f8` `out
/// dx,al` `jmp again` `end: hlt` `jmp end`, and the text.
const SAYS_HELLO: &[u8] =
    b"\xbe\x11\x7c\xac\x84\xc0\x74\x06\xba\xf8\x03\xee\xeb\xf5\xf4\xeb\xfdhello from the disk\n\0";

struct Lab {
    qemu: Arc<Qemu>,
    state: PathBuf,
    events: UnboundedReceiver<GuestEvent>,
    sender: UnboundedSender<GuestEvent>,
    directory: tempfile::TempDir,
}

impl Lab {
    /// Returns `None` if this run does not test QEMU.
    async fn start() -> Option<Self> {
        if std::env::var_os("PXCI_GUESTS").is_none_or(|guests| guests != "qemu") {
            println!("not run: guests backed by QEMU (cargo xtask test --guests qemu)");
            return None;
        }
        let base = tokio::task::spawn_blocking(guest_lab::base).await.unwrap();
        let containers = Namespaces::start(&base).await.unwrap();
        let state = containers.state_directory().to_owned();
        let qemu = Qemu::start(containers).await.unwrap();
        println!("accelerator: {:?}", qemu.accelerator());
        let (sender, events) = unbounded_channel();
        Some(Self { qemu, state, events, sender, directory: tempfile::tempdir().unwrap() })
    }

    async fn power_on(&self, vmid: u32, boot_disk: &str) {
        let start = VmStart {
            vmid,
            name: "x".into(),
            boot_disk: Some(boot_disk.into()),
            cdroms: Vec::new(),
            agent: true,
            networks: Vec::new(),
            resume: false,
        };
        self.qemu.vm_start(start, self.sender.clone().into()).await.unwrap();
    }

    /// Makes a disk that prints a text to the console and halts.
    fn image(&self) -> PathBuf {
        let (raw, image) = (self.directory.path().join("raw"), self.directory.path().join("image.qcow2"));
        let mut disk = vec![0; 1 << 20];
        disk[..SAYS_HELLO.len()].copy_from_slice(SAYS_HELLO);
        disk[510..512].copy_from_slice(&[0x55, 0xaa]);
        std::fs::write(&raw, disk).unwrap();
        let made = Command::new("qemu-img").args(["convert", "-O", "qcow2"]).arg(&raw).arg(&image).status().unwrap();
        assert!(made.success());
        image
    }

    async fn install(&self, volume: &str) {
        self.qemu.install(volume, &self.image()).await.unwrap();
    }

    async fn says_hello(&self, vmid: u32) {
        guest_lab::until(|| self.qemu.guest_log(vmid).iter().any(|line| line.contains("hello from the disk"))).await;
    }

    fn images(&self) -> usize {
        let names = std::fs::read_dir(&self.state).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().ends_with(".qcow2")).count()
    }
}

/// Returns the QEMU process whose sockets are in this state directory.
fn process_in(state: &Path) -> Option<Pid> {
    let mark = format!("{}/vm-", state.display());
    std::fs::read_dir("/proc").unwrap().flatten().find_map(|process| {
        let line = std::fs::read(process.path().join("cmdline")).ok()?;
        let is_ours = String::from_utf8_lossy(&line).contains(&mark);
        is_ours.then(|| Pid::from_raw(process.file_name().to_str()?.parse().ok()?))?
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_boots_from_the_clone_of_a_clone_and_its_power_is_cut() {
    let Some(mut lab) = Lab::start().await else { return };
    lab.qemu.disk_create(DISK).await.unwrap();
    lab.install(DISK).await;
    lab.qemu.disk_rename(DISK, "base").await.unwrap();
    lab.qemu.disk_clone("base", "linked", true).await.unwrap();
    lab.qemu.disk_clone("linked", "whole", false).await.unwrap();
    for (vmid, disk) in [(101, "linked"), (102, "whole")] {
        lab.power_on(vmid, disk).await;
        lab.says_hello(vmid).await;
        // The code on this disk does not react to the power button.
        lab.qemu.vm_shutdown(vmid).await;
        assert!(process_in(&lab.state).is_some());
        lab.qemu.vm_stop(vmid).await;
        assert_eq!(process_in(&lab.state), None);
        assert_eq!(lab.qemu.agent(vmid, AgentCall::OsInfo).await, Err(AgentError::NotRunning));
    }
    assert!(lab.events.try_recv().is_err(), "what the host does is not an event");

    assert_eq!(lab.images(), 3);
    for volume in ["linked", "whole", "base"] {
        lab.qemu.disk_delete(volume).await.unwrap();
    }
    assert_eq!(lab.images(), 0);
    lab.qemu.end().await;
    assert!(!lab.state.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_whose_process_ends_has_powered_itself_off() {
    let Some(mut lab) = Lab::start().await else { return };
    lab.install(DISK).await;
    lab.power_on(103, DISK).await;
    let twice = VmStart {
        vmid: 103,
        name: "x".into(),
        boot_disk: None,
        cdroms: Vec::new(),
        agent: false,
        networks: Vec::new(),
        resume: false,
    };
    let refused = lab.qemu.vm_start(twice, lab.sender.clone().into()).await;
    assert_eq!(refused, Err("VM 103 already running".to_owned()));
    let process = process_in(&lab.state).expect("a process");
    rustix::process::kill_process(process, rustix::process::Signal::KILL).unwrap();
    assert_eq!(lab.events.recv().await, Some(GuestEvent { vmid: 103, kind: GuestEventKind::PoweredOff }));
    lab.qemu.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_error_of_a_machine_that_cannot_start_contains_the_cause() {
    let Some(lab) = Lab::start().await else { return };
    let cdroms = vec![PathBuf::from("/nowhere/disc.iso")];
    let start = VmStart {
        vmid: 104,
        name: "x".into(),
        boot_disk: None,
        cdroms,
        agent: false,
        networks: Vec::new(),
        resume: false,
    };
    let refused = lab.qemu.vm_start(start, lab.sender.clone().into()).await.unwrap_err();
    assert!(refused.contains("/nowhere/disc.iso"), "{refused}");
    lab.qemu.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_end_when_the_simulator_is_killed() {
    let Some(lab) = Lab::start().await else { return };
    let base = tokio::task::spawn_blocking(guest_lab::base).await.unwrap();
    let mut child = tokio::process::Command::new(guest_lab::example("machine"));
    child.args([base, lab.image()]);
    let mut child = child.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut lines = tokio::io::BufReader::new(child.stdout.take().unwrap()).lines();
    let state = loop {
        let line = lines.next_line().await.unwrap().expect("the child says where its state is");
        if let Some((_, state)) = line.split_once("state: ") {
            break PathBuf::from(state);
        }
    };
    assert!(process_in(&state).is_some());
    child.kill().await.unwrap();
    guest_lab::until(|| process_in(&state).is_none() && !state.exists()).await;
}
