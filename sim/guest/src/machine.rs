//! One powered-on virtual machine, from its boot loader to its end.
//!
//! ```text
//! power on ─► disk empty? ─yes─► boot loader ─typed kernel line─► unattended installation ─┐
//!                 │no                └─ anything else: waits for a person at the screen     │
//!                 ▼                                                                         │
//!               boot ◄──────────────────────────── reboot ◄─────────────────────────────────┘
//!                 ▼
//!               up ──► powers itself off / is shut down ─► event      stop: no event
//! ```

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::agent::Agent;
use super::autoinstall::Autoinstall;
use super::cloud_config;
use super::disks::Disks;
use super::grub::BootLoader;
use super::log::Log;
use super::sandbox::{End, Kind, Sandbox};
use super::seed::{self, Seed};
use super::state::{Disk, State};
use super::units::Manager;
use sim_backend::{Events, GuestEvent, GuestEventKind, VmStart};

/// The steps of a booting system before programs of the image run.
const EARLY: &str = r#"name=$(cat /etc/hostname 2>/dev/null || :)
hostname "${name:-$1}"
[ -s /etc/machine-id ] || systemd-machine-id-setup 2>/dev/null
cat > /etc/resolv.conf
systemd-tmpfiles --create --boot --exclude-prefix=/dev --exclude-prefix=/proc --exclude-prefix=/sys 2>&1 || :"#;

/// A powered-on machine, as seen from outside.
#[derive(Debug)]
pub(super) struct Machine {
    keys: mpsc::UnboundedSender<String>,
    power: CancellationToken,
    stopped_by_host: AtomicBool,
    up: Mutex<Option<Up>>,
    installing: Mutex<Option<Arc<Sandbox>>>,
    gone: CancellationToken,
    inspection: Arc<Notify>,
    log: Log,
}

/// A machine whose system runs.
#[derive(Debug, Clone)]
struct Up {
    guest: Arc<Sandbox>,
    agent: Option<Arc<Agent>>,
}

/// The state of the machine's task.
struct Hardware {
    start: VmStart,
    state: Arc<State>,
    disks: Arc<Disks>,
    events: Events,
    keys: mpsc::UnboundedReceiver<String>,
}

impl Machine {
    /// Powers a machine on. Returns when its system runs, or when it waits at its boot loader.
    ///
    /// # Errors
    /// When its namespaces cannot be made.
    pub(super) async fn power_on(
        start: VmStart,
        state: Arc<State>,
        disks: Arc<Disks>,
        events: Events,
    ) -> Result<Arc<Self>, String> {
        let (keys, pressed) = mpsc::unbounded_channel();
        let machine = Arc::new(Self {
            keys,
            power: CancellationToken::new(),
            stopped_by_host: AtomicBool::new(false),
            up: Mutex::default(),
            installing: Mutex::default(),
            gone: CancellationToken::new(),
            inspection: Arc::default(),
            log: Log::default(),
        });
        let (running, runs) = oneshot::channel();
        let hardware = Hardware { start, state, disks, events, keys: pressed };
        let task = machine.clone();
        tokio::spawn(async move { task.live(hardware, running).await });
        runs.await.unwrap_or_else(|_| Err("the machine's task ended".to_owned()))?;
        Ok(machine)
    }

    pub(super) fn press(&self, key: &str) {
        // A machine whose system runs ignores its keyboard.
        let _ = self.keys.send(key.to_owned());
    }

    /// Presses the power button. Only a running system reacts to it.
    pub(super) async fn power_button(&self) {
        let up = self.up();
        if let Some(up) = up {
            up.guest.kill().await;
        }
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

    pub(super) fn agent(&self) -> Option<Arc<Agent>> {
        self.up().and_then(|up| up.agent)
    }

    /// Returns the running system.
    pub(super) fn guest(&self) -> Option<Arc<Sandbox>> {
        self.up().map(|up| up.guest)
    }

    /// Makes path units check their files now.
    pub(super) fn inspect_paths(&self) {
        self.inspection.notify_waiters();
    }

    pub(super) fn log(&self) -> Vec<String> {
        self.log.lines()
    }

    fn up(&self) -> Option<Up> {
        self.up.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_up(&self, up: Option<Up>) {
        *self.up.lock().unwrap_or_else(PoisonError::into_inner) = up;
    }

    async fn live(&self, mut hardware: Hardware, running: oneshot::Sender<Result<(), String>>) {
        let mut running = Some(running);
        let powered = self.power.clone();
        let life = self.boot_for_ever(&mut hardware, &mut running);
        let result = tokio::select! {
            result = life => result,
            () = powered.cancelled() => Ok(()),
        };
        let installing = self.installing.lock().unwrap_or_else(PoisonError::into_inner).take();
        for guest in self.guest().into_iter().chain(installing) {
            guest.kill().await;
        }
        self.set_up(None);
        if let Err(error) = &result {
            self.log.say(&error.to_string());
        }
        match (running.take(), result) {
            // The caller may have been cancelled in between.
            (Some(running), Err(error)) => drop(running.send(Err(error.to_string()))),
            (Some(running), Ok(())) => drop(running.send(Ok(()))),
            (None, _) => {}
        }
        self.gone.cancel();
        if !self.stopped_by_host.load(Ordering::SeqCst) {
            send(&hardware.events, hardware.start.vmid, GuestEventKind::PoweredOff);
        }
    }

    /// Boots the machine, and boots it again after each reboot, until it powers itself off.
    async fn boot_for_ever(
        &self,
        hardware: &mut Hardware,
        running: &mut Option<oneshot::Sender<Result<(), String>>>,
    ) -> io::Result<()> {
        let (seed_disc, media) = seed::sort_discs(&hardware.start.cdroms).await?;
        loop {
            let disk = hardware.start.boot_disk.as_ref().and_then(|volume| hardware.disks.get(volume));
            match disk {
                Some(disk) if disk.has_system() => {
                    if self.boot(disk, hardware, seed_disc.as_ref(), running).await? == End::PoweredOff {
                        return Ok(());
                    }
                }
                Some(disk) if !media.is_empty() => {
                    report_running(running);
                    let kernel_line = boot_loader(&mut hardware.keys).await;
                    self.log.say(&format!("boot loader: {kernel_line}"));
                    self.install(disk, hardware, seed_disc.as_ref(), &kernel_line).await;
                }
                _ => {
                    report_running(running);
                    self.log.say("no bootable device");
                    std::future::pending::<()>().await;
                }
            }
        }
    }

    /// Installs a system. Returns only if the installation succeeds, because a failed one waits for a person at the
    /// screen.
    async fn install(&self, disk: Disk, hardware: &Hardware, seed_disc: Option<&PathBuf>, kernel_line: &str) {
        match self.try_install(disk, hardware, seed_disc, kernel_line).await {
            Ok(()) => self.log.say("installer: finished, rebooting"),
            Err(error) => {
                self.log.say(&format!("installer: {error}"));
                std::future::pending().await
            }
        }
    }

    async fn try_install(
        &self,
        disk: Disk,
        hardware: &Hardware,
        seed_disc: Option<&PathBuf>,
        kernel_line: &str,
    ) -> io::Result<()> {
        if !kernel_line.split_whitespace().any(|word| word == "autoinstall") {
            return Err(io::Error::other(
                "`autoinstall` is not on the kernel's command line: waiting for a person to answer",
            ));
        }
        let disk = disk.with_system();
        let target =
            Arc::new(Sandbox::start(&hardware.state, &Kind::Vm { overlay: disk.overlay_options() }, &self.log).await?);
        *self.installing.lock().unwrap_or_else(PoisonError::into_inner) = Some(target.clone());
        let result = self.install_into(&target, seed_disc, kernel_line).await;
        target.kill().await;
        result?;
        if let Some(volume) = &hardware.start.boot_disk {
            hardware.disks.put(volume, disk);
        }
        Ok(())
    }

    async fn install_into(&self, target: &Sandbox, seed_disc: Option<&PathBuf>, kernel_line: &str) -> io::Result<()> {
        target.must("early boot", EARLY, &["installer"], &host_resolver()).await?;
        let Seed { user_data, .. } = match (seed::from_kernel_line(kernel_line, target).await?, seed_disc) {
            (Some(seed), _) => seed,
            (None, Some(disc)) => seed::from_disc(disc).await?,
            (None, None) => {
                return Err(io::Error::other(
                    "no seed: neither a CD labelled cidata nor an address on the kernel's command line",
                ));
            }
        };
        let document = Autoinstall::read(&user_data).map_err(io::Error::other)?;
        document.install(target, &self.log).await
    }

    async fn boot(
        &self,
        disk: Disk,
        hardware: &Hardware,
        seed_disc: Option<&PathBuf>,
        running: &mut Option<oneshot::Sender<Result<(), String>>>,
    ) -> io::Result<End> {
        let guest =
            Arc::new(Sandbox::start(&hardware.state, &Kind::Vm { overlay: disk.overlay_options() }, &self.log).await?);
        self.set_up(Some(Up { guest: guest.clone(), agent: None }));
        report_running(running);
        if let Err(error) = self.come_up(&guest, hardware, seed_disc).await {
            self.log.say(&format!("boot: {error}"));
        }
        let end = guest.ended().await;
        if end == End::Rebooted && self.agent().is_some() {
            send(&hardware.events, hardware.start.vmid, GuestEventKind::AgentDown);
        }
        self.log.say(if end == End::Rebooted { "rebooted" } else { "powered off" });
        self.set_up(None);
        Ok(end)
    }

    async fn come_up(&self, guest: &Arc<Sandbox>, hardware: &Hardware, seed_disc: Option<&PathBuf>) -> io::Result<()> {
        let said = guest.must("early boot", EARLY, &[&hardware.start.name], &host_resolver()).await?;
        said.lines().for_each(|line| self.log.say(line));
        let seed = match seed_disc {
            Some(disc) => match seed::from_disc(disc).await {
                Ok(seed) => Some(seed),
                Err(error) => {
                    self.log.say(&format!("cloud-init: the seed cannot be read: {error}"));
                    None
                }
            },
            None => None,
        };
        cloud_config::boot(guest, seed.as_ref(), &self.log).await?;
        Manager::new(guest.clone(), self.log.clone(), self.inspection.clone()).start_enabled().await?;
        self.log.say("booted");
        if !hardware.start.agent {
            return Ok(());
        }
        if !guest.script("[ -x /usr/sbin/qemu-ga ]", &[], b"").await?.status.success() {
            self.log.say("the guest agent is not installed");
            return Ok(());
        }
        self.set_up(Some(Up { guest: guest.clone(), agent: Some(Arc::new(Agent::new(guest.clone()))) }));
        send(&hardware.events, hardware.start.vmid, GuestEventKind::AgentUp);
        Ok(())
    }
}

/// Reads keys until a kernel is booted.
async fn boot_loader(keys: &mut mpsc::UnboundedReceiver<String>) -> String {
    let mut loader = BootLoader::default();
    loop {
        let Some(key) = keys.recv().await else { std::future::pending().await };
        if let Some(kernel_line) = loader.press(&key) {
            return kernel_line;
        }
    }
}

/// Returns the resolver configuration that a DHCP server on this network would send.
fn host_resolver() -> Vec<u8> {
    std::fs::read("/etc/resolv.conf").unwrap_or_default()
}

fn report_running(running: &mut Option<oneshot::Sender<Result<(), String>>>) {
    if let Some(running) = running.take() {
        // The caller may have been cancelled.
        let _ = running.send(Ok(()));
    }
}

fn send(events: &Events, vmid: u32, kind: GuestEventKind) {
    // The receiver may no longer exist.
    events.send(GuestEvent { vmid, kind });
}
