//! Runner scale sets: offering jobs, acquiring them, and withdrawing them.
//!
//! A queued job is offered (`JobAvailable`), acquired (`JobAssigned`), started by a runner of the set (`JobStarted`)
//! and completed (`JobCompleted`). An offer that no set acquires is withdrawn after
//! [`Behaviour::requeue_after`](crate::Behaviour). An acquired job that no runner fetches is withdrawn after
//! [`Behaviour::pickup_limit`](crate::Behaviour), which doubles each time, and finally not offered again.

use jiff::Timestamp;
use rand::Rng as _;
use serde_json::{Value, json};

use super::World;
use super::model::{Job, JobState, Offer, ScaleSet};
use crate::shapes::{instant, whole_seconds};

impl World {
    /// Returns the names of all scale sets.
    #[must_use]
    pub fn scale_sets(&self) -> Vec<String> {
        self.service.sets.values().map(|set| set.name.clone()).collect()
    }

    /// Returns true if a poll is waiting for messages of this scale set.
    #[must_use]
    pub fn listens(&self, set: u64) -> bool {
        let session = self.service.sets.get(&set).and_then(|set| set.queue.session.as_ref());
        session.is_some_and(|session| session.waiting > 0)
    }

    /// Returns the name of the scale set that a job is offered to or acquired by.
    #[must_use]
    pub fn scale_set_of_job(&self, job_id: u64) -> Option<String> {
        let offer = self.jobs.get(&job_id)?.offer.as_ref()?;
        self.service.sets.get(&offer.set).map(|set| set.name.clone())
    }

    /// Offers queued jobs to scale sets, and withdraws jobs that no runner fetched.
    pub(crate) fn offer_jobs(&mut self, now: Timestamp) {
        if self.service.sets.is_empty() {
            return;
        }
        self.withdraw(now);
        self.send_completed_early(now);
        let free = |job: &&Job| job.state == JobState::Queued && job.offer.is_none() && job.not_before <= now;
        let queued: Vec<u64> = self.jobs.values().filter(free).map(|job| job.id).collect();
        for id in queued {
            self.offer(id, now);
        }
    }

    fn offer(&mut self, job_id: u64, now: Timestamp) {
        let Some(job) = self.jobs.get(&job_id) else { return };
        if job.unfetched > self.behaviour.reassignments {
            return;
        }
        let takes = |set: &&ScaleSet| {
            set.fits(&job.labels)
                && self.group_serves(&set.scope, set.group, &job.repository)
                && self.has_room(set)
                && !(self.behaviour.silent_reruns && job.attempt > 1 && !self.has_runners(set.id))
        };
        let mut fitting: Vec<u64> = self.service.sets.values().filter(takes).map(|set| set.id).collect();
        // Sets with an open session come first; between equals the choice is random (scaleset#107).
        let heard = |id: &u64| self.service.sets.get(id).is_some_and(|set| set.queue.session.is_some());
        if fitting.iter().any(heard) {
            fitting.retain(heard);
        }
        if fitting.is_empty() {
            return;
        }
        let chosen = fitting[if fitting.len() == 1 { 0 } else { self.random.random_range(0..fitting.len()) }];
        self.service.next_request += 1;
        let request = self.service.next_request;
        let unasked = self.behaviour.assigns_unasked;
        let Some(job) = self.jobs.get_mut(&job_id) else { return };
        let acquired_at = unasked.then_some(now);
        job.offer = Some(Offer { set: chosen, request, since: now, acquired_at, reported_completed: false });
        let kind = if unasked { "JobAssigned" } else { "JobAvailable" };
        self.queue_message(job_id, kind, json!({}));
    }

    /// Returns true if the set's last poll left room for one more job.
    fn has_room(&self, set: &ScaleSet) -> bool {
        set.queue.capacity.is_none_or(|capacity| self.jobs_of(set.id).count() < capacity)
    }

    fn has_runners(&self, set: u64) -> bool {
        self.runners.values().any(|runner| runner.scale_set == Some(set))
    }

    /// Returns the jobs of a set, including offered ones.
    fn jobs_of(&self, set: u64) -> impl Iterator<Item = &Job> {
        self.jobs
            .values()
            .filter(move |job| !job.completed() && job.offer.as_ref().is_some_and(|offer| offer.set == set))
    }

    /// Acquires offered jobs. Returns the requests that succeeded.
    pub(crate) fn acquire_for_set(&mut self, set: u64, requests: &[u64], now: Timestamp) -> Vec<u64> {
        let mut taken = Vec::new();
        for request in requests {
            let offered = |job: &&mut Job| {
                job.state == JobState::Queued
                    && job.offer.as_ref().is_some_and(|offer| {
                        offer.set == set && offer.request == *request && offer.acquired_at.is_none()
                    })
            };
            let Some(job) = self.jobs.values_mut().find(offered) else { continue };
            let id = job.id;
            if let Some(offer) = job.offer.as_mut() {
                offer.acquired_at = Some(now);
            }
            taken.push(*request);
            self.queue_message(id, "JobAssigned", json!({}));
        }
        taken
    }

    /// Returns the open offers of a set as messages.
    pub(crate) fn acquirable(&self, set: u64) -> Vec<Value> {
        let open = |job: &&Job| job.offer.as_ref().is_some_and(|offer| offer.acquired_at.is_none());
        self.jobs_of(set).filter(open).filter_map(|job| self.message_of(job, "JobAvailable", &json!({}))).collect()
    }

    /// Returns the time at which an offer or an acquired job is withdrawn.
    fn offer_deadline(&self, job: &Job) -> Option<Timestamp> {
        let offer = job.offer.as_ref().filter(|_| job.state == JobState::Queued)?;
        Some(match offer.acquired_at {
            None => offer.since + self.behaviour.requeue_after,
            Some(at) => at + self.behaviour.pickup_limit.saturating_mul(1 << job.unfetched.min(16)),
        })
    }

    fn early_end(&self, job: &Job) -> Option<Timestamp> {
        let offer = job.offer.as_ref().filter(|offer| !offer.reported_completed)?;
        let started =
            job.started_at.filter(|_| matches!(job.state, JobState::InProgress { .. }) && offer.acquired_at.is_some());
        self.behaviour.early_completion.zip(started).map(|(after, started)| started + after)
    }

    /// Returns the times at which something about scale sets is due.
    pub(crate) fn offer_deadlines(&self) -> impl Iterator<Item = Timestamp> {
        let waiting = |job: &&Job| job.state == JobState::Queued && job.offer.is_none() && job.unfetched > 0;
        let jobs = self.jobs.values().filter(|job| !job.completed()).flat_map(move |job| {
            let again = Some(job).filter(waiting).map(|job| job.not_before);
            [self.offer_deadline(job), self.early_end(job), again].into_iter().flatten()
        });
        jobs.chain(self.service.sets.values().filter_map(|set| self.set_deadline(set)))
    }

    fn withdraw(&mut self, now: Timestamp) {
        let late = |job: &&Job| self.offer_deadline(job).is_some_and(|at| at <= now);
        let late: Vec<u64> = self.jobs.values().filter(late).map(|job| job.id).collect();
        let delay = self.behaviour.requeue_after;
        for id in late {
            let Some(job) = self.jobs.get_mut(&id) else { continue };
            let Some(offer) = job.offer.take() else { continue };
            if offer.acquired_at.is_some() {
                job.unfetched += 1;
                job.not_before = now + delay.saturating_mul(i32::try_from(job.unfetched).unwrap_or(i32::MAX));
            }
        }
    }

    fn send_completed_early(&mut self, now: Timestamp) {
        let due = |job: &&Job| self.early_end(job).is_some_and(|at| at <= now);
        let due: Vec<u64> = self.jobs.values().filter(due).map(|job| job.id).collect();
        for id in due {
            self.send_completed(id, "succeeded");
        }
    }

    /// Sends the set of a job the message that the job is completed, once.
    pub(crate) fn send_completed(&mut self, job_id: u64, result: &str) {
        let Some(job) = self.jobs.get_mut(&job_id) else { return };
        let (runner, name) = (job.runner_id.unwrap_or(0), job.runner_name.clone().unwrap_or_default());
        match job.offer.as_mut() {
            Some(offer) if !offer.reported_completed => offer.reported_completed = true,
            _ => return,
        }
        self.queue_message(job_id, "JobCompleted", json!({ "result": result, "runnerId": runner, "runnerName": name }));
    }

    /// Puts a message about a job into the queue of its set.
    pub(crate) fn queue_message(&mut self, job_id: u64, kind: &str, more: Value) {
        let Some(job) = self.jobs.get(&job_id) else { return };
        let Some(set) = job.offer.as_ref().map(|offer| offer.set) else { return };
        let Some(message) = self.message_of(job, kind, &more) else { return };
        if let Some(set) = self.service.sets.get_mut(&set) {
            set.queue.unsent.push_back(message);
        }
    }

    fn message_of(&self, job: &Job, kind: &str, more: &Value) -> Option<Value> {
        let offer = job.offer.as_ref()?;
        let run = self.runs.get(&job.run_id)?;
        let (owner, name) = job.repository.split_once('/')?;
        let mut message = json!({
            "messageType": kind,
            "runnerRequestId": offer.request,
            "repositoryName": name,
            "ownerName": owner,
            "jobId": job_uuid(job.id),
            "jobWorkflowRef": format!("{}/.github/workflows/ci.yml@refs/heads/main", job.repository),
            "jobDisplayName": job.name,
            "workflowRunId": job.run_id,
            "eventName": run.event,
            "requestLabels": job.labels,
            "queueTime": whole_seconds(job.created_at),
            "scaleSetAssignTime": instant(offer.acquired_at),
            "runnerAssignTime": instant(job.started_at),
            "finishTime": instant(job.completed_at),
        });
        if kind == "JobAvailable" {
            message["acquireJobUrl"] = format!("/_apis/runtime/runnerscalesets/{}/acquirejobs", offer.set).into();
        }
        for (field, value) in more.as_object().into_iter().flatten() {
            message[field] = value.clone();
        }
        Some(message)
    }

    /// Returns the service's statistics of a set's jobs and runners.
    pub(crate) fn statistics(&self, set: u64) -> Value {
        let acquired = |job: &&Job| job.offer.as_ref().is_some_and(|offer| offer.acquired_at.is_some());
        let running = |job: &&Job| matches!(job.state, JobState::InProgress { .. });
        let own = || self.runners.values().filter(move |runner| runner.scale_set == Some(set));
        let busy = own().filter(|runner| runner.job.is_some()).count();
        let idle = own().filter(|runner| runner.job.is_none() && runner.online()).count();
        json!({
            "totalAvailableJobs": self.jobs_of(set).filter(|job| !acquired(job)).count(),
            "totalAcquiredJobs": self.jobs_of(set).filter(acquired).filter(|job| !running(job)).count(),
            "totalAssignedJobs": self.jobs_of(set).filter(acquired).count(),
            "totalRunningJobs": self.jobs_of(set).filter(running).count(),
            "totalRegisteredRunners": own().count(),
            "totalBusyRunners": busy,
            "totalIdleRunners": idle,
        })
    }
}

/// Returns the service's identifier of a job, which differs from the REST API's.
fn job_uuid(id: u64) -> String {
    format!("{:08x}-0000-5000-8000-{:012x}", id >> 32, id & 0xffff_ffff_ffff)
}
