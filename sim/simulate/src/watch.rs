//! Looks at the simulators from outside, and notes each breach of an invariant (`docs/architecture.md`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use sim_http::request_log::Entry;
use sim_pve::Handle;
use tokio::time::Instant;

use crate::farm::{FOREIGN, Farm, JOB_LIMIT};

/// Breaches that are kept.
const KEPT: usize = 20;
/// Span in which requests are counted.
const SPAN: Duration = Duration::from_secs(10);
/// Most requests within a span: a burst that fills all slots at once stays below.
const MOST_REQUESTS: usize = 300;
/// Most requests for one job, with its share of repetitions, and most for what is watched in an hour.
const PVE_PER_JOB: u64 = 60;
const PVE_PER_HOUR: u64 = 2_000;
const GITHUB_PER_JOB: u64 = 15;
const GITHUB_PER_HOUR: u64 = 7_000;

/// Watches one run.
pub(crate) struct Watch {
    began: Instant,
    farm: Farm,
    pve: OnceLock<Weak<Handle>>,
    seen: Mutex<Seen>,
}

/// Numbers of a run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counts {
    pub(crate) pve_requests: u64,
    pub(crate) github_requests: u64,
    /// Most requests within [`SPAN`], to PVE and to GitHub.
    pub(crate) most_at_once: [usize; 2],
    pub(crate) most_vms: Vec<usize>,
    pub(crate) jobs_ended_at_limit: u64,
    pub(crate) jobs_lost_with_their_node: u64,
}

#[derive(Default)]
struct Seen {
    counts: Counts,
    breaches: Vec<String>,
    /// Runners that have had a job.
    served: BTreeSet<String>,
    /// VMs that run a job, and since when.
    working: BTreeMap<u32, Instant>,
    /// A node is losing its power at this moment.
    is_node_failing: bool,
    to_pve: VecDeque<Instant>,
    to_github: VecDeque<Instant>,
}

impl Watch {
    pub(crate) fn new(farm: &Farm) -> Self {
        let counts = Counts { most_vms: vec![0; farm.pools.len()], ..Counts::default() };
        let seen = Mutex::new(Seen { counts, ..Seen::default() });
        Self { began: Instant::now(), farm: farm.clone(), pve: OnceLock::new(), seen }
    }

    pub(crate) fn attach(&self, pve: &Arc<Handle>) {
        let _is_first = self.pve.set(Arc::downgrade(pve));
    }

    /// Notes a breach.
    pub(crate) fn breach(&self, text: String) {
        let at = self.began.elapsed().as_secs_f64();
        let mut seen = self.seen();
        if seen.breaches.len() < KEPT {
            seen.breaches.push(format!("{at:.3} s: {text}"));
        }
    }

    pub(crate) fn breaches(&self) -> Vec<String> {
        self.seen().breaches.clone()
    }

    pub(crate) fn counts(&self) -> Counts {
        self.seen().counts.clone()
    }

    pub(crate) fn sent_to_pve(&self) {
        let mut seen = self.seen();
        seen.counts.pve_requests += 1;
        seen.counts.most_at_once[0] = seen.counts.most_at_once[0].max(count(&mut seen.to_pve));
    }

    pub(crate) fn sent_to_github(&self) {
        let mut seen = self.seen();
        seen.counts.github_requests += 1;
        seen.counts.most_at_once[1] = seen.counts.most_at_once[1].max(count(&mut seen.to_github));
    }

    /// Compares the numbers of requests with what that many jobs in that time may cost.
    pub(crate) fn compare(&self, jobs: usize, time: Duration) {
        let counts = self.counts();
        let hours = time.as_secs() / 3600 + 1;
        let jobs = u64::try_from(jobs).unwrap_or(u64::MAX);
        let most = [jobs * PVE_PER_JOB + hours * PVE_PER_HOUR, jobs * GITHUB_PER_JOB + hours * GITHUB_PER_HOUR];
        let sums = [counts.pve_requests, counts.github_requests];
        for (number, service) in ["Proxmox VE", "GitHub"].into_iter().enumerate() {
            if sums[number] > most[number] {
                self.breach(format!("I11: {} requests to {service}, more than {}", sums[number], most[number]));
            }
            if counts.most_at_once[number] > MOST_REQUESTS {
                self.breach(format!("I11: {} requests to {service} in 10 s", counts.most_at_once[number]));
            }
        }
    }

    /// Looks at an entry of a request log.
    pub(crate) fn requested(&self, entry: &Entry) {
        let Entry { method, path, .. } = entry;
        let is_about_foreign = path.contains(&format!("/qemu/{FOREIGN}"));
        if is_about_foreign && method != "GET" {
            self.breach(format!("I4: {method} {path}"));
        }
    }

    /// Compares what exists with the limits.
    pub(crate) fn inspect(&self) {
        let Some(pve) = self.pve.get().and_then(Weak::upgrade) else { return };
        let guests = pve.guests();
        if !guests.contains(&FOREIGN) {
            self.breach(format!("I4: the foreign VM {FOREIGN} is gone"));
        }
        for (number, pool) in self.farm.pools.iter().enumerate() {
            // Until a clone is complete its description is not that of a VM; left half made it is not one either.
            let is_complete = |vmid: &u32| pve.lock_of(*vmid).flatten().as_deref() != Some("clone");
            let vms: Vec<u32> = pool.vms(&guests).into_iter().filter(is_complete).collect();
            if vms.len() > pool.max {
                self.breach(format!("I2: {} VMs in pool {}, which may have {}", vms.len(), pool.name, pool.max));
            }
            let most = &mut self.seen().counts.most_vms[number];
            *most = vms.len().max(*most);
        }
    }

    /// A line of a guest's state file.
    pub(crate) fn runner_says(&self, vmid: u32, name: &str, word: &str) {
        match word.split(' ').next() {
            Some("job") => {
                let is_first = self.seen().served.insert(name.to_owned());
                self.seen().working.insert(vmid, Instant::now());
                if !is_first {
                    self.breach(format!("I1: {name} got a second job, {word}"));
                }
            }
            Some("done") => drop(self.seen().working.remove(&vmid)),
            _ => {}
        }
    }

    /// The guest powered itself off.
    pub(crate) fn powered_off(&self, vmid: u32) {
        self.seen().working.remove(&vmid);
    }

    /// PVE stopped the guest.
    pub(crate) fn stopped(&self, vmid: u32, name: &str) {
        let mut seen = self.seen();
        let Some(since) = seen.working.remove(&vmid) else { return };
        let worked = since.elapsed();
        if seen.is_node_failing {
            seen.counts.jobs_lost_with_their_node += 1;
        } else if worked >= Duration::from_secs(JOB_LIMIT) {
            seen.counts.jobs_ended_at_limit += 1;
        } else {
            drop(seen);
            self.breach(format!("I5: {name} was stopped although its job had run for only {} s", worked.as_secs()));
        }
    }

    /// Says whether stopped guests are the effect of a power cut.
    pub(crate) fn node_fails(&self, fails: bool) {
        self.seen().is_node_failing = fails;
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts a request, and returns the number within the span that ends now.
fn count(recent: &mut VecDeque<Instant>) -> usize {
    let now = Instant::now();
    while recent.front().is_some_and(|at| now.duration_since(*at) >= SPAN) {
        recent.pop_front();
    }
    recent.push_back(now);
    recent.len()
}
