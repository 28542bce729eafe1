//! Passes of a large fleet, one for each line of standard input, for `cargo xtask bench fleet`.
//!
//! The first argument is the number of busy VMs, the second the number of queued jobs. The measuring program holds the clock. It asks for
//! new lists with the line `lists`, and for a pass, explanations included, with any other line. Each is answered with a line.

use std::io::{BufRead as _, Write as _};

use dispatcher_api::{Config, RunnerPool, TemplateSource};
use fleet::*;
use jiff::{SignedDuration, Timestamp};
use ownership::{Nonce, RepositoryName, RunnerName, Vmid};

#[path = "../src/tests/samples.rs"]
mod samples;

type Problem = Box<dyn std::error::Error>;

/// VMs of one pool.
const POOL: u32 = 1_000;
/// Repositories of one pool.
const REPOSITORIES: u32 = 10;
const FIRST_VMID: u32 = 10_000;

fn main() -> Result<(), Problem> {
    let number = |index: usize| {
        std::env::args().nth(index).ok_or("two numbers are missing")?.parse::<u32>().map_err(Problem::from)
    };
    let (vms, jobs) = (number(1)?, number(2)?);
    let mut now = Timestamp::from_second(1_800_000_000)?;
    let config = config(vms)?;
    let records: Vec<Intent> = (0..vms).map(|index| busy(&config, index, now)).collect::<Result<_, _>>()?;
    let mut fleet = Fleet::new(records.clone(), Default::default());
    // All pools are full, so that no VM is made.
    let unused: Nonce = "n00000".parse()?;
    for line in std::io::stdin().lock().lines() {
        let answer = if line? == "lists" {
            now += SignedDuration::from_secs(15);
            lists(&mut fleet, &config, &records, jobs, now)?;
            0
        } else {
            let pass = fleet.pass(&config, &mut || unused.clone(), now);
            fleet.hindrances(&config, now).len() + pass.waiting.len()
        };
        println!("{answer}");
        std::io::stdout().flush()?;
    }
    Ok(())
}

fn config(vms: u32) -> Result<Config, Problem> {
    let pool = |index| pool(index, vms.min(POOL));
    Ok(samples::config("lab".parse()?, (0..vms.div_ceil(POOL)).map(pool).collect::<Result<_, _>>()?))
}

fn pool(index: u32, max: u32) -> Result<RunnerPool, Problem> {
    let first = FIRST_VMID + index * 2 * POOL;
    let template =
        TemplateSource { family: "ubuntu-2204".into(), vmid: Vmid::new(9000)?, node: "pve1".parse()?, by_name: false };
    let repositories = (0..REPOSITORIES).map(|number| repository(index, number)).collect::<Result<_, _>>()?;
    let range = format!("{first}-{}", first + 2 * POOL - 1).parse()?;
    let mut pool = samples::pool(format!("pool-{index}").parse()?, repositories, (max, range), template);
    pool.labels.push(pool.name.to_string());
    pool.job_limit_seconds = 86_400;
    Ok(pool)
}

fn repository(pool: u32, number: u32) -> Result<RepositoryName, Problem> {
    Ok(format!("acme/tools-{pool}-{number}").parse()?)
}

/// Returns the record of a VM that runs a job.
fn busy(config: &Config, index: u32, now: Timestamp) -> Result<Intent, Problem> {
    let pool = &config.pools[usize::try_from(index / POOL)?];
    let vmid = Vmid::new(pool.vmid_range.first().get() + index % POOL)?;
    let repository = pool.repositories[usize::try_from(index % REPOSITORIES)?].clone();
    let runner_id = u64::from(index);
    let events = [
        Event::CloneBegun,
        Event::Cloned,
        Event::Configured,
        Event::Ready,
        Event::MintBegun { repository },
        Event::Minted { runner_id },
        Event::Armed,
        Event::JobSeen { job: Some(runner_id) },
    ];
    let life = events.iter().try_fold(Life::reserved(now), |life, event| life.after(event, now))?;
    let name = RunnerName::new(&config.installation, &pool.name, vmid, format!("a{index:05}").parse()?);
    Ok(samples::intent(name, pool, now, life))
}

/// Gives the fleet lists in which all VMs run their jobs and `queued` more wait.
fn lists(fleet: &mut Fleet, config: &Config, records: &[Intent], queued: u32, now: Timestamp) -> Result<(), Problem> {
    let guests = samples::guests(now, records.iter().map(|intent| samples::guest(intent, Power::Running)));
    fleet.take(Input::Guests(guests), now);
    let pools = u32::try_from(config.pools.len())?;
    for (pool, number) in (0..pools).flat_map(|pool| (0..REPOSITORIES).map(move |number| (pool, number))) {
        let name = repository(pool, number)?;
        let mine: Vec<&Intent> =
            records.iter().filter(|intent| intent.life.repository.as_ref() == Some(&name)).collect();
        let runner = |intent: &&Intent| {
            let id = intent.life.runner_id?;
            Some(RunnerSeen { id, name: intent.name.clone(), online: true, busy: true })
        };
        let running =
            mine.iter().filter_map(|intent| Some(job(intent.life.job?, pool, JobPhase::Running, Some(intent), now)));
        let share = queued / (pools * REPOSITORIES);
        let first = 1_000_000 + u64::from((pool * REPOSITORIES + number) * share);
        let waiting = (first..first + u64::from(share)).map(|id| job(id, pool, JobPhase::Queued, None, now));
        let list = running.chain(waiting).collect();
        let seen = samples::repository_seen(now, list, mine.iter().filter_map(runner).collect());
        fleet.take(Input::Repository(name, seen), now);
    }
    Ok(())
}

fn job(id: u64, pool: u32, phase: JobPhase, runner: Option<&&Intent>, now: Timestamp) -> JobSeen {
    let mut job = samples::job(id, phase, runner.map(|intent| &intent.name), now);
    job.labels.push(format!("pool-{pool}"));
    job
}
