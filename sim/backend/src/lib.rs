//! The interface between the simulated Proxmox VE and the programs of its guests.
//!
//! The simulator decides if an operation is allowed (locks, power state, privileges); a backend carries it out. Task
//! workers of the simulator make the calls. An event that a guest causes itself, such as powering off, comes back as
//! [`GuestEvent`].

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc::UnboundedSender;

/// A virtual machine to start.
#[derive(Debug, Clone, Default)]
pub struct VmStart {
    /// VMID of the VM.
    pub vmid: u32,
    /// Configured name, which a guest gets as its first host name.
    pub name: String,
    /// Volume id of the boot disk (`store:9000/vm-9000-disk-0.qcow2`).
    pub boot_disk: Option<String>,
    /// Files of the CD-ROM images in its drives, in drive order.
    pub cdroms: Vec<PathBuf>,
    /// True if the guest agent's port is configured.
    pub agent: bool,
    /// Network cards.
    pub networks: Vec<NetworkCard>,
    /// True if the VM continues with the memory that [`Backend::vm_suspend`] kept.
    pub resume: bool,
}

/// A container to start.
#[derive(Debug, Clone)]
pub struct ContainerStart {
    /// VMID of the container.
    pub vmid: u32,
    /// Volume id of its root file system.
    pub rootfs: String,
    /// Mount points: volume id and path inside.
    pub mounts: Vec<(String, String)>,
    /// Settings that the container's files are written from.
    pub setup: ContainerSetup,
}

/// Settings that are written to a container's files, and its network cards.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerSetup {
    /// Configured host name.
    pub hostname: String,
    /// Network cards.
    pub networks: Vec<NetworkCard>,
    /// Configured name servers of its own.
    pub nameserver: Option<String>,
    /// Configured search domains of its own.
    pub searchdomain: Option<String>,
    /// Search domains of its node.
    pub node_search: String,
    /// Name servers of its node.
    pub node_name_servers: Vec<String>,
    /// Number of its terminals.
    pub terminals: u32,
}

/// A network card of a guest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkCard {
    /// Number of the card: 0 for `net0`.
    pub index: u32,
    /// Name inside the guest, as in `eth0`.
    pub name: String,
    /// Bridge that it is plugged into.
    pub bridge: String,
    /// MAC address.
    pub mac: String,
    /// True if the link is down.
    pub link_down: bool,
    /// IPv4 address with prefix length, or `dhcp` or `manual`.
    pub ip: Option<String>,
    /// IPv4 gateway.
    pub gateway: Option<String>,
    /// IPv6 address with prefix length, or `auto`, `dhcp` or `manual`.
    pub ip6: Option<String>,
    /// IPv6 gateway.
    pub gateway6: Option<String>,
}

/// An event that a guest caused itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestEvent {
    /// VMID of the guest.
    pub vmid: u32,
    /// The event.
    pub kind: GuestEventKind,
}

/// The kind of a [`GuestEvent`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GuestEventKind {
    /// The guest agent began to answer.
    AgentUp,
    /// The guest agent stopped answering while the guest is running.
    AgentDown,
    /// The guest's processes have ended.
    PoweredOff,
    /// A container's processes have ended, and it requests a restart.
    Rebooted,
}

/// The clock of the simulated cluster. Virtual time stands still while an event is between [`WorldClock::begin`] and
/// [`WorldClock::end`].
pub trait WorldClock: fmt::Debug + Send + Sync {
    /// Returns the simulated time since the simulator's start.
    fn now(&self) -> Duration;
    /// Holds virtual time.
    fn begin(&self);
    /// Releases virtual time.
    fn end(&self);
}

/// The sender of a backend's [`GuestEvent`]s.
#[derive(Debug, Clone)]
pub struct Events {
    sender: UnboundedSender<GuestEvent>,
    clock: Option<Arc<dyn WorldClock>>,
}

impl Events {
    /// Returns a sender whose events hold the simulator's virtual time until they arrive.
    #[must_use]
    pub fn on(sender: UnboundedSender<GuestEvent>, clock: Arc<dyn WorldClock>) -> Self {
        Self { sender, clock: Some(clock) }
    }

    /// Returns the simulated time since the simulator's start.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.clock.as_ref().map_or(Duration::ZERO, |clock| clock.now())
    }

    /// Reports an event. Has no effect without a receiver.
    pub fn send(&self, event: GuestEvent) {
        // Virtual time must not pass while an event is on its way.
        if let Some(clock) = &self.clock {
            clock.begin();
        }
        if self.sender.send(event).is_err()
            && let Some(clock) = &self.clock
        {
            clock.end();
        }
    }
}

impl From<UnboundedSender<GuestEvent>> for Events {
    fn from(sender: UnboundedSender<GuestEvent>) -> Self {
        Self { sender, clock: None }
    }
}

/// A call to the guest agent, with the data that PVE forwards.
#[derive(Debug, Clone)]
pub enum AgentCall {
    /// Runs `command` (an argument vector) with `input` on its standard input.
    Exec {
        /// Program and arguments.
        command: Vec<String>,
        /// Bytes for its standard input.
        input: Vec<u8>,
    },
    /// Asks for the end of an executed program. The agent reports it once.
    ExecStatus {
        /// Process number from the answer to `Exec`.
        pid: u32,
    },
    /// Reads a whole file.
    FileRead {
        /// Absolute path inside the guest.
        path: String,
    },
    /// Writes a whole file, readable by everybody as the real agent does.
    FileWrite {
        /// Absolute path inside the guest.
        path: String,
        /// The content.
        content: Vec<u8>,
    },
    /// Lists network interfaces.
    Interfaces,
    /// Returns information about the operating system.
    OsInfo,
}

/// The answer to an [`AgentCall`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentReply {
    /// No data.
    Done,
    /// The process number of a started program.
    Pid(u32),
    /// State of an executed program.
    Exited {
        /// False while it runs; the other fields are then not set.
        exited: bool,
        /// Exit code; `None` if a signal ended it.
        code: Option<i32>,
        /// Signal that ended it.
        signal: Option<i32>,
        /// Its standard output.
        out: Vec<u8>,
        /// Its standard error.
        err: Vec<u8>,
    },
    /// Content of a file.
    Content(Vec<u8>),
    /// JSON as the real agent would return it (interface list, OS information).
    Json(serde_json::Value),
}

/// The reason why the agent did not answer a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentError {
    /// The agent does not answer (yet). PVE reports this after 3–5 s.
    NotRunning,
    /// The agent answered with an error text (`PID ld does not exist`, …).
    Refused(String),
}

/// A two-way byte stream, such as a container's console.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// The programs of simulated guests. Methods that the simulator may repeat (stop, delete) are idempotent.
pub trait Backend: Send + Sync + 'static {
    /// Makes a new, empty disk.
    fn disk_create<'a>(&'a self, volume: &'a str) -> BoxFuture<'a, io::Result<()>>;
    /// Makes `to` a copy of `from`, or a linked clone of it.
    fn disk_clone<'a>(&'a self, from: &'a str, to: &'a str, linked: bool) -> BoxFuture<'a, io::Result<()>>;
    /// Renames a volume (conversion to a template, moving a mount point) and keeps its contents.
    fn disk_rename<'a>(&'a self, from: &'a str, to: &'a str) -> BoxFuture<'a, io::Result<()>>;
    /// Deletes the disk.
    fn disk_delete<'a>(&'a self, volume: &'a str) -> BoxFuture<'a, io::Result<()>>;

    /// Starts a VM. Returns when its processor runs, before it has booted.
    fn vm_start<'a>(&'a self, start: VmStart, events: Events) -> BoxFuture<'a, Result<(), String>>;
    /// Presses the power button. The guest may ignore it.
    fn vm_shutdown(&self, vmid: u32) -> BoxFuture<'_, ()>;
    /// Cuts the power. Returns when all processes of the VM have ended.
    fn vm_stop(&self, vmid: u32) -> BoxFuture<'_, ()>;
    /// Returns true if a VM can be suspended to disk.
    fn can_suspend(&self) -> bool {
        false
    }
    /// Stops a VM and keeps its memory until its next start with [`VmStart::resume`].
    fn vm_suspend(&self, _vmid: u32) -> BoxFuture<'_, ()> {
        async {}.boxed()
    }
    /// Replaces the network cards of a running guest. Guests whose programs run keep the cards of their start.
    fn cards_changed(&self, _vmid: u32, _cards: Vec<NetworkCard>) {}
    /// Presses one key, by QEMU's name for it (`ret`, `shift-a`).
    fn vm_key<'a>(&'a self, vmid: u32, key: &'a str) -> BoxFuture<'a, ()>;
    /// Calls the guest agent of a running VM.
    fn agent(&self, vmid: u32, call: AgentCall) -> BoxFuture<'_, Result<AgentReply, AgentError>>;

    /// Returns the lines of a guest's console since its last start; empty if they are not kept.
    fn console(&self, _vmid: u32) -> Vec<String> {
        Vec::new()
    }

    /// Unpacks a container template (`.tar.zst`) into a new root volume. The error is the task's error text.
    fn container_create<'a>(
        &'a self,
        rootfs: &'a str,
        template: PathBuf,
        setup: ContainerSetup,
    ) -> BoxFuture<'a, Result<(), String>>;
    /// Starts a container. Returns when its first process runs.
    fn container_start<'a>(&'a self, start: ContainerStart, events: Events) -> BoxFuture<'a, Result<(), String>>;
    /// Returns the node's name servers, which containers without their own get. The default is that of the recorded
    /// node.
    fn node_name_servers(&self) -> Vec<String> {
        vec!["127.0.0.1".to_owned()]
    }
    /// Stops a container immediately. Returns when all its processes have ended.
    fn container_stop(&self, vmid: u32) -> BoxFuture<'_, ()>;
    /// Asks a container's init to halt. Returns false if the container still runs after `limit`.
    fn container_shutdown(&self, vmid: u32, _patience: Duration) -> BoxFuture<'_, bool> {
        async move {
            self.container_stop(vmid).await;
            true
        }
        .boxed()
    }
    /// Returns the network interfaces of a running container as `ip -json address` lists them, or `None` if it does not
    /// run.
    fn container_interfaces(&self, _vmid: u32) -> BoxFuture<'_, Option<serde_json::Value>> {
        async { None }.boxed()
    }
    /// Opens root's login shell of a running container on a terminal, as `cmode=shell` does.
    fn container_console(&self, vmid: u32) -> BoxFuture<'_, io::Result<Box<dyn Stream>>>;
}
