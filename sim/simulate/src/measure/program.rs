//! The dispatcher's program against simulators with sockets, in real time: its memory, and its restart.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use dispatcher::state_directory::StateDirectory;
use dispatcher_api::protocol::{Answer, PROTOCOL, Request};
use dispatcher_api::{Secrets, Status};
use serde_json::json;
use sim_github::{ServerHandle, ServerOptions, Token};
use sim_pve::{Handle, Latency};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::time::sleep;

use super::farm;
use super::lost::busy;
use crate::chance::Chance;
use crate::demand::run_of;
use crate::farm::{Farm, TOKEN};
use crate::guests::{Guests, Pace};
use crate::watch::Watch;

/// Pause between two questions for the status.
const CHECK: Duration = Duration::from_millis(10);
/// Time after which a condition no longer comes true.
const LIMIT: Duration = Duration::from_secs(600);
/// Time for which a dispatcher with all VMs is watched before its memory is read.
const WATCHED: Duration = Duration::from_secs(30);
/// Repositories of the jobs.
const REPOSITORIES: usize = 10;

/// Results of the program.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Measured {
    /// Peak of the resident set while the VMs were made, in KiB (`VmHWM`).
    pub peak: u64,
    /// Resident set half a minute after all VMs had jobs, in KiB (`VmRSS`).
    pub resident: u64,
    /// Peak of the resident set after each restart, in KiB.
    pub restarted_peaks: Vec<u64>,
    /// Seconds from each restart to a status that shows all VMs with their jobs, after one poll of everything.
    pub restarts: Vec<f64>,
    /// Requests to Proxmox VE during each restart.
    pub pve_requests: Vec<usize>,
    /// Requests to GitHub during each restart.
    pub github_requests: Vec<usize>,
}

/// Lets the program make VMs for as many jobs, then kills it and starts it again several times.
///
/// # Errors
/// When the simulators or the program do not start, or the program does not come so far.
pub fn program(program: &Path, vms: usize, restarts: usize) -> anyhow::Result<Measured> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let farm = farm(vms, 1, 1, REPOSITORIES);
        let served = Served::start(&farm, program).await?;
        let mut measured = Measured::default();
        let mut running = served.spawn()?;
        for repository in &farm.pools[0].repositories {
            served.github.queue_run(run_of(&farm.pools[0], repository, vms / REPOSITORIES));
        }
        served.all_busy(vms).await?;
        sleep(WATCHED).await;
        (measured.peak, measured.resident) = memory(&running)?;
        for _ in 0..restarts {
            running.kill().await.context("killing the dispatcher")?;
            served.count();
            let began = Instant::now();
            running = served.spawn()?;
            served.all_busy(vms).await?;
            measured.restarts.push(began.elapsed().as_secs_f64());
            let (pve, github) = served.count();
            measured.pve_requests.push(pve);
            measured.github_requests.push(github);
            measured.restarted_peaks.push(memory(&running)?.0);
        }
        running.kill().await.context("killing the dispatcher")?;
        let still_run = served.pve.running().len();
        ensure!(still_run == vms, "{still_run} of {vms} VMs still run");
        Ok(measured)
    })
}

/// Both simulators with sockets, and the files of a dispatcher.
struct Served {
    pve: Handle,
    github: Arc<ServerHandle>,
    program: PathBuf,
    directory: tempfile::TempDir,
}

impl Served {
    async fn start(farm: &Farm, program: &Path) -> anyhow::Result<Self> {
        let github = Arc::new(sim_github::Server::start(ServerOptions::default()).await?);
        let github_token = github.world(|world, _| {
            farm.pools.iter().flat_map(|pool| &pool.repositories).for_each(|name| world.add_repository(name));
            world.add_token(Token::for_repository_runners())
        });
        let guests = Guests::new(Arc::clone(&github), Arc::new(Watch::new(farm)), Chance::from_seed(1), quick());
        let options = sim_pve::Options { latency: Latency::Real, ..Default::default() };
        let pve = sim_pve::Server::start(&farm.world()?, Arc::new(guests), options).await?;
        let secret = pve.token_secret(TOKEN).context("the dispatcher's token of Proxmox VE")?;
        let secrets = Secrets { pve_token_secret: secret.as_str().into(), github_token: github_token.as_str().into() };
        let way = json!({ "endpoints": [pve.url()], "token_id": TOKEN, "ca_pem": pve.ca_pem() });
        let directory = tempfile::tempdir().context("making a directory for the dispatcher")?;
        StateDirectory::open(&directory.path().join("state"))?.store(&farm.settings(&way, github.url(), secrets)?)?;
        Ok(Self { pve, github, program: program.to_owned(), directory })
    }

    /// Starts the dispatcher.
    fn spawn(&self) -> anyhow::Result<Child> {
        let mut command = Command::new(&self.program);
        command.arg("serve").arg("--state").arg(self.directory.path().join("state"));
        command.arg("--socket").arg(self.socket()).env_clear().env("PXCI_LOG", "warn");
        let started = command.stdin(Stdio::null()).kill_on_drop(true).spawn();
        started.with_context(|| format!("starting {}", self.program.display()))
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("socket")
    }

    /// Waits until the status shows this number of VMs with jobs.
    async fn all_busy(&self, vms: usize) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            let status = self.status().await;
            if status.as_ref().is_ok_and(|status| busy(status) == vms) {
                return Ok(());
            }
            ensure!(began.elapsed() < LIMIT, "the dispatcher does not have {vms} busy VMs: {status:?}");
            sleep(CHECK).await;
        }
    }

    /// Asks the dispatcher for its status.
    async fn status(&self) -> anyhow::Result<Status> {
        let mut stream = BufReader::new(UnixStream::connect(self.socket()).await?);
        let hello = Request::Hello { protocol: PROTOCOL, version: "measure".into() };
        ask(&mut stream, &hello).await?;
        match ask(&mut stream, &Request::Status {}).await? {
            Answer::Status(status) => Ok(*status),
            other => bail!("no status: {other:?}"),
        }
    }

    /// Returns the numbers of the dispatcher's requests to Proxmox VE and to GitHub since the last call.
    fn count(&self) -> (usize, usize) {
        let pve = self.pve.requests().take().into_iter().filter(|entry| entry.caller == TOKEN).count();
        let github = self.github.requests().take().into_iter().filter(|entry| !entry.path.contains("/_sim/")).count();
        (pve, github)
    }
}

async fn ask(stream: &mut BufReader<UnixStream>, request: &Request) -> anyhow::Result<Answer> {
    stream.get_mut().write_all(format!("{}\n", serde_json::to_string(request)?).as_bytes()).await?;
    let mut answer = String::new();
    stream.read_line(&mut answer).await?;
    Ok(serde_json::from_str(&answer)?)
}

/// Returns peak and present size of the resident set, in KiB.
fn memory(process: &Child) -> anyhow::Result<(u64, u64)> {
    let id = process.id().context("the dispatcher has ended")?;
    let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    let kibibytes = |name: &str| -> Option<u64> {
        let value = status.lines().find_map(|line| line.strip_prefix(name))?;
        value.trim().strip_suffix(" kB")?.trim().parse().ok()
    };
    Ok((kibibytes("VmHWM:").context("no VmHWM")?, kibibytes("VmRSS:").context("no VmRSS")?))
}

/// Returns the pace of guests that are ready soon, with jobs that do not end.
fn quick() -> Pace {
    Pace {
        storage_held: Duration::ZERO,
        clone: (20, 20),
        start: (20, 20),
        boot: (300, 300),
        runner: (10, 10),
        power_off: (10, 10),
        deletion: (10, 10),
        job: Some(Duration::from_secs(7_000)),
        ..Pace::default()
    }
}
