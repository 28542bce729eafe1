//! One powered-on virtual machine: a QEMU process with its control connection, its serial console and the port of its
//! agent.

use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::net::{UnixListener, UnixStream};
use tokio::process::{Child, Command};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::sync::CancellationToken;

use super::super::log::Log;
use super::accelerator::Accelerator;
use super::agent::Agent;
use super::disks::Image;
use super::options::{drive, socket};
use super::qmp::Qmp;
use super::{PROGRAM, not_started};
use sim_backend::{Events, GuestEvent, GuestEventKind};

/// Memory of a machine in MiB, regardless of its configuration, because memory of the test machine is scarce.
const MEMORY: &str = "1024";
/// Longest time until QEMU is connected.
const DEADLINE: Duration = Duration::from_secs(60);
/// Time after which an agent that does not answer is asked again.
const ASKED_AGAIN: Duration = Duration::from_secs(2);

/// The parts of a machine.
pub(super) struct Parts {
    pub(super) vmid: u32,
    pub(super) accelerator: Accelerator,
    /// Disk that the machine boots from.
    pub(super) disk: Option<Arc<Image>>,
    /// CD images, in the order of the drives.
    pub(super) cdroms: Vec<PathBuf>,
    /// True if the machine has a port for the agent.
    pub(super) agent: bool,
    /// New directory for its sockets.
    pub(super) directory: PathBuf,
}

/// A powered-on machine, as seen from outside.
#[derive(Debug)]
pub(super) struct Machine {
    qmp: Qmp,
    agent: Option<Arc<Agent<UnixStream>>>,
    power: CancellationToken,
    gone: CancellationToken,
    stopped_by_host: AtomicBool,
    log: Log,
}

impl Machine {
    /// Powers a machine on. Returns when its processor runs.
    ///
    /// # Errors
    /// When QEMU does not start, with its message.
    pub(super) async fn power_on(parts: Parts, events: Events) -> io::Result<Arc<Self>> {
        tokio::fs::create_dir(&parts.directory).await?;
        let control = UnixListener::bind(parts.directory.join("qmp"))?;
        let port = UnixListener::bind(parts.directory.join("agent"))?;
        let log = Log::default();
        let mut process = spawn(&parts)?;
        let connected = tokio::time::timeout(DEADLINE, connect(&parts, &control, &port, &mut process, &log)).await;
        let (qmp, happened, port) =
            connected.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "QEMU does not connect")))?;
        let machine = Arc::new(Self {
            qmp,
            agent: port.map(|port| Arc::new(Agent::new(port))),
            power: CancellationToken::new(),
            gone: CancellationToken::new(),
            stopped_by_host: AtomicBool::new(false),
            log,
        });
        tokio::spawn(machine.clone().live(parts, process, happened, events));
        Ok(machine)
    }

    /// Presses the power button, to which the guest may react.
    pub(super) async fn power_button(&self) {
        self.tell_qemu("system_powerdown", json!({})).await;
    }

    /// Presses and releases keys together. The keys have QEMU's names, as in `shift-a`.
    pub(super) async fn press(&self, keys: &str) {
        let keys: Vec<_> = keys.split('-').map(|key| json!({ "type": "qcode", "data": key })).collect();
        self.tell_qemu("send-key", json!({ "keys": keys })).await;
    }

    /// Cuts the power. Returns when nothing runs.
    pub(super) async fn power_off(&self) {
        self.stopped_by_host.store(true, Ordering::SeqCst);
        self.power.cancel();
        self.gone.cancelled().await;
    }

    pub(super) fn has_ended(&self) -> bool {
        self.gone.is_cancelled()
    }

    pub(super) fn agent(&self) -> Option<Arc<Agent<UnixStream>>> {
        self.agent.clone().filter(|_| !self.has_ended())
    }

    pub(super) fn log(&self) -> Vec<String> {
        self.log.lines()
    }

    async fn tell_qemu(&self, command: &str, arguments: serde_json::Value) {
        // The machine may have ended. The caller is responsible for wrong keys.
        if let Err(error) = self.qmp.execute(command, arguments).await {
            self.log.say(&error.to_string());
        }
    }

    /// Runs the machine from its first instruction to the end of its process.
    async fn live(
        self: Arc<Self>,
        parts: Parts,
        mut process: Child,
        happened: UnboundedReceiver<String>,
        events: Events,
    ) {
        let tell = |kind| events.send(GuestEvent { vmid: parts.vmid, kind });
        tokio::select! {
            // The exit status is read below.
            _ = process.wait() => {}
            () = self.power.cancelled() => {}
            () = self.watch(happened, tell) => {}
        }
        // A process that has ended cannot be killed.
        let _ = process.kill().await;
        self.log.say("powered off");
        // The whole state directory is removed at the end.
        let _ = tokio::fs::remove_dir_all(&parts.directory).await;
        self.gone.cancel();
        if !self.stopped_by_host.load(Ordering::SeqCst) {
            tell(GuestEventKind::PoweredOff);
        }
    }

    /// Reports when the agent starts to answer, and when a reboot ends it. Never returns.
    async fn watch(&self, mut happened: UnboundedReceiver<String>, tell: impl Fn(GuestEventKind)) {
        let mut is_up = false;
        loop {
            let event = tokio::select! {
                event = happened.recv() => event,
                () = self.agent_answers(), if !is_up => {
                    is_up = true;
                    self.log.say("the guest agent answers");
                    tell(GuestEventKind::AgentUp);
                    continue;
                }
            };
            match event.as_deref() {
                Some("RESET") if is_up => {
                    is_up = false;
                    self.log.say("rebooted");
                    tell(GuestEventKind::AgentDown);
                }
                Some(_) => {}
                // QEMU ends, and the task that waits for the process notices it.
                None => std::future::pending().await,
            }
        }
    }

    /// Returns once the agent answers.
    async fn agent_answers(&self) {
        let Some(agent) = &self.agent else { return std::future::pending().await };
        while !agent.answers(ASKED_AGAIN).await {
            // A port without an agent fails at once.
            tokio::time::sleep(ASKED_AGAIN).await;
        }
    }
}

/// Waits until the process has connected to both sockets.
async fn connect(
    parts: &Parts,
    control: &UnixListener,
    port: &UnixListener,
    process: &mut Child,
    log: &Log,
) -> io::Result<(Qmp, UnboundedReceiver<String>, Option<UnixStream>)> {
    let said = process.stderr.take().map(|errors| log.follow(errors));
    if let Some(console) = process.stdout.take() {
        log.follow(console);
    }
    let connected = async {
        let (control, _) = control.accept().await?;
        let (qmp, happened) = Qmp::greet(control).await.map_err(io::Error::other)?;
        let port = if parts.agent { Some(port.accept().await?.0) } else { None };
        io::Result::Ok((qmp, happened, port))
    };
    let error = tokio::select! {
        connected = connected => match connected {
            Ok(connected) => return Ok(connected),
            Err(error) => error,
        },
        ended = process.wait() => io::Error::other(format!("QEMU ended with {}", ended?)),
    };
    // The last lines of the log show the cause.
    process.kill().await?;
    if let Some(said) = said {
        said.await?;
    }
    Err(log.explain(error))
}

fn spawn(parts: &Parts) -> io::Result<Child> {
    // QEMU must not outlive the simulator. The signal is sent when the thread ends that starts QEMU, which is a worker
    // of the runtime.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--", PROGRAM]).args(parts.accelerator.options());
    command.args(["-name", &format!("pxci-{}", parts.vmid), "-machine", "q35", "-smp", "1", "-m", MEMORY]);
    command.args(["-nodefaults", "-no-user-config", "-display", "none", "-device", "virtio-rng-pci"]);
    // The console is the first serial port. The control protocol must not use that port.
    command.args(["-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"]);
    command.arg("-chardev").arg(socket("control", &parts.directory.join("qmp")));
    command.args(["-mon", "chardev=control,mode=control"]);
    if parts.agent {
        command.arg("-chardev").arg(socket("agent", &parts.directory.join("agent")));
        command.args(["-device", "virtio-serial-pci", "-device"]);
        command.arg("virtserialport,chardev=agent,name=org.qemu.guest_agent.0");
    }
    // The machine is in its own network behind QEMU's router. The guest reaches this machine as 10.0.2.2, and nothing
    // reaches the guest. An expansion ROM would only try to boot from that network.
    command.args(["-netdev", "user,id=net,ipv6=off", "-device", "virtio-net-pci,netdev=net,romfile="]);
    command.args(["-device", "virtio-scsi-pci,id=scsi"]);
    if let Some(disk) = &parts.disk {
        // The disk is not needed after a crash of this machine, so nothing is flushed.
        command.arg("-drive").arg(drive("none,id=disk,format=qcow2,cache=unsafe,discard=unmap", disk.path()));
        command.args(["-device", "scsi-hd,drive=disk,bus=scsi.0,bootindex=1"]);
    }
    for (index, cdrom) in parts.cdroms.iter().enumerate() {
        command.arg("-drive").arg(drive(&format!("none,id=cd{index},media=cdrom,format=raw,readonly=on"), cdrom));
        command.args(["-device", &format!("scsi-cd,drive=cd{index},bus=scsi.0,bootindex={}", index + 2)]);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    // A process group of its own, so that Ctrl-C reaches the simulator and not its guests.
    command.process_group(0).spawn().map_err(not_started)
}
