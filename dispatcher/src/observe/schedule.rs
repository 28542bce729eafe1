//! Times at which PVE and GitHub are polled.
//!
//! PVE is polled more often while something is under way that only its list can show. Each repository is polled once in a poll
//! interval, and less often when GitHub's limit runs low.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dispatcher_api::{Config, RunnerPool};
use fleet::{Claim, Fleet, Guests, Intent, RepositorySeen, State};
use jiff::{SignedDuration, Timestamp};
use ownership::{PoolName, RepositoryName, Vmid};
use tokio::task::JoinSet;

use super::{CircumstanceObserver, GuestObserver, GuestQuestion, ObserveError, RepositoryObserver, RepositoryQuestion};
use crate::execute::Executor;

/// Interval between two reads of PVE's cheap list. PVE itself refreshes power states in it only every ten seconds.
const LISTED: SignedDuration = SignedDuration::from_secs(15);
/// The same while something is under way that only the list shows.
const LISTED_OFTEN: SignedDuration = SignedDuration::from_secs(3);
/// Interval between two polls of the templates and storages of pools that wait because their last VMs failed.
const CIRCUMSTANCES: SignedDuration = SignedDuration::from_secs(10);
/// Share of GitHub's hourly limit below which polls become rarer, and by which factor.
const LOW_BUDGET_SHARE: u64 = 10;
const LOW_BUDGET_FACTOR: i32 = 4;

/// The result of a poll.
#[derive(Debug)]
pub(crate) enum Poll {
    /// PVE's guests.
    Guests(Result<Guests, ObserveError>),
    /// One repository.
    Repository {
        /// The repository.
        name: RepositoryName,
        /// Its jobs and runners, as of this poll or an earlier one.
        seen: RepositorySeen,
        /// Error of the part that was not answered.
        problem: Option<github::Error>,
    },
    /// Pools whose template or storage changed while they waited because of failures.
    Mended(Vec<PoolName>),
    /// The poll was started under an earlier configuration.
    Outdated,
}

#[derive(Debug)]
enum Ended {
    Guests(GuestObserver, Result<Guests, ObserveError>),
    Repository(RepositoryName, RepositoryObserver, RepositorySeen, Option<github::Error>),
    Circumstances(CircumstanceObserver, Vec<PoolName>),
}

/// The polls of one dispatcher.
#[derive(Debug)]
pub(crate) struct Polls {
    /// Number of configurations so far.
    generation: u64,
    running: JoinSet<(u64, Ended)>,
    guests: Option<GuestObserver>,
    guests_due: Timestamp,
    repositories: BTreeMap<RepositoryName, (Option<RepositoryObserver>, Timestamp)>,
    circumstances: Option<CircumstanceObserver>,
    circumstances_due: Timestamp,
}

impl Polls {
    /// Returns polls of which none was made.
    pub(crate) fn new() -> Self {
        Self {
            generation: 0,
            running: JoinSet::new(),
            guests: Some(GuestObserver::default()),
            guests_due: Timestamp::MIN,
            repositories: BTreeMap::new(),
            circumstances: Some(CircumstanceObserver::default()),
            circumstances_due: Timestamp::MIN,
        }
    }

    /// Makes the polls of PVE's list and of all repositories due now.
    pub(crate) fn hurry(&mut self) {
        self.guests_due = Timestamp::MIN;
        self.repositories.values_mut().for_each(|(_, due)| *due = Timestamp::MIN);
    }

    /// Forgets everything, because the configuration is another one. Polls under way no longer count.
    pub(crate) fn start_over(&mut self) {
        self.generation += 1;
        self.guests = Some(GuestObserver::default());
        self.guests_due = Timestamp::MIN;
        self.repositories.clear();
        self.circumstances = Some(CircumstanceObserver::default());
        self.circumstances_due = Timestamp::MIN;
    }

    /// Returns the result of the next poll that ends; `None` if none is under way.
    pub(crate) async fn join_next(&mut self) -> Option<Poll> {
        Some(match self.running.join_next().await? {
            Ok((generation, ended)) if generation == self.generation => self.take_back(ended),
            Ok(_) => Poll::Outdated,
            Err(error) => {
                // The observer that went with it is not known, so all start over.
                tracing::error!(%error, "a poll of Proxmox VE or GitHub failed");
                self.start_over();
                Poll::Outdated
            }
        })
    }

    fn take_back(&mut self, ended: Ended) -> Poll {
        match ended {
            Ended::Guests(observer, result) => {
                self.guests = Some(observer);
                Poll::Guests(result)
            }
            Ended::Repository(name, observer, seen, problem) => {
                if let Some(slot) = self.repositories.get_mut(&name) {
                    slot.0 = Some(observer);
                }
                Poll::Repository { name, seen, problem }
            }
            Ended::Circumstances(observer, mended) => {
                self.circumstances = Some(observer);
                Poll::Mended(mended)
            }
        }
    }

    /// Starts every poll that is due and not under way.
    pub(crate) fn start_due(&mut self, executor: &Executor, fleet: &Fleet, now: Timestamp) {
        self.start_guests(executor, fleet, now);
        self.start_circumstances(executor, fleet, now);
        let watched = fleet.repositories_to_watch(&executor.config);
        self.repositories.retain(|name, (observer, _)| observer.is_none() || watched.contains(name));
        for name in watched {
            self.start_repository(name, executor, fleet, now);
        }
    }

    /// Returns the time until the next poll is due.
    pub(crate) fn until_due(&self, now: Timestamp) -> Duration {
        let repositories = self.repositories.values().filter(|(observer, _)| observer.is_some()).map(|(_, due)| *due);
        let guests = self.guests.is_some().then_some(self.guests_due);
        let next = repositories.chain(guests).min().unwrap_or(Timestamp::MAX);
        Duration::try_from(next.duration_since(now)).unwrap_or_default()
    }

    fn start_guests(&mut self, executor: &Executor, fleet: &Fleet, now: Timestamp) {
        if self.guests_due > now {
            return;
        }
        let Some(mut observer) = self.guests.take() else { return };
        self.guests_due = now + list_interval(&executor.config, fleet);
        let live: BTreeMap<Vmid, Intent> =
            fleet.records().filter(|intent| intent.is_live()).map(|intent| (intent.vmid, intent.clone())).collect();
        let executor = executor.clone();
        let (generation, unrecorded) = (self.generation, fleet.guest_questions(&executor.config, now));
        self.running.spawn(async move {
            let question = GuestQuestion { config: &executor.config, live: &live, unrecorded: &unrecorded };
            let result = observer.poll(&executor.pve, &executor.clock, &question).await;
            (generation, Ended::Guests(observer, result))
        });
    }

    fn start_circumstances(&mut self, executor: &Executor, fleet: &Fleet, now: Timestamp) {
        if self.circumstances_due > now {
            return;
        }
        let waiting: Vec<RunnerPool> = fleet.backing_off(&executor.config, now).into_iter().cloned().collect();
        if waiting.is_empty() {
            return;
        }
        let Some(mut observer) = self.circumstances.take() else { return };
        self.circumstances_due = now + CIRCUMSTANCES;
        let (pve, generation) = (executor.pve.clone(), self.generation);
        self.running.spawn(async move {
            let mended = observer.poll(&pve, &waiting).await;
            (generation, Ended::Circumstances(observer, mended))
        });
    }

    fn start_repository(&mut self, name: RepositoryName, executor: &Executor, fleet: &Fleet, now: Timestamp) {
        let slot = self
            .repositories
            .entry(name.clone())
            .or_insert_with(|| (Some(RepositoryObserver::default()), Timestamp::MIN));
        if slot.1 > now {
            return;
        }
        let Some(mut observer) = slot.0.take() else { return };
        slot.1 = next_poll(executor, now);
        let (jobs_of_ours, registrations_expected) = expectations(&name, fleet);
        let (executor, generation) = (executor.clone(), self.generation);
        self.running.spawn(async move {
            let question = RepositoryQuestion {
                repository: &name,
                installation: &executor.config.installation,
                jobs_of_ours,
                registrations_expected,
            };
            let (seen, problem) = observer.poll(&executor.github, &executor.clock, &question).await;
            (generation, Ended::Repository(name, observer, seen, problem))
        });
    }
}

/// Returns the time until PVE's list is read again.
fn list_interval(config: &Config, fleet: &Fleet) -> SignedDuration {
    let guests = fleet.facts().guests.as_ref();
    let is_unclear = guests.is_none_or(|guests| {
        !fleet.facts().clones.is_empty() || guests.seen.values().any(|guest| guest.claim == Claim::Unknown)
    });
    let is_ending = |intent: &Intent| {
        let is_missing = intent.life.missing_at.is_some() && intent.is_live();
        is_missing || matches!(intent.life.state, State::Retiring | State::Fenced)
    };
    if is_unclear || fleet.records().any(is_ending) {
        return LISTED_OFTEN;
    }
    let is_watched = fleet.records().any(|intent| intent.is_live() && intent.life.state >= State::Configuring);
    if is_watched { LISTED } else { poll_interval(config).max(LISTED) }
}

fn poll_interval(config: &Config) -> SignedDuration {
    SignedDuration::from_secs(i64::from(config.poll_interval_seconds))
}

/// Returns the time of the next poll of a repository: after a poll interval, and later when GitHub's limit runs low or forbids it.
/// The last part of the limit is kept for registrations and their removal.
fn next_poll(executor: &Executor, now: Timestamp) -> Timestamp {
    let budget = executor.github.budget();
    let fleet_time = |at| executor.clock.fleet(at);
    let low = matches!((budget.limit, budget.remaining), (Some(limit), Some(left)) if left < limit / LOW_BUDGET_SHARE);
    let interval = poll_interval(&executor.config);
    let next = now + if low { interval.saturating_mul(LOW_BUDGET_FACTOR) } else { interval };
    let reset_at = budget.reset_at.filter(|_| budget.is_reserved()).map(fleet_time);
    let blocked_until = budget.blocked_until.map(fleet_time);
    reset_at.into_iter().chain(blocked_until).fold(next, Timestamp::max)
}

/// Returns the jobs that are known to run on VMs of ours, and whether the repository may have registrations of ours.
fn expectations(repository: &RepositoryName, fleet: &Fleet) -> (BTreeSet<u64>, bool) {
    let here = |intent: &&Intent| {
        let serves_it = intent.life.repository.as_ref().is_none_or(|serves| serves == repository);
        serves_it && (intent.is_live() || intent.life.may_be_registered())
    };
    let (mut jobs, mut registrations) = (BTreeSet::new(), false);
    for intent in fleet.records().filter(here) {
        registrations |= intent.life.state >= State::Minting;
        jobs.extend(intent.life.job.filter(|_| intent.life.state == State::Busy));
    }
    (jobs, registrations)
}

#[cfg(test)]
mod tests {
    use fleet::{Event, GuestSeen, Input, Life, Power, Reason};

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn interval(events: &[Event], claim: Option<Claim>) -> i64 {
        let config = r#"{"installation":"lab","pve":{"endpoints":["https://h:8006"],"token_id":"a@pam!b"},"poll_interval_seconds":60}"#;
        let mut life = Life::reserved(at(0));
        for event in events {
            life = life.after(event, at(1)).unwrap();
        }
        let intent: Intent = serde_json::from_value(serde_json::json!({
            "name": "lab-ubuntu-9100-aaaaaa", "pool": "ubuntu", "vmid": 9100, "node": "pve1", "template": 9000,
            "resource_pool": "ci", "created_at": at(0), "life": life,
        }))
        .unwrap();
        let node: ownership::NodeName = "pve1".parse().unwrap();
        let seen = |claim| {
            (intent.vmid, GuestSeen { node, power: Power::Running, locked: false, claim, name: None, run: None })
        };
        let guests = Guests {
            taken_at: at(0),
            seen: claim.map(seen).into_iter().collect(),
            absent: BTreeSet::new(),
            unshown: fleet::Unshown::default(),
        };
        let mut fleet = Fleet::new([intent], BTreeSet::new());
        fleet.take(Input::Guests(guests), at(1));
        list_interval(&Config::from_json(config).unwrap(), &fleet).as_secs()
    }

    #[test]
    fn the_list_is_asked_for_as_often_as_only_it_can_show_what_happens() {
        let idle = [
            Event::CloneBegun,
            Event::Cloned,
            Event::Configured,
            Event::Ready,
            Event::MintBegun { repository: "acme/tools".parse().unwrap() },
            Event::Minted { runner_id: 7 },
            Event::Armed,
        ];
        assert_eq!(interval(&[Event::Failed(Reason::Surplus)], None), 60, "nothing exists");
        assert_eq!(interval(&idle, None), 15, "GitHub shows its end");
        let retiring = [&idle[..], &[Event::Retire(Reason::Surplus)]].concat();
        assert_eq!(interval(&retiring, None), 3, "only the list shows that it stopped");
        assert_eq!(interval(&idle, Some(Claim::Unknown)), 3, "a clone in the making");
    }
}
