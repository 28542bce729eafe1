//! Guests that are whole machines: QEMU processes with firmware, a boot loader and a kernel.
//!
//! The simulated Proxmox VE runs each VM as a QEMU process, like the real one. A linked clone is a qcow2 overlay, an
//! ISO image is a CD drive, the guest agent is the real program, and the power button is that of ACPI. If KVM cannot be
//! used, QEMU emulates the processor.
//!
//! The differences from the real one: every machine has one processor, 1 GiB of memory and one disk. Each machine has
//! its own network, in which 10.0.2.2 is this machine. Containers run in [`Namespaces`].

mod accelerator;
mod agent;
mod disks;
pub mod image;
mod machine;
mod options;
mod qmp;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;

pub use self::accelerator::Accelerator;
use self::disks::Disks;
use self::machine::{Machine, Parts};
use super::Namespaces;
use sim_backend::{
    AgentCall, AgentError, AgentReply, Backend, ContainerSetup, ContainerStart, Events, Stream, VmStart,
};

/// QEMU for the architecture of the images.
const PROGRAM: &str = "qemu-system-x86_64";

/// Address of this machine in a guest's network.
pub const HOST: &str = "10.0.2.2";

/// Reason why guests cannot run.
#[derive(Debug, thiserror::Error)]
#[error("unable to run guests with QEMU")]
pub struct StartError(#[from] io::Error);

/// Virtual machines backed by QEMU, together with containers in namespaces.
///
/// Machines end when this value is dropped or its process ends.
#[derive(Debug)]
pub struct Qemu {
    containers: Arc<Namespaces>,
    accelerator: Accelerator,
    disks: Disks,
    machines: Mutex<Vec<(u32, Arc<Machine>)>>,
}

impl Qemu {
    /// Prepares to run guests. Containers and the directory for disks are those of `containers`.
    ///
    /// # Errors
    /// When QEMU is missing or does not work.
    pub async fn start(containers: Arc<Namespaces>) -> Result<Arc<Self>, StartError> {
        let accelerator = Accelerator::choose(containers.state_directory()).await?;
        let disks = Disks::new(containers.state());
        Ok(Arc::new(Self { containers, accelerator, disks, machines: Mutex::default() }))
    }

    /// Returns the accelerator: KVM or emulation.
    #[must_use]
    pub fn accelerator(&self) -> Accelerator {
        self.accelerator
    }

    /// Returns the containers, which run in namespaces.
    #[must_use]
    pub fn containers(&self) -> &Arc<Namespaces> {
        &self.containers
    }

    /// Installs the qcow2 image at `path`, made by [`image::build`], on a volume. The file must stay.
    ///
    /// # Errors
    /// When the volume's disk cannot be made.
    pub async fn install(&self, volume: &str, path: &Path) -> io::Result<()> {
        self.disks.install(volume, path).await
    }

    /// Returns the lines of a VM's serial console, and of QEMU itself, since the last start.
    #[must_use]
    pub fn guest_log(&self, vmid: u32) -> Vec<String> {
        self.machine(vmid).map(|machine| machine.log()).unwrap_or_default()
    }

    /// Ends all guests and removes their disks. Returns when nothing is left.
    pub async fn end(&self) {
        let machines = std::mem::take(&mut *self.machines());
        for (_, machine) in machines {
            machine.power_off().await;
        }
        self.containers.end().await;
    }

    fn machines(&self) -> MutexGuard<'_, Vec<(u32, Arc<Machine>)>> {
        self.machines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn machine(&self, vmid: u32) -> Option<Arc<Machine>> {
        self.machines().iter().find(|(number, _)| *number == vmid).map(|(_, machine)| machine.clone())
    }

    async fn start_machine(&self, start: VmStart, events: Events) -> io::Result<()> {
        let vmid = start.vmid;
        if self.machine(vmid).is_some_and(|machine| !machine.has_ended()) {
            return Err(io::Error::other(format!("VM {vmid} already running")));
        }
        let state = self.containers.state();
        let disk = match &start.boot_disk {
            Some(volume) => Some(self.disks.get_or_make(volume).await?),
            None => None,
        };
        let parts = Parts {
            vmid,
            accelerator: self.accelerator,
            disk,
            cdroms: start.cdroms,
            agent: start.agent,
            directory: state.path().join(format!("vm-{}", state.number())),
        };
        let machine = Machine::power_on(parts, events).await?;
        let mut machines = self.machines();
        machines.retain(|(number, _)| *number != vmid);
        machines.push((vmid, machine));
        Ok(())
    }
}

fn not_started(error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("unable to start {PROGRAM} (Debian package qemu-system-x86): {error}"))
}

/// A volume belongs to QEMU once an image is installed on it or a VM is started from it. All other volumes belong to
/// containers.
impl Backend for Qemu {
    fn disk_create<'a>(&'a self, volume: &'a str) -> BoxFuture<'a, io::Result<()>> {
        self.containers.disk_create(volume)
    }

    fn disk_clone<'a>(&'a self, from: &'a str, to: &'a str, linked: bool) -> BoxFuture<'a, io::Result<()>> {
        match self.disks.get(from) {
            Some(image) => self.disks.copy(image, to, linked).boxed(),
            None => self.containers.disk_clone(from, to, linked),
        }
    }

    fn disk_rename<'a>(&'a self, from: &'a str, to: &'a str) -> BoxFuture<'a, io::Result<()>> {
        async move {
            if self.disks.rename(from, to) {
                return Ok(());
            }
            self.containers.disk_rename(from, to).await
        }
        .boxed()
    }

    fn disk_delete<'a>(&'a self, volume: &'a str) -> BoxFuture<'a, io::Result<()>> {
        self.disks.delete(volume);
        // The volume was made as one of a container.
        self.containers.disk_delete(volume)
    }

    fn vm_start<'a>(&'a self, start: VmStart, events: Events) -> BoxFuture<'a, Result<(), String>> {
        self.start_machine(start, events).map(|started| started.map_err(|error| error.to_string())).boxed()
    }

    fn vm_shutdown(&self, vmid: u32) -> BoxFuture<'_, ()> {
        async move {
            if let Some(machine) = self.machine(vmid) {
                machine.power_button().await;
            }
        }
        .boxed()
    }

    fn vm_stop(&self, vmid: u32) -> BoxFuture<'_, ()> {
        async move {
            if let Some(machine) = self.machine(vmid) {
                machine.power_off().await;
            }
        }
        .boxed()
    }

    fn vm_key<'a>(&'a self, vmid: u32, key: &'a str) -> BoxFuture<'a, ()> {
        async move {
            if let Some(machine) = self.machine(vmid) {
                machine.press(key).await;
            }
        }
        .boxed()
    }

    fn agent(&self, vmid: u32, call: AgentCall) -> BoxFuture<'_, Result<AgentReply, AgentError>> {
        async move {
            let agent = self.machine(vmid).and_then(|machine| machine.agent()).ok_or(AgentError::NotRunning)?;
            agent.call(call).await
        }
        .boxed()
    }

    fn container_create<'a>(
        &'a self,
        rootfs: &'a str,
        template: PathBuf,
        setup: ContainerSetup,
    ) -> BoxFuture<'a, Result<(), String>> {
        self.containers.container_create(rootfs, template, setup)
    }

    fn container_start<'a>(&'a self, start: ContainerStart, events: Events) -> BoxFuture<'a, Result<(), String>> {
        self.containers.container_start(start, events)
    }

    fn node_name_servers(&self) -> Vec<String> {
        self.containers.node_name_servers()
    }

    fn container_stop(&self, vmid: u32) -> BoxFuture<'_, ()> {
        self.containers.container_stop(vmid)
    }

    fn container_shutdown(&self, vmid: u32, limit: Duration) -> BoxFuture<'_, bool> {
        self.containers.container_shutdown(vmid, limit)
    }

    fn container_interfaces(&self, vmid: u32) -> BoxFuture<'_, Option<serde_json::Value>> {
        self.containers.container_interfaces(vmid)
    }

    fn container_console(&self, vmid: u32) -> BoxFuture<'_, io::Result<Box<dyn Stream>>> {
        self.containers.container_console(vmid)
    }
}
