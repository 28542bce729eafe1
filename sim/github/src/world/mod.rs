//! The state of the simulated GitHub, and its changes by a person or a test.

pub(crate) mod access;
pub(crate) mod apps;
pub(crate) mod assign;
pub(crate) mod deletion;
pub(crate) mod enterprises;
pub(crate) mod groups;
pub(crate) mod limits;
pub(crate) mod listener;
pub(crate) mod message_queue;
pub(crate) mod model;
pub(crate) mod overview;
pub(crate) mod registration;
pub(crate) mod scale_sets;
#[cfg(test)]
mod tests;
pub(crate) mod webhooks;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::behaviour::Behaviour;
use model::{
    Account, App, Delivery, EventKind, Group, Installation, Job, JobSpec, JobState, Outgoing, Run, RunSpec, Runner,
    Scope, Service, Usages, Webhook,
};

/// The state of the simulated GitHub. Time is an argument of each call; randomness comes from a seed.
#[derive(Debug)]
pub struct World {
    /// Behaviour, which may change at any time.
    pub behaviour: Behaviour,
    pub(crate) repositories: BTreeSet<String>,
    pub(crate) organizations: BTreeSet<String>,
    /// Organizations by slug of their enterprise.
    pub(crate) enterprises: BTreeMap<String, BTreeSet<String>>,
    pub(crate) accounts: HashMap<String, Account>,
    /// Number of personal access tokens that were created.
    pub(crate) personal_tokens: u64,
    pub(crate) usages: Usages,
    pub(crate) apps: BTreeMap<u64, App>,
    pub(crate) installations: BTreeMap<u64, Installation>,
    pub(crate) groups: Vec<Group>,
    pub(crate) runs: BTreeMap<u64, Run>,
    pub(crate) jobs: BTreeMap<u64, Job>,
    pub(crate) runners: BTreeMap<u64, Runner>,
    /// Runners that lists still show, with the time of their removal.
    pub(crate) removed_runners: Vec<(Timestamp, Runner)>,
    /// Runners that wait for messages that do not come ([`Behaviour::ghost_listeners`]).
    pub(crate) ghost_runners: BTreeSet<u64>,
    pub(crate) service: Service,
    pub(crate) webhooks: Vec<Webhook>,
    pub(crate) deliveries: Vec<Delivery>,
    pub(crate) outgoing: Vec<Outgoing>,
    pub(crate) lost_webhooks: u64,
    /// Deviations of webhooks' bodies from GitHub's published description.
    pub(crate) payload_deviations: Vec<String>,
    /// Secrets of runners. They are kept after the end of the registration, because a running job continues.
    pub(crate) runner_secrets: HashMap<String, u64>,
    pub(crate) registration_tokens: HashMap<String, (Scope, Timestamp)>,
    pub(crate) minted: u64,
    next_run: u64,
    next_job: u64,
    pub(crate) next_runner: u64,
    pub(crate) random: StdRng,
}

impl World {
    /// Creates an empty world.
    #[must_use]
    pub fn new(behaviour: Behaviour, seed: u64) -> Self {
        Self {
            behaviour,
            repositories: BTreeSet::new(),
            organizations: BTreeSet::new(),
            enterprises: BTreeMap::new(),
            accounts: HashMap::new(),
            personal_tokens: 0,
            usages: Usages::new(),
            apps: BTreeMap::new(),
            installations: BTreeMap::new(),
            groups: Vec::new(),
            runs: BTreeMap::new(),
            jobs: BTreeMap::new(),
            runners: BTreeMap::new(),
            removed_runners: Vec::new(),
            ghost_runners: BTreeSet::new(),
            service: Service::default(),
            webhooks: Vec::new(),
            deliveries: Vec::new(),
            outgoing: Vec::new(),
            lost_webhooks: 0,
            payload_deviations: Vec::new(),
            runner_secrets: HashMap::new(),
            registration_tokens: HashMap::new(),
            minted: 0,
            next_run: 7_000_000_001,
            next_job: 21_000_000_001,
            next_runner: 1,
            random: StdRng::seed_from_u64(seed),
        }
    }

    /// Adds a repository, as `owner/name`.
    pub fn add_repository(&mut self, full_name: &str) {
        self.repositories.insert(full_name.to_owned());
    }

    /// Adds an organization by login. Repositories belong to it by their owner's name.
    pub fn add_organization(&mut self, login: &str) {
        self.organizations.insert(login.to_owned());
    }

    /// Queues a run with all its jobs. Returns the numbers of the jobs.
    pub fn queue_run(&mut self, spec: RunSpec, now: Timestamp) -> Vec<u64> {
        let run_id = self.next_run;
        self.next_run += 1;
        self.add_repository(&spec.repository);
        let jobs: Vec<u64> =
            spec.jobs.into_iter().map(|job| self.queue_job(run_id, &spec.repository, job, 1, now)).collect();
        let run = Run {
            id: run_id,
            repository: spec.repository,
            event: spec.event,
            fork: spec.fork,
            created_at: now,
            number: run_id - 7_000_000_000,
            jobs: jobs.clone(),
            attempt: 1,
        };
        self.runs.insert(run_id, run);
        jobs
    }

    fn queue_job(&mut self, run_id: u64, repository: &str, spec: JobSpec, attempt: u64, now: Timestamp) -> u64 {
        let id = self.next_job;
        self.next_job += 1;
        let mut job = Job {
            id,
            run_id,
            repository: repository.to_owned(),
            name: spec.name,
            labels: spec.labels,
            steps: spec.steps,
            state: JobState::Queued,
            runner_name: None,
            log: String::new(),
            events: Vec::new(),
            runner_id: None,
            created_at: now,
            started_at: None,
            completed_at: None,
            cancel_requested: false,
            attempt,
            runner_group: None,
            offer: None,
            unfetched: 0,
            not_before: now,
            reported: 0,
        };
        job.record(now, EventKind::Queued);
        self.jobs.insert(id, job);
        id
    }

    /// Runs ended jobs of one run again as its next attempt. Returns the numbers of the new jobs.
    pub fn rerun(&mut self, job_ids: &[u64], now: Timestamp) -> Vec<u64> {
        let old: Vec<Job> =
            job_ids.iter().filter_map(|id| self.jobs.get(id)).filter(|job| job.completed()).cloned().collect();
        let Some(run_id) = old.first().map(|job| job.run_id) else { return Vec::new() };
        let Some(run) = self.runs.get_mut(&run_id) else { return Vec::new() };
        run.attempt += 1;
        let attempt = run.attempt;
        let mut new = Vec::new();
        for job in old.into_iter().filter(|job| job.run_id == run_id) {
            let spec = JobSpec { name: job.name, labels: job.labels, steps: job.steps };
            new.push(self.queue_job(run_id, &job.repository, spec, attempt, now));
        }
        if let Some(run) = self.runs.get_mut(&run_id) {
            run.jobs.extend(&new);
        }
        new
    }

    /// Cancels a job: immediately if no runner has it, otherwise by a message to its runner. Returns false if it has
    /// ended.
    pub fn cancel_job(&mut self, job_id: u64, now: Timestamp) -> bool {
        let Some(job) = self.jobs.get_mut(&job_id).filter(|job| !job.completed()) else { return false };
        job.cancel_requested = true;
        if job.state == JobState::Queued {
            self.complete_job(job_id, "cancelled", now);
        }
        true
    }

    /// Returns a job by number.
    #[must_use]
    pub fn job(&self, job_id: u64) -> Option<&Job> {
        self.jobs.get(&job_id)
    }

    /// Returns the names of all registered runners.
    #[must_use]
    pub fn runner_names(&self) -> Vec<String> {
        self.runners.values().map(|runner| runner.name.clone()).collect()
    }

    /// Returns tokens, registration tokens, and the keys of runners and webhooks, so that a caller can redact them.
    #[must_use]
    pub fn secrets(&self) -> Vec<String> {
        let tokens = self.accounts.keys().chain(self.registration_tokens.keys()).chain(self.runner_secrets.keys());
        tokens.chain(self.webhooks.iter().map(|hook| &hook.spec.secret)).cloned().collect()
    }

    /// Returns the number of just-in-time registrations so far.
    #[must_use]
    pub fn minted(&self) -> u64 {
        self.minted
    }

    /// Returns a sentence for each runner that is still registered. A farm that was destroyed must leave none.
    #[must_use]
    pub fn leftovers(&self) -> Vec<String> {
        let left = |runner: &Runner| {
            let state = if runner.online() { "online" } else { "offline" };
            format!("runner {} ({state}) is registered in {:?}", runner.name, runner.scope)
        };
        self.runners.values().map(left).collect()
    }

    pub(crate) fn complete_job(&mut self, job_id: u64, conclusion: &str, now: Timestamp) {
        let Some(job) = self.jobs.get_mut(&job_id).filter(|job| !job.completed()) else { return };
        job.state = JobState::Completed { conclusion: conclusion.to_owned() };
        job.completed_at = Some(now);
        job.record(now, EventKind::Completed(conclusion.to_owned()));
        let Some(runner) = job.runner_id.and_then(|id| self.runners.get_mut(&id)) else { return };
        runner.job = None;
        runner.seen_at = now;
        if runner.ephemeral {
            runner.remove_at = Some(now + self.behaviour.removal_lag);
        }
    }

    /// Returns the stored spelling of a repository. GitHub ignores case in names.
    pub(crate) fn repository(&self, full_name: &str) -> Option<&String> {
        self.repositories.iter().find(|known| known.eq_ignore_ascii_case(full_name))
    }

    /// Returns a random text of `[A-Za-z0-9]` with this length.
    pub(crate) fn random(&mut self, length: usize) -> String {
        (&mut self.random).sample_iter(rand::distr::Alphanumeric).take(length).map(char::from).collect()
    }

    /// Returns a random identifier in the form of a UUID.
    pub(crate) fn uuid(&mut self) -> String {
        let bits: u128 = self.random.random();
        let hex = format!("{bits:032x}");
        format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }

    /// Returns a token in the form of a signed claim (RFC 7519). Its signature is random, because only this service
    /// reads it.
    pub(crate) fn claim(&mut self, payload: &Value) -> String {
        let header = json!({ "typ": "JWT", "alg": "RS256" });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}.{}", part(&header), part(payload), self.random(64))
    }
}
