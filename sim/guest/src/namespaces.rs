//! The backend that runs guests in namespaces.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::OnceCell;

use super::container::{self, Container};
use super::disks::Disks;
use super::machine::Machine;
use super::network::{self, Network};
use super::sandbox::Sandbox;
use super::ssh::SshServer;
use super::state::{Disk, State, StateError};
use sim_backend::{
    AgentCall, AgentError, AgentReply, Backend, ContainerSetup, ContainerStart, Events, Stream, VmStart,
};

/// Reason why guests cannot run.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The base system does not exist.
    #[error("the guests' base system is not at {path}; run `cargo xtask setup`, which makes it")]
    NoBase {
        /// Expected path.
        path: PathBuf,
    },
    /// Disks cannot be stored.
    #[error("unable to prepare guests' disks")]
    State(#[from] StateError),
    /// The SSH server cannot listen.
    #[error("unable to listen for SSH connections to guests")]
    Ssh(#[source] io::Error),
}

/// Virtual machines and containers in namespaces. Their disks are directories.
///
/// Guests end when this value is dropped or its process ends, because each guest has a lifeline from this process.
#[derive(Debug)]
pub struct Namespaces {
    state: Arc<State>,
    disks: Arc<Disks>,
    guests: Arc<Mutex<Guests>>,
    ssh: SshServer,
    network: OnceCell<Network>,
}

/// The running guests, in the order of their start.
#[derive(Debug, Default)]
struct Guests {
    machines: Vec<(u32, Arc<Machine>)>,
    containers: Vec<(u32, Container)>,
}

impl Guests {
    fn machine(&self, vmid: u32) -> Option<Arc<Machine>> {
        self.machines.iter().find(|(number, _)| *number == vmid).map(|(_, machine)| machine.clone())
    }

    fn container(&self, vmid: u32) -> Option<Container> {
        self.containers.iter().find(|(number, _)| *number == vmid).map(|(_, container)| container.clone())
    }

    fn running_systems(&self) -> Vec<Arc<Sandbox>> {
        self.machines.iter().rev().filter_map(|(_, machine)| machine.guest()).collect()
    }
}

fn lock(guests: &Mutex<Guests>) -> MutexGuard<'_, Guests> {
    guests.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Namespaces {
    /// Prepares to run guests on the base system at `base`, which [`super::base::build`] makes.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(base: &Path) -> Result<Arc<Self>, StartError> {
        if !base.join("usr").is_dir() {
            return Err(StartError::NoBase { path: base.to_owned() });
        }
        let state = State::create(base)?;
        let guests = Arc::new(Mutex::new(Guests::default()));
        let known: Weak<Mutex<Guests>> = Arc::downgrade(&guests);
        let running =
            Arc::new(move || known.upgrade().map(|guests| lock(&guests).running_systems()).unwrap_or_default());
        let ssh = SshServer::start(running).await.map_err(StartError::Ssh)?;
        let disks = Arc::new(Disks::new(state.clone()));
        Ok(Arc::new(Self { disks, state, guests, ssh, network: OnceCell::new() }))
    }

    /// Returns the address of all guests' SSH.
    #[must_use]
    pub fn ssh_address(&self) -> SocketAddr {
        self.ssh.address()
    }

    /// Lets containers reach a port of `host`, which is an address or a name as this machine sees it. Returns the
    /// address for containers. In containers with the name server of their node, a name resolves to that address.
    ///
    /// # Errors
    /// The host's reason why the containers' network or the way out of it cannot be made.
    pub async fn publish(&self, host: &str, port: u16) -> io::Result<SocketAddr> {
        self.network().await?.publish(host, port).await
    }

    /// Stops the DHCP server of the containers' network.
    ///
    /// # Errors
    /// The host's reason, if the network cannot be made.
    pub async fn stop_dhcp(&self) -> io::Result<()> {
        self.network().await?.stop_dhcp().await;
        Ok(())
    }

    /// Starts the DHCP server of the containers' network again.
    ///
    /// # Errors
    /// The host's reason.
    pub async fn start_dhcp(&self) -> io::Result<()> {
        self.network().await?.start_dhcp().await
    }

    /// Runs a program inside a running container to its end, as root of a node does with `pct exec`.
    ///
    /// # Errors
    /// The host's reason, or that the container does not run.
    pub async fn container_attach(&self, vmid: u32, words: &[&str]) -> io::Result<Output> {
        self.container(vmid)?.attach(words).await
    }

    /// Returns the containers' network, which is made for the first container that needs it.
    async fn network(&self) -> io::Result<&Network> {
        self.network.get_or_try_init(|| Network::start(self.state.clone())).await
    }

    /// Returns the container, if it runs.
    fn container(&self, vmid: u32) -> io::Result<Container> {
        lock(&self.guests)
            .container(vmid)
            .filter(|container| !container.has_ended())
            .ok_or_else(|| io::Error::new(io::ErrorKind::ConnectionRefused, "Connection refused"))
    }

    /// Returns the lines of a guest's log since its last start.
    #[must_use]
    pub fn guest_log(&self, vmid: u32) -> Vec<String> {
        let guests = lock(&self.guests);
        guests
            .machine(vmid)
            .map(|machine| machine.log())
            .or_else(|| guests.container(vmid).map(|container| container.log()))
            .unwrap_or_default()
    }

    /// Returns the directory of the disks, which exists while this value lives.
    #[must_use]
    pub fn state_directory(&self) -> &Path {
        self.state.path()
    }

    /// Returns the state directory, for other kinds of guests that keep their disks there.
    pub(super) fn state(&self) -> Arc<State> {
        self.state.clone()
    }

    /// Ends all guests and removes their disks. Returns when nothing is left.
    pub async fn end(&self) {
        let Guests { machines, containers } = std::mem::take(&mut *lock(&self.guests));
        for (_, machine) in machines {
            machine.power_off().await;
        }
        for (_, container) in containers {
            container.stop().await;
        }
        if let Some(network) = self.network.get() {
            network.end().await;
        }
        let state = self.state.clone();
        // If the task panicked, the directory still exists, and nothing here can remove it.
        let _ = tokio::task::spawn_blocking(move || state.remove()).await;
    }

    async fn start_machine(&self, start: VmStart, events: Events) -> Result<(), String> {
        let vmid = start.vmid;
        if lock(&self.guests).machine(vmid).is_some_and(|machine| !machine.has_ended()) {
            return Err(format!("VM {vmid} already running"));
        }
        let machine = Machine::power_on(start, self.state.clone(), self.disks.clone(), events).await?;
        let mut guests = lock(&self.guests);
        guests.machines.retain(|(number, _)| *number != vmid);
        guests.machines.push((vmid, machine));
        Ok(())
    }

    async fn make_container(&self, rootfs: &str, template: PathBuf, setup: ContainerSetup) -> io::Result<()> {
        let disk = Disk::empty(&self.state)?;
        let directory = self.state.path().join(disk.directory());
        tokio::task::spawn_blocking(move || container::create(&template, &directory, &setup))
            .await
            .map_err(io::Error::other)??;
        self.disks.put(rootfs, disk);
        Ok(())
    }

    async fn start_container(&self, start: &ContainerStart, events: Events) -> io::Result<()> {
        let network = self.network().await?;
        let container = Container::start(start, &self.state, &self.disks, network, events).await?;
        let mut guests = lock(&self.guests);
        guests.containers.retain(|(number, _)| *number != start.vmid);
        guests.containers.push((start.vmid, container));
        Ok(())
    }

    fn machine(&self, vmid: u32) -> Option<Arc<Machine>> {
        lock(&self.guests).machine(vmid)
    }
}

impl Backend for Namespaces {
    fn disk_create<'a>(&'a self, volume: &'a str) -> BoxFuture<'a, io::Result<()>> {
        async move { self.disks.create(volume) }.boxed()
    }

    fn disk_clone<'a>(&'a self, from: &'a str, to: &'a str, linked: bool) -> BoxFuture<'a, io::Result<()>> {
        self.disks.clone_volume(from, to, linked).boxed()
    }

    fn disk_rename<'a>(&'a self, from: &'a str, to: &'a str) -> BoxFuture<'a, io::Result<()>> {
        async move { self.disks.rename(from, to) }.boxed()
    }

    fn disk_delete<'a>(&'a self, volume: &'a str) -> BoxFuture<'a, io::Result<()>> {
        async move {
            self.disks.delete(volume);
            Ok(())
        }
        .boxed()
    }

    fn vm_start<'a>(&'a self, start: VmStart, events: Events) -> BoxFuture<'a, Result<(), String>> {
        self.start_machine(start, events).boxed()
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
                machine.press(key);
            }
        }
        .boxed()
    }

    fn agent(&self, vmid: u32, call: AgentCall) -> BoxFuture<'_, Result<AgentReply, AgentError>> {
        async move {
            let machine = self.machine(vmid).ok_or(AgentError::NotRunning)?;
            let agent = machine.agent().ok_or(AgentError::NotRunning)?;
            let reply = agent.call(call).await;
            machine.inspect_paths();
            reply
        }
        .boxed()
    }

    fn console(&self, vmid: u32) -> Vec<String> {
        self.guest_log(vmid)
    }

    fn container_create<'a>(
        &'a self,
        rootfs: &'a str,
        template: PathBuf,
        setup: ContainerSetup,
    ) -> BoxFuture<'a, Result<(), String>> {
        self.make_container(rootfs, template, setup).map(|made| made.map_err(|error| error.to_string())).boxed()
    }

    fn container_start<'a>(&'a self, start: ContainerStart, events: Events) -> BoxFuture<'a, Result<(), String>> {
        async move { self.start_container(&start, events).await.map_err(|error| error.to_string()) }.boxed()
    }

    fn node_name_servers(&self) -> Vec<String> {
        vec![network::ADDRESS.to_string()]
    }

    fn container_stop(&self, vmid: u32) -> BoxFuture<'_, ()> {
        async move {
            if let Ok(container) = self.container(vmid) {
                container.stop().await;
            }
        }
        .boxed()
    }

    fn container_shutdown(&self, vmid: u32, limit: Duration) -> BoxFuture<'_, bool> {
        async move {
            match self.container(vmid) {
                Ok(container) => container.shut_down(limit).await,
                Err(_) => true,
            }
        }
        .boxed()
    }

    fn container_interfaces(&self, vmid: u32) -> BoxFuture<'_, Option<serde_json::Value>> {
        async move { self.container(vmid).ok()?.interfaces().await.ok() }.boxed()
    }

    fn container_console(&self, vmid: u32) -> BoxFuture<'_, io::Result<Box<dyn Stream>>> {
        async move { Ok(Box::new(self.container(vmid)?.console()?) as Box<dyn Stream>) }.boxed()
    }
}
