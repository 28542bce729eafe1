//! The demo's environment: simulators, guests, the image, and a working directory with `examples/complete`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use farm::build::Build;
use farm::engines::preferred_core;
use farm::harness::WorkingDirectory;
use farm::image::Image;
use farm::mirror::Mirror;
use farm::simulation::{Farm, Guests, SimulatedPve, Simulation};
use jiff::{SignedDuration, Timestamp};
use sim_guest::Namespaces;
use sim_http::request_log::RequestLog;
use sim_pve::Line;
use tempfile::TempDir;

use crate::artifacts;
use crate::narrate::Narrator;
use crate::setup::Ready;

/// VMIDs of the pool's runner VMs in `examples/complete`.
const RUNNER_VMIDS: std::ops::RangeInclusive<u32> = 9100..=9199;
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// The life of a runner VM, from the simulator's time line.
#[derive(Debug, Clone)]
pub(crate) struct Life {
    /// VMID.
    pub(crate) vmid: u32,
    /// VMID of the template from which it was cloned.
    pub(crate) template: u32,
    /// Time of the request for the clone.
    pub(crate) cloned: Timestamp,
    /// Time of the start.
    pub(crate) started: Option<Timestamp>,
    /// Time of the removal.
    pub(crate) destroyed: Option<Timestamp>,
}

/// Lives of runner VMs by name.
pub(crate) type Lives = BTreeMap<String, Life>;

/// The environment of the demo. Dropping it stops everything that it started.
pub(crate) struct Stage {
    /// The working directory with the farm's configuration.
    pub(crate) working_directory: WorkingDirectory,
    /// Directory of the image from which the template is built.
    pub(crate) image: Image,
    /// The simulated GitHub.
    pub(crate) github: sim_github::ServerHandle,
    pve: SimulatedPve,
    opened_at: Timestamp,
    _guests: Arc<Namespaces>,
    _directory: TempDir,
}

impl Stage {
    /// Starts the simulators and writes all files.
    pub(crate) async fn set(narrator: &Narrator, ready: &Ready, line: Option<Line>) -> Result<Self> {
        let core = preferred_core()?;
        let guests = Namespaces::start(&ready.guest_base).await.context("starting guests")?;
        let opened_at = Timestamp::now();
        let simulation = Simulation { line, ..Simulation::of(Guests::Running(Arc::clone(&guests))) };
        let started = Farm::simulated_as(simulation).await?;
        let directory = tempfile::Builder::new().prefix("pxci-demo-").tempdir().context("creating a directory")?;
        let provider_environment = started.provider_environment(directory.path())?;
        let repository = artifacts::repository()?;
        let flavour = repository.join("runners/ubuntu-2204");
        let Build { image, variables, secrets, plugin_path } =
            Build::prepare(&started, &flavour, directory.path(), Some(guests.ssh_address()))?;
        let Farm { pve: site, github: github_site, dispatcher, simulated_pve, simulated_github } = started;
        let (Some(pve), Some(github)) = (simulated_pve, simulated_github) else {
            bail!("a simulated farm has both simulators");
        };
        narrator.detail(&format!("Proxmox VE: {}   GitHub: {}", site.endpoint, github_site.api_url));
        let (pve_inside, github_inside) = (&dispatcher.pve_endpoint, &dispatcher.github_api_url);
        narrator.detail(&format!("as the dispatcher's container reaches them: {pve_inside}   {github_inside}"));
        narrator.detail(&format!("core: {core}"));

        for part in ["modules", "runners", "examples"] {
            farm::image::copy(&repository.join(part), &directory.path().join(part))?;
        }
        let mirror = lay_out(directory.path(), narrator)?;
        let mut farm = mirror.working_directory(core, directory.path().join("examples/complete"));
        farm.echo(show);
        provider_environment.iter().for_each(|(name, value)| farm.set(name, value));
        farm.set("PATH", &ready.search_path().to_string_lossy());

        if let Some(plugins) = &plugin_path {
            farm.set("PACKER_PLUGIN_PATH", &plugins.display().to_string());
        }
        let inputs = [
            ("node", site.node.clone()),
            ("vm_storage", site.vm_storage.clone()),
            ("iso_storage", site.iso_storage.clone()),
            ("bridge", site.bridge.clone()),
            ("repository", github_site.repository.clone()),
            ("github_api_url", github_site.api_url.clone()),
            ("dispatcher_pve_endpoints", serde_json::json!([pve_inside]).to_string()),
            ("dispatcher_github_api_url", github_inside.clone()),
            ("github_token", github_site.token.clone()),
            ("dispatcher_token_id", site.dispatcher.id.clone()),
            ("dispatcher_token_secret", site.dispatcher.secret.clone()),
            ("poll_interval", "1".to_owned()),
            ("image_directory", image.path().display().to_string()),
            ("image_variables", variables.to_string()),
            ("image_secrets", secrets.to_string()),
        ];
        if let Some(pem) = &dispatcher.github_ca_pem {
            farm.set("TF_VAR_github_ca_certificate", pem);
        }
        inputs.iter().for_each(|(name, value)| farm.set(&format!("TF_VAR_{name}"), value));
        Ok(Self { working_directory: farm, image, github, pve, opened_at, _guests: guests, _directory: directory })
    }

    /// Returns what exists in the simulated Proxmox VE.
    pub(crate) fn show(&self, narrator: &Narrator) {
        for line in self.pve.handle.leftovers() {
            narrator.detail(&line);
        }
    }

    /// Returns the number of requests to Proxmox VE and to GitHub so far, without those of the runner program.
    pub(crate) fn requests(&self) -> (usize, usize) {
        let count = |log: RequestLog| log.entries().iter().filter(|entry| !entry.path.starts_with("/_sim/")).count();
        (count(self.pve.handle.requests()), count(self.github.requests()))
    }

    /// Returns the life of the runner VM of this name.
    pub(crate) fn life(&self, runner: &str) -> Option<Life> {
        self.lives().get(runner).cloned()
    }

    /// Returns the most runner VMs of the pool that existed at the same time.
    pub(crate) fn most_runner_vms(&self) -> usize {
        let mut changes: Vec<(Timestamp, i32)> = Vec::new();
        for life in self.lives().values().filter(|life| RUNNER_VMIDS.contains(&life.vmid)) {
            changes.push((life.cloned, 1));
            changes.extend(life.destroyed.map(|at| (at, -1)));
        }
        changes.sort();
        let mut now = 0;
        let most = changes.iter().map(|(_, change)| {
            now += change;
            now
        });
        most.max().and_then(|most| most.try_into().ok()).unwrap_or(0)
    }

    /// Waits until no runner VM of the pool and no registration is left.
    pub(crate) async fn reaped(&self, limit: Duration) -> Result<()> {
        let left = || {
            let vms = self
                .pve
                .handle
                .guests()
                .into_iter()
                .filter(|vmid| RUNNER_VMIDS.contains(vmid))
                .map(|vmid| format!("VM {vmid}"));
            vms.chain(self.github.world(|world, _| world.leftovers())).collect::<Vec<_>>()
        };
        match self.nothing_of(left, limit).await {
            left if left.is_empty() => Ok(()),
            left => bail!("not reaped within {} s: {}", limit.as_secs(), left.join(", ")),
        }
    }

    /// Waits for the end of the farm, at most for `limit`. Returns the remaining things.
    pub(crate) async fn leftovers(&self, limit: Duration) -> Vec<String> {
        let left = || {
            let github = self.github.world(|world, _| world.leftovers());
            self.pve.handle.leftovers().into_iter().chain(github).chain(self.github.violations()).collect::<Vec<_>>()
        };
        self.nothing_of(left, limit).await
    }

    async fn nothing_of(&self, left: impl Fn() -> Vec<String>, limit: Duration) -> Vec<String> {
        let end = Instant::now() + limit;
        loop {
            let found = left();
            if found.is_empty() || Instant::now() >= end {
                return found;
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Returns the lives of all cloned VMs by name, from the simulator's time line.
    fn lives(&self) -> Lives {
        let mut lives = Lives::new();
        for happening in self.pve.handle.timeline() {
            let at = self.opened_at + SignedDuration::try_from(happening.at).unwrap_or_default();
            let words: Vec<&str> = happening.what.split(' ').collect();
            match (happening.kind.as_str(), words.as_slice()) {
                ("cloned", [vmid, template, name]) => {
                    let (Ok(vmid), Ok(template)) = (vmid.parse(), template.parse()) else { continue };
                    lives.insert(
                        (*name).to_owned(),
                        Life { vmid, template, cloned: at, started: None, destroyed: None },
                    );
                }
                ("task_start", ["qmstart", vmid]) => change(&mut lives, vmid, |life| life.started = Some(at)),
                ("destroyed", [vmid]) => change(&mut lives, vmid, |life| life.destroyed = Some(at)),
                _ => {}
            }
        }
        lives
    }
}

/// Changes the life of the VM that currently has this VMID.
fn change(lives: &mut Lives, vmid: &str, change: impl FnOnce(&mut Life)) {
    let Ok(vmid) = vmid.parse::<u32>() else { return };
    if let Some(life) = lives.values_mut().find(|life| life.vmid == vmid && life.destroyed.is_none()) {
        change(life);
    }
}

fn lay_out(directory: &Path, narrator: &Narrator) -> Result<Mirror> {
    narrator.say("building the provider and the dispatcher's appliance");
    let provider = artifacts::provider()?;
    let appliance = artifacts::appliance()?;
    Mirror::lay_out(&directory.join("plugins"), &provider, Some(&appliance))
}

fn show(line: &str) {
    if !line.trim().is_empty() {
        println!("            | {line}");
    }
}

/// Returns the repository of the simulated GitHub.
pub(crate) use farm::simulation::REPOSITORY;
