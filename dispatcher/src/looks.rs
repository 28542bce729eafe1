//! Times at which PVE and GitHub are polled. PVE is polled more often while something is under way that only its list
//! can show. Each
//! repository is polled once in a poll interval, and less often when GitHub's limit runs low.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dispatcher_api::{Config, RunnerPool};
use fleet::State;
use jiff::{SignedDuration, Timestamp};
use ownership::{PoolName, RepositoryName};
use tokio::task::JoinSet;

use crate::execute::Executor;
use crate::observe::{
    CircumstanceObserver, GuestObserver, GuestQuestion, ObserveError, RepositoryObserver, RepositoryQuestion,
};
use fleet::{Claim, Guests, Intent, Observed, RepositorySeen};

/// Interval between two reads of PVE's cheap list. PVE itself refreshes power states in it only every ten seconds.
const LISTED: SignedDuration = SignedDuration::from_secs(15);
/// The same while something is under way that only the list shows.
const LISTED_OFTEN: SignedDuration = SignedDuration::from_secs(3);
/// Interval between two polls of the templates and storages of pools that wait because their last VMs failed.
const CIRCUMSTANCES: SignedDuration = SignedDuration::from_secs(10);
/// Below this share of GitHub's hourly limit, looks become this much rarer.
const LOW_BUDGET_SHARE: u64 = 10;
const LOW_BUDGET_FACTOR: i32 = 4;

/// What a look saw.
#[derive(Debug)]
pub(crate) enum Look {
    /// PVE's guests.
    Guests(Result<Guests, ObserveError>),
    /// One repository.
    Repository {
        /// The repository.
        name: RepositoryName,
        /// What was seen, now or earlier.
        seen: RepositorySeen,
        /// What was not seen now, and why.
        problem: Option<github::Error>,
    },
    /// Pools whose template or storage changed while they waited because of failures.
    Changed(Vec<PoolName>),
    /// It was begun under an earlier configuration.
    Outdated,
}

#[derive(Debug)]
enum Ended {
    Guests(GuestObserver, Result<Guests, ObserveError>),
    Repository(RepositoryName, RepositoryObserver, RepositorySeen, Option<github::Error>),
    Circumstances(CircumstanceObserver, Vec<PoolName>),
}

/// The looks of one dispatcher.
#[derive(Debug)]
pub(crate) struct Looks {
    generation: u64,
    census: bool,
    running: JoinSet<(u64, Ended)>,
    guests: Option<GuestObserver>,
    guests_due: Timestamp,
    repositories: BTreeMap<RepositoryName, (Option<RepositoryObserver>, Timestamp)>,
    circumstances: Option<CircumstanceObserver>,
    circumstances_due: Timestamp,
}

impl Looks {
    /// `census`: more may exist than is written down.
    pub(crate) fn new(census: bool) -> Self {
        Self {
            generation: 0,
            census,
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

    /// Forgets everything, because the configuration is another one. What is under way does not count any more.
    pub(crate) fn start_over(&mut self) {
        self.generation += 1;
        self.guests = Some(GuestObserver::default());
        self.guests_due = Timestamp::MIN;
        self.repositories.clear();
        self.circumstances = Some(CircumstanceObserver::default());
        self.circumstances_due = Timestamp::MIN;
    }

    /// The end of the next look.
    pub(crate) async fn join_next(&mut self) -> Option<Look> {
        Some(match self.running.join_next().await? {
            Ok((generation, ended)) if generation == self.generation => self.take_back(ended),
            Ok(_) => Look::Outdated,
            Err(error) => {
                // Which observer went with it is not known: all begin anew.
                tracing::error!(%error, "a look at Proxmox VE or GitHub failed");
                self.start_over();
                Look::Outdated
            }
        })
    }

    fn take_back(&mut self, ended: Ended) -> Look {
        match ended {
            Ended::Guests(observer, result) => {
                self.guests = Some(observer);
                Look::Guests(result)
            }
            Ended::Repository(name, observer, seen, problem) => {
                if let Some(slot) = self.repositories.get_mut(&name) {
                    slot.0 = Some(observer);
                }
                Look::Repository { name, seen, problem }
            }
            Ended::Circumstances(observer, changed) => {
                self.circumstances = Some(observer);
                Look::Changed(changed)
            }
        }
    }

    /// Starts every look that is due and not under way.
    pub(crate) fn start_due(&mut self, executor: &Executor, observed: &Observed, intents: &[Intent], now: Timestamp) {
        self.start_guests(executor, observed, intents, now);
        self.start_circumstances(executor, observed, intents, now);
        let names: BTreeSet<&RepositoryName> =
            executor.config.pools.iter().flat_map(|pool| &pool.repositories).collect();
        for name in names {
            self.start_repository(name, executor, intents, now);
        }
    }

    /// How long until the next look is due.
    pub(crate) fn until_due(&self, now: Timestamp) -> Duration {
        let idle = self.repositories.values().filter(|(observer, _)| observer.is_some()).map(|(_, due)| *due);
        let guests = self.guests.is_some().then_some(self.guests_due);
        let next = idle.chain(guests).min().unwrap_or(Timestamp::MAX);
        Duration::try_from(next.duration_since(now)).unwrap_or_default()
    }

    fn start_guests(&mut self, executor: &Executor, observed: &Observed, intents: &[Intent], now: Timestamp) {
        if self.guests_due > now {
            return;
        }
        let Some(mut observer) = self.guests.take() else { return };
        self.guests_due = now + list_interval(&executor.config, observed, intents);
        let (config, pve, intents) = (executor.config.clone(), executor.pve.clone(), intents.to_vec());
        let (generation, census) = (self.generation, self.census);
        self.running.spawn(async move {
            let question = GuestQuestion { config: &config, intents: &intents, census };
            let result = observer.look(&pve, &question).await;
            (generation, Ended::Guests(observer, result))
        });
    }

    fn start_circumstances(&mut self, executor: &Executor, observed: &Observed, intents: &[Intent], now: Timestamp) {
        if self.circumstances_due > now {
            return;
        }
        let waiting = fleet::backing_off(observed, intents, &executor.config, now);
        let waiting: Vec<RunnerPool> = waiting.into_iter().cloned().collect();
        if waiting.is_empty() {
            return;
        }
        let Some(mut observer) = self.circumstances.take() else { return };
        self.circumstances_due = now + CIRCUMSTANCES;
        let (pve, generation) = (executor.pve.clone(), self.generation);
        self.running.spawn(async move {
            let changed = observer.look(&pve, &waiting).await;
            (generation, Ended::Circumstances(observer, changed))
        });
    }

    fn start_repository(&mut self, name: &RepositoryName, executor: &Executor, intents: &[Intent], now: Timestamp) {
        let slot = self
            .repositories
            .entry(name.clone())
            .or_insert_with(|| (Some(RepositoryObserver::default()), Timestamp::MIN));
        if slot.1 > now {
            return;
        }
        let Some(mut observer) = slot.0.take() else { return };
        slot.1 = next_look(executor, now);
        let (name, config, github) = (name.clone(), executor.config.clone(), executor.github.clone());
        let (jobs_of_ours, registrations_expected) = expectations(&name, intents);
        let generation = self.generation;
        self.running.spawn(async move {
            let question = RepositoryQuestion {
                repository: &name,
                installation: &config.installation,
                jobs_of_ours,
                registrations_expected,
            };
            let (seen, problem) = observer.look(&github, &question).await;
            (generation, Ended::Repository(name, observer, seen, problem))
        });
    }
}

/// Returns the time until PVE's list is read again.
fn list_interval(config: &Config, observed: &Observed, intents: &[Intent]) -> SignedDuration {
    let is_ending = |intent: &Intent| matches!(intent.life.state, State::Retiring | State::Fenced);
    let guests = observed.guests.as_ref();
    let is_unclear = guests.is_none_or(|guests| {
        !guests.hidden.is_empty() || guests.seen.values().any(|guest| guest.claim == Claim::Unknown)
    });
    if is_unclear || intents.iter().any(is_ending) {
        return LISTED_OFTEN;
    }
    let is_watched = intents.iter().any(|intent| intent.is_live() && intent.life.state >= State::Configuring);
    if is_watched { LISTED } else { poll_interval(config).max(LISTED) }
}

fn poll_interval(config: &Config) -> SignedDuration {
    SignedDuration::from_secs(i64::from(config.poll_interval_seconds))
}

/// After a poll interval; later when GitHub's limit runs low, or forbids it.
fn next_look(executor: &Executor, now: Timestamp) -> Timestamp {
    let budget = executor.github.budget();
    let low = matches!((budget.limit, budget.remaining), (Some(limit), Some(remaining)) if remaining < limit / LOW_BUDGET_SHARE);
    let interval = poll_interval(&executor.config);
    let next = now + if low { interval.saturating_mul(LOW_BUDGET_FACTOR) } else { interval };
    budget.blocked_until.map_or(next, |until| until.max(next))
}

fn expectations(repository: &RepositoryName, intents: &[Intent]) -> (BTreeSet<u64>, bool) {
    let here = |intent: &&Intent| {
        intent.is_live() && intent.life.repository.as_ref().is_none_or(|serves| serves == repository)
    };
    let mine: Vec<&Intent> = intents.iter().filter(here).collect();
    let jobs =
        mine.iter().filter(|intent| intent.life.state == State::Busy).filter_map(|intent| intent.life.job).collect();
    (jobs, mine.iter().any(|intent| intent.life.state >= State::Minting))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use fleet::{Event, Life, Reason};

    use super::*;
    use fleet::{GuestSeen, Power};
    use ownership::Vmid;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn interval(events: &[Event], claim: Option<Claim>) -> i64 {
        let config = r#"{"installation":"lab","pve":{"endpoints":["https://h:8006"],"token_id":"a@pam!b"},"poll_interval_seconds":60}"#;
        let mut life = Life::reserved(at(0));
        for event in events {
            life = life.after(event, at(1)).unwrap();
        }
        let intent = Intent {
            name: "lab-ubuntu-9100-aaaaaa".parse().unwrap(),
            pool: "ubuntu".parse().unwrap(),
            vmid: Vmid::new(9100).unwrap(),
            node: "pve1".parse().unwrap(),
            template: Vmid::new(9000).unwrap(),
            resource_pool: "ci".into(),
            created_at: at(0),
            life,
            retry_at: None,
            failure: None,
        };
        let seen =
            claim.map(|claim| (Vmid::new(9100).unwrap(), GuestSeen { power: Power::Running, locked: false, claim }));
        let guests = Guests {
            taken_at: at(0),
            seen: seen.into_iter().collect(),
            absent: BTreeSet::new(),
            hidden: BTreeSet::new(),
            taken: BTreeSet::new(),
        };
        let observed = Observed { guests: Some(guests), repositories: BTreeMap::new(), ..Observed::default() };
        list_interval(&Config::from_json(config).unwrap(), &observed, &[intent]).as_secs()
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
