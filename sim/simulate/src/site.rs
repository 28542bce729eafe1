//! The dispatcher's surroundings in one process: both simulators, the ways to them, and the directory of the ledger.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context as _;
use dispatcher::control::Control;
use dispatcher::logs::LogRing;
use dispatcher::parts::{Parts, Simulated};
use dispatcher::settings::Settings;
use dispatcher::{EngineError, run_with};
use dispatcher_api::Secrets;
use jiff::{SignedDuration, Timestamp};
use ownership::{Nonce, RunId};
use rand::Rng as _;
use sim_github::{Behaviour, ServerHandle, ServerOptions, Token};
use sim_pve::{Handle, Latency};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::chance::Chance;
use crate::farm::{self, Farm};
use crate::guests::{Guests, Pace};
use crate::network::{ToGithub, ToPve};
use crate::watch::Watch;

/// Wall time at the start of every run.
pub(crate) const BEGINS: Timestamp = Timestamp::constant(1_800_000_000, 0);

/// Both simulators, and what a dispatcher needs to work with them.
pub(crate) struct Site {
    pub(crate) pve: Arc<Handle>,
    pub(crate) github: Arc<ServerHandle>,
    pub(crate) watch: Arc<Watch>,
    pub(crate) chance: Chance,
    pub(crate) farm: Farm,
    /// Start of the run.
    pub(crate) began: Instant,
    /// Commits to the ledger, all and synchronised.
    pub(crate) commits: Arc<[AtomicU64; 2]>,
    settings: Settings,
    parts: Parts,
    /// Directory of the ledger, which goes with the site.
    directory: tempfile::TempDir,
}

/// A running dispatcher.
pub(crate) struct Running {
    pub(crate) task: JoinHandle<Result<(), EngineError>>,
    pub(crate) control: Control,
    pub(crate) stop: CancellationToken,
}

impl Running {
    /// Kills the dispatcher.
    pub(crate) async fn kill(self) {
        self.task.abort();
        let _killed = self.task.await;
    }
}

impl Site {
    /// Makes the simulators on a runtime whose clock is paused.
    pub(crate) fn new(farm: &Farm, pace: Pace, behaviour: Behaviour, seed: u64) -> anyhow::Result<Self> {
        let (chance, watch, began) = (Chance::from_seed(seed), Arc::new(Watch::new(farm)), Instant::now());
        let clock = move || BEGINS + SignedDuration::try_from(began.elapsed()).unwrap_or(SignedDuration::MAX);
        let github = Arc::new(sim_github::Server::in_process(ServerOptions {
            external_url: Some(farm::GITHUB.to_owned()),
            behaviour,
            seed,
            clock: Arc::new(clock),
            ..ServerOptions::default()
        }));
        let github_token = github.world(|world, _| {
            farm.pools.iter().flat_map(|pool| &pool.repositories).for_each(|name| world.add_repository(name));
            world.add_token(Token::for_repository_runners())
        });
        let guests = Guests::new(Arc::clone(&github), Arc::clone(&watch), chance, pace);
        let cluster = sim_pve::Options {
            latency: Latency::Real,
            seed,
            begins: Some(BEGINS),
            worker_time: pace.worker,
            ..Default::default()
        };
        let pve = Arc::new(sim_pve::Server::in_process(&farm.world()?, Arc::new(guests), &cluster)?);
        watch.attach(&pve);
        let secret = pve.token_secret(farm::TOKEN).context("the dispatcher's token of Proxmox VE")?;
        let secrets = Secrets { pve_token_secret: secret.as_str().into(), github_token: github_token.as_str().into() };
        let commits: Arc<[AtomicU64; 2]> = Arc::default();
        let simulated = Simulated {
            pve: Arc::new(ToPve::new(Arc::clone(&pve), Arc::clone(&watch), chance)),
            github: Arc::new(ToGithub::new(Arc::clone(&github), Arc::clone(&watch), chance)),
            origin: (BEGINS, began),
            run_id: RunId::from(u32::try_from(seed % u64::from(u32::MAX)).unwrap_or_default()),
            nonces: nonces(chance),
            committed: counter(&commits),
        };
        Ok(Self {
            settings: farm.settings(&farm.endpoints(), farm::GITHUB, secrets)?,
            parts: Parts { simulated: Some(simulated) },
            directory: tempfile::tempdir().context("making a directory for the ledger")?,
            farm: farm.clone(),
            pve,
            github,
            watch,
            chance,
            began,
            commits,
        })
    }

    /// Returns the path of the ledger.
    pub(crate) fn ledger(&self) -> PathBuf {
        self.directory.path().join("ledger.sqlite")
    }

    /// Starts the dispatcher.
    pub(crate) fn start_dispatcher(&self) -> Running {
        let control = Control::new(Some(self.settings.clone()), None, LogRing::default());
        let (stop, parts) = (CancellationToken::new(), self.parts.clone());
        let (stopping, ledger) = (stop.clone(), self.ledger());
        let running = control.clone();
        let task = tokio::spawn(async move { run_with(parts, running, &ledger, stopping).await });
        Running { task, control, stop }
    }

    /// Returns true if nothing is left of any runner.
    pub(crate) fn is_clean(&self) -> bool {
        self.pve.leftovers().is_empty() && self.github.inspect(|world, _| world.runner_names().is_empty())
    }
}

fn counter(commits: &Arc<[AtomicU64; 2]>) -> Arc<dyn Fn(bool) + Send + Sync> {
    let commits = Arc::clone(commits);
    Arc::new(move |is_synchronised| {
        commits[0].fetch_add(1, Ordering::Relaxed);
        commits[1].fetch_add(u64::from(is_synchronised), Ordering::Relaxed);
    })
}

/// Returns a source of nonces: six of `a-z0-9`, by the seed.
fn nonces(chance: Chance) -> Arc<dyn Fn() -> Nonce + Send + Sync> {
    const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let drawn = AtomicU64::new(0);
    Arc::new(move || {
        let mut random = chance.of("nonce", drawn.fetch_add(1, Ordering::Relaxed));
        loop {
            let text: String = (0..6).map(|_| char::from(ALPHABET[random.random_range(0..ALPHABET.len())])).collect();
            if let Ok(nonce) = text.parse() {
                return nonce;
            }
        }
    })
}
