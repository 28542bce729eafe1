//! A farm to test against: Proxmox VE and GitHub, each real if the environment names one, otherwise simulated.
//!
//! The simulated Proxmox VE has the users, tokens, roles and grants of `docs/privileges.md`, read from that page. A
//! privilege that is missing on the page therefore makes tests fail.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use sim_backend::Backend;
use sim_github::Token as GitHubToken;
use sim_guest::qemu::{self, Qemu};
use sim_guest::{Namespaces, network};
use sim_pve::scripted::{Boot, Scripted};
use sim_pve::{Handle, Latency, Line, Options, Server, World};

use crate::privileges::Documented;
use crate::targets::{DispatcherAddresses, GitHubTarget, PveTarget, Token, listen_address};

/// User that Packer 1.6 logs in as with a password. It is the owner of the provider's token.
const PACKER_USER: &str = "pxci@pve";
/// File name of the simulated installation medium.
const INSTALLER: &str = "ubuntu-22.04-live-server-amd64.iso";

/// Repository of the simulated GitHub's jobs.
pub const REPOSITORY: &str = "acme/widgets";

/// The kind of simulated guests.
#[derive(Clone)]
pub enum Guests {
    /// Guests that answer immediately and run no programs.
    Scripted,
    /// Scripted guests with a fake program behind their consoles.
    Played(Scripted),
    /// Guests whose programs run in namespaces.
    Running(Arc<Namespaces>),
    /// Guests that are complete virtual machines.
    Machines(Arc<Qemu>),
}

impl Guests {
    /// Returns the containers that have a network of their own.
    fn containers(&self) -> Option<&Arc<Namespaces>> {
        match self {
            Self::Scripted | Self::Played(_) => None,
            Self::Running(namespaces) => Some(namespaces),
            Self::Machines(qemu) => Some(qemu.containers()),
        }
    }

    /// Returns the simulators' further addresses: their address in the containers' network, if there is one.
    fn further_names(&self) -> Vec<String> {
        self.containers().map(|_| network::ADDRESS.to_string()).into_iter().collect()
    }

    /// Returns the root URL of a simulated GitHub for guests, if it differs from the others'.
    fn github_url(&self) -> Option<String> {
        matches!(self, Self::Machines(_)).then(|| format!("http://{}:0", qemu::HOST))
    }
}

/// Options of the simulators.
pub struct Simulation {
    /// The programs of the guests.
    pub guests: Guests,
    /// Line of Proxmox VE. Default: `PXCI_ACC_PVE_LINE`, else the newest.
    pub line: Option<Line>,
    /// Seed of both simulators. Default: a random one for GitHub, a fixed one for Proxmox VE.
    pub seed: Option<u64>,
    /// Pace of time. Default: real for guests that run, otherwise so fast that waits take no time.
    pub latency: Option<Latency>,
    /// True if there is an installation medium, which needs a storage `local`.
    pub installer: bool,
    /// The cluster. Default: one node, `pve1`, with the storages `local` and `local-lvm`. The set-up of the page on
    /// privileges is added to it.
    pub world: Option<World>,
}

impl Simulation {
    /// Returns the default options.
    #[must_use]
    pub fn of(guests: Guests) -> Self {
        Self { guests, line: None, seed: None, latency: None, installer: true, world: None }
    }

    fn latency(&self) -> Latency {
        self.latency.unwrap_or(match &self.guests {
            Guests::Scripted | Guests::Played(_) => Latency::Instant,
            Guests::Running(_) | Guests::Machines(_) => Latency::Real,
        })
    }
}

/// Returns the default cluster.
#[must_use]
pub fn usual_world() -> World {
    World::new("pve1").storage("local", &["iso", "vztmpl", "backup"]).storage("local-lvm", &["images", "rootdir"])
}

/// The services that a run uses.
pub struct Farm {
    /// Address and settings of Proxmox VE.
    pub pve: PveTarget,
    /// Address and settings of GitHub.
    pub github: GitHubTarget,
    /// Addresses and certificates with which the dispatcher's container reaches both.
    pub dispatcher: DispatcherAddresses,
    /// Simulated Proxmox VE, unless a real one is used.
    pub simulated_pve: Option<SimulatedPve>,
    /// Simulated GitHub, unless a real one is used.
    pub simulated_github: Option<sim_github::ServerHandle>,
}

/// A running simulator of Proxmox VE.
pub struct SimulatedPve {
    /// Its control handle.
    pub handle: Handle,
    /// Password of the provider's user, for tools without support for tokens.
    pub packer_password: String,
    /// User of that password.
    pub packer_user: &'static str,
    /// Password of `root@pam`, for tests that act as another administrator.
    pub root_password: String,
}

impl Farm {
    /// Starts both simulators, regardless of the environment, for tests that inspect them.
    ///
    /// # Errors
    /// When a simulator does not start.
    pub async fn simulated(guests: Guests) -> Result<Self> {
        Self::simulated_as(Simulation::of(guests)).await
    }

    /// Starts both simulators with these options, regardless of the environment.
    ///
    /// # Errors
    /// When a simulator does not start.
    pub async fn simulated_as(simulation: Simulation) -> Result<Self> {
        let (seed, guests, latency) = (simulation.seed, simulation.guests.clone(), simulation.latency());
        let (pve, simulated_pve) = simulated_pve(simulation).await?;
        let clock = one_clock(latency, &simulated_pve.handle);
        let (github, simulated_github) = simulated_github(&guests, seed, clock).await?;
        let dispatcher = DispatcherAddresses::of(guests.containers(), &pve, &github, Some(&simulated_github)).await?;
        let (simulated_pve, simulated_github) = (Some(simulated_pve), Some(simulated_github));
        Ok(Self { pve, github, dispatcher, simulated_pve, simulated_github })
    }

    /// Starts a simulator for each service that the environment does not name.
    ///
    /// # Errors
    /// When the environment is incomplete, or a simulator does not start.
    pub async fn start(guests: Guests) -> Result<Self> {
        let real_pve = PveTarget::from_environment()?;
        let real_github = GitHubTarget::from_environment()?;
        let simulation = Simulation::of(guests.clone());
        let latency = simulation.latency();
        let (pve, simulated_pve) = match real_pve {
            Some(target) => (target, None),
            None => simulated_pve(simulation).await.map(|(target, simulated)| (target, Some(simulated)))?,
        };
        let clock = simulated_pve.as_ref().and_then(|simulated| one_clock(latency, &simulated.handle));
        let (github, simulated_github) = match real_github {
            Some(target) => (target, None),
            None => simulated_github(&guests, None, clock).await.map(|(target, handle)| (target, Some(handle)))?,
        };
        // The dispatcher's container is simulated exactly when Proxmox VE is.
        let containers = guests.containers().filter(|_| simulated_pve.is_some());
        let dispatcher = DispatcherAddresses::of(containers, &pve, &github, simulated_github.as_ref()).await?;
        Ok(Self { pve, github, dispatcher, simulated_pve, simulated_github })
    }

    /// Returns the environment variables that configure the provider for this farm. The CA's certificate is written to
    /// `directory`.
    ///
    /// # Errors
    /// When the certificate cannot be written.
    pub fn provider_environment(&self, directory: &Path) -> Result<Vec<(String, String)>> {
        let pve = &self.pve;
        let mut variables = vec![
            ("PXCI_ENDPOINT", pve.endpoint.clone()),
            ("PXCI_TOKEN_ID", pve.provider.id.clone()),
            ("PXCI_TOKEN_SECRET", pve.provider.secret.clone()),
            ("PXCI_NODE", pve.node.clone()),
        ];
        if let Some(pem) = &pve.ca_pem {
            let file = directory.join("pve-root-ca.pem");
            std::fs::write(&file, pem).with_context(|| format!("writing {}", file.display()))?;
            variables.push(("PXCI_CA_FILE", file.display().to_string()));
        }
        if let Some(fingerprint) = &pve.fingerprint {
            variables.push(("PXCI_FINGERPRINT", fingerprint.clone()));
        }
        Ok(variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// Returns the resources that a removed farm has left behind. Empty for real services, which are not compared.
    #[must_use]
    pub fn leftovers(&self) -> Vec<String> {
        let pve = self.simulated_pve.as_ref().map(|pve| pve.handle.leftovers()).unwrap_or_default();
        let github = self.simulated_github.as_ref().map(|github| github.world(|world, _| world.leftovers()));
        pve.into_iter().chain(github.unwrap_or_default()).collect()
    }
}

/// Returns the clock of the simulated Proxmox VE for the simulated GitHub. If simulated time is faster than real time,
/// GitHub uses real time, because clients sign with their own clocks and GitHub would reject these signatures as too
/// old.
fn one_clock(latency: Latency, pve: &Handle) -> Option<Arc<dyn Fn() -> Timestamp + Send + Sync>> {
    matches!(latency, Latency::Real | Latency::Stepped).then(|| pve.instants())
}

fn listen() -> Result<SocketAddr> {
    format!("{}:0", listen_address()).parse().context("PXCI_ACC_LISTEN must be an IP address")
}

async fn simulated_pve(simulation: Simulation) -> Result<(PveTarget, SimulatedPve)> {
    let packer_password = format!("{:032x}", rand::random::<u128>());
    let (latency, names) = (simulation.latency(), simulation.guests.further_names());
    let backend: Arc<dyn Backend> = match simulation.guests {
        Guests::Scripted => Arc::new(Scripted::new(Boot::AtOnce)),
        Guests::Played(guests) => Arc::new(guests),
        Guests::Running(namespaces) => namespaces,
        Guests::Machines(qemu) => qemu,
    };
    let line = match (simulation.line, std::env::var("PXCI_ACC_PVE_LINE")) {
        (Some(line), _) => line,
        (None, Ok(line)) => line.parse::<Line>().context("PXCI_ACC_PVE_LINE")?,
        (None, Err(_)) => Line::default(),
    };
    let seed = simulation.seed.unwrap_or(Options::default().seed);
    let options = Options { listen: listen()?, names, latency, line: Some(line), seed, ..Options::default() };
    let root_password = format!("{:032x}", rand::random::<u128>());
    let world = simulation.world.unwrap_or_else(usual_world);
    let world = documented(world, &packer_password, line)?.user("root@pam", &root_password);
    let mut handle = Server::start(&world, backend, options).await.context("starting the simulator of Proxmox VE")?;
    let installer = simulation.installer.then(|| format!("local:iso/{INSTALLER}"));
    if let Some(installer) = &installer {
        let medium = installation_medium()?;
        handle.put_file(installer, &medium.path().join("medium.iso")).context("placing the installation medium")?;
    }
    handle.set_baseline();
    let token = |id: &str| -> Result<Token> {
        let secret = handle.token_secret(id).with_context(|| format!("docs/privileges.md makes no token {id}"))?;
        Ok(Token { id: id.to_owned(), secret })
    };
    let target = PveTarget {
        endpoint: handle.url(),
        ca_pem: Some(handle.ca_pem().to_owned()),
        fingerprint: None,
        provider: token("pxci@pve!provider")?,
        dispatcher: token("pxci-dispatcher@pve!farm")?,
        node: world.first_node().to_owned(),
        vm_storage: "local-lvm".to_owned(),
        iso_storage: "local".to_owned(),
        bridge: "vmbr0".to_owned(),
        runners_pool: "pxci-runners".to_owned(),
        control_pool: "pxci-control".to_owned(),
        first_vmid: 9000,
        template_vmid: None,
        installer,
    };
    Ok((target, SimulatedPve { handle, packer_password, packer_user: PACKER_USER, root_password }))
}

async fn simulated_github(
    guests: &Guests,
    seed: Option<u64>,
    clock: Option<Arc<dyn Fn() -> Timestamp + Send + Sync>>,
) -> Result<(GitHubTarget, sim_github::ServerHandle)> {
    let mut options = sim_github::ServerOptions {
        listen: listen()?,
        external_url: guests.github_url(),
        names: guests.further_names(),
        ..sim_github::ServerOptions::default()
    };
    options.seed = seed.unwrap_or(options.seed);
    options.clock = clock.unwrap_or(options.clock);
    let handle = sim_github::Server::start(options).await.context("starting the simulator of GitHub")?;
    let token = handle.world(|world, _| {
        world.add_repository(REPOSITORY);
        world.add_token(GitHubToken::for_repository_runners())
    });
    // Tokens are sent unencrypted only inside this machine.
    let (api_url, ca_pem) = match handle.url().strip_prefix("http://") {
        Some(address) if !listen()?.ip().is_loopback() => {
            (format!("https://{address}"), Some(handle.ca_pem().to_owned()))
        }
        _ => (handle.url().to_owned(), None),
    };
    let target = GitHubTarget { api_url, ca_pem, token, repository: REPOSITORY.to_owned(), job: None };
    Ok((target, handle))
}

/// Content of the simulated installation medium, which is not a seed ISO.
fn installation_medium() -> Result<tempfile::TempDir> {
    let directory = tempfile::tempdir().context("creating a directory for the installation medium")?;
    let content = directory.path().join("content");
    std::fs::create_dir_all(content.join("casper"))?;
    let output = Command::new("xorriso")
        .args(["-as", "mkisofs", "-quiet", "-V", "Ubuntu-Server 22.04", "-o"])
        .arg(directory.path().join("medium.iso"))
        .arg(&content)
        .output()
        .context("starting xorriso: install it with `cargo xtask setup`")?;
    ensure!(output.status.success(), "xorriso failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(directory)
}

/// Adds the set-up of the page on privileges to a cluster.
fn documented(world: World, packer_password: &str, line: Line) -> Result<World> {
    let password = |user: &str| match user {
        PACKER_USER => packer_password.to_owned(),
        _ => format!("{:032x}", rand::random::<u128>()),
    };
    Ok(Documented::on(line)?.set_up(world, password))
}

/// Returns the root of this repository.
#[must_use]
pub fn repository() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}
