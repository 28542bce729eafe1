//! The boundary between the PVE world and the programs of its guests.
//!
//! The world decides *whether* something may happen (locks, power state, privileges); a backend makes it happen.
//! Calls come from the PVE front's task workers; what a guest does by itself (power off) comes back as [`GuestEvent`].

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc::UnboundedSender;

/// A virtual machine about to be powered on.
#[derive(Debug, Clone, Default)]
pub struct VmStart {
    /// Number of the VM.
    pub vmid: u32,
    /// Name as configured; a guest gets it as its first host name.
    pub name: String,
    /// Volume id of the boot disk (`store:9000/vm-9000-disk-0.qcow2`).
    pub boot_disk: Option<String>,
    /// Files of the CD-ROM images in its drives, in drive order.
    pub cdroms: Vec<PathBuf>,
    /// True if the guest agent's port is configured.
    pub agent: bool,
    /// Network cards.
    pub networks: Vec<NetworkCard>,
    /// True if the VM goes on from the memory that [`Backend::vm_suspend`] kept.
    pub resume: bool,
}

/// A container about to be started.
#[derive(Debug, Clone)]
pub struct ContainerStart {
    /// Number of the container.
    pub vmid: u32,
    /// Volume id of its root file system.
    pub rootfs: String,
    /// Mount points: volume id and path inside.
    pub mounts: Vec<(String, String)>,
    /// Settings from which the container's files are written.
    pub setup: ContainerSetup,
}

/// Settings that are written to a container's files, and its network cards.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerSetup {
    /// Host name as configured.
    pub hostname: String,
    /// Network cards.
    pub networks: Vec<NetworkCard>,
    /// Name servers of its own, as configured.
    pub nameserver: Option<String>,
    /// Search domains of its own, as configured.
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
    /// Hardware address.
    pub mac: String,
    /// True if the cable is unplugged.
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

/// Something that a guest did by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestEvent {
    /// Which guest.
    pub vmid: u32,
    /// The event.
    pub kind: GuestEventKind,
}

/// See [`GuestEvent`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GuestEventKind {
    /// The guest agent began to answer.
    AgentUp,
    /// The guest agent stopped answering while the guest runs on.
    AgentDown,
    /// The guest's processes are gone.
    PoweredOff,
    /// A container's processes have ended, and it asks to be started again.
    Rebooted,
}

/// The clock of the world that a backend serves. Virtual time stands still while an event is between [`WorldClock::begin`] and
/// [`WorldClock::end`].
pub trait WorldClock: fmt::Debug + Send + Sync {
    /// Returns the simulated time since the world's start.
    fn now(&self) -> Duration;
    /// Holds virtual time.
    fn begin(&self);
    /// Lets virtual time go on.
    fn end(&self);
}

/// Where a backend reports [`GuestEvent`]s.
#[derive(Debug, Clone)]
pub struct Events {
    sender: UnboundedSender<GuestEvent>,
    clock: Option<Arc<dyn WorldClock>>,
}

impl Events {
    /// Returns a sender whose events hold the world's virtual time until they arrive.
    #[must_use]
    pub fn on(sender: UnboundedSender<GuestEvent>, clock: Arc<dyn WorldClock>) -> Self {
        Self { sender, clock: Some(clock) }
    }

    /// Returns the simulated time since the start, by the world's clock.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.clock.as_ref().map_or(Duration::ZERO, |clock| clock.now())
    }

    /// Reports an event; nothing happens when nobody listens any more.
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

/// A call to the guest agent, with the data that PVE passes on.
#[derive(Debug, Clone)]
pub enum AgentCall {
    /// Runs `command` (an argument vector) with `input` on its standard input.
    Exec {
        /// Program and arguments.
        command: Vec<String>,
        /// Bytes for its standard input.
        input: Vec<u8>,
    },
    /// Asks once for the end of an executed program.
    ExecStatus {
        /// Process number that `Exec` answered.
        pid: u32,
    },
    /// Reads a whole file.
    FileRead {
        /// Absolute path inside the guest.
        path: String,
    },
    /// Writes a whole file, created world-readable as the real agent does.
    FileWrite {
        /// Absolute path inside the guest.
        path: String,
        /// The content.
        content: Vec<u8>,
    },
    /// Lists network interfaces.
    Interfaces,
    /// Information about the operating system.
    OsInfo,
}

/// The answer to an [`AgentCall`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentReply {
    /// Nothing to say beyond "done".
    Done,
    /// The process number of a started program.
    Pid(u32),
    /// State of an executed program.
    Exited {
        /// False while it runs; the other fields mean nothing then.
        exited: bool,
        /// Exit code, absent when a signal ended it.
        code: Option<i32>,
        /// The signal that ended it.
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

/// Why the agent gave no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentError {
    /// The agent does not answer (yet): PVE waits 3–5 s, then says so.
    NotRunning,
    /// The agent answered with an error text (`PID ld does not exist`, …).
    Refused(String),
}

/// A two-way byte stream, such as a container's console.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// The programs of simulated guests. All methods are idempotent where the world may repeat them (stop, delete).
pub trait Backend: Send + Sync + 'static {
    /// Makes a new, empty disk.
    fn disk_create<'a>(&'a self, volume: &'a str) -> BoxFuture<'a, io::Result<()>>;
    /// Makes `to` a copy of `from` (`linked`: backed by it).
    fn disk_clone<'a>(&'a self, from: &'a str, to: &'a str, linked: bool) -> BoxFuture<'a, io::Result<()>>;
    /// Renames a volume (conversion to a template, moving a mount point). The content stays.
    fn disk_rename<'a>(&'a self, from: &'a str, to: &'a str) -> BoxFuture<'a, io::Result<()>>;
    /// Deletes the disk.
    fn disk_delete<'a>(&'a self, volume: &'a str) -> BoxFuture<'a, io::Result<()>>;

    /// Powers a VM on; returns when its processor runs, not when it has booted.
    fn vm_start<'a>(&'a self, start: VmStart, events: Events) -> BoxFuture<'a, Result<(), String>>;
    /// Asks the guest to shut down, as the power button does; it may ignore that.
    fn vm_shutdown(&self, vmid: u32) -> BoxFuture<'_, ()>;
    /// Cuts the power; returns when nothing of it runs.
    fn vm_stop(&self, vmid: u32) -> BoxFuture<'_, ()>;
    /// Returns true if a VM can be suspended to disk.
    fn can_suspend(&self) -> bool {
        false
    }
    /// Ends a VM and keeps its memory until its next start with [`VmStart::resume`].
    fn vm_suspend(&self, _vmid: u32) -> BoxFuture<'_, ()> {
        async {}.boxed()
    }
    /// Gives a running guest other network cards. Guests that really run keep the cards of their start.
    fn cards_changed(&self, _vmid: u32, _cards: Vec<NetworkCard>) {}
    /// Presses one key, by QEMU's name for it (`ret`, `shift-a`).
    fn vm_key<'a>(&'a self, vmid: u32, key: &'a str) -> BoxFuture<'a, ()>;
    /// Calls the guest agent of a running VM.
    fn agent(&self, vmid: u32, call: AgentCall) -> BoxFuture<'_, Result<AgentReply, AgentError>>;

    /// Returns the lines of a guest's console since its last start; empty if they are not kept.
    fn console(&self, _vmid: u32) -> Vec<String> {
        Vec::new()
    }

    /// Unpacks a container template (`.tar.zst`) into a new root volume; an error is the task's error text.
    fn container_create<'a>(
        &'a self,
        rootfs: &'a str,
        template: PathBuf,
        setup: ContainerSetup,
    ) -> BoxFuture<'a, Result<(), String>>;
    /// Starts a container; returns when its first process runs.
    fn container_start<'a>(&'a self, start: ContainerStart, events: Events) -> BoxFuture<'a, Result<(), String>>;
    /// Returns the node's name servers, which containers without their own get. The default is that of the recorded
    /// node.
    fn node_name_servers(&self) -> Vec<String> {
        vec!["127.0.0.1".to_owned()]
    }
    /// Ends a container at once; returns when nothing of it runs.
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
    /// Opens root's login shell of a running container behind a terminal, as `cmode=shell` gives it.
    fn container_console(&self, vmid: u32) -> BoxFuture<'_, io::Result<Box<dyn Stream>>>;
}
