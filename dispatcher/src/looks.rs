//! When to look at what: PVE often while there are VMs, each repository once in a poll interval, GitHub less when its limit runs low.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dispatcher_api::Config;
use jiff::{SignedDuration, Timestamp};
use runner_vm::State;
use tokio::task::JoinSet;

use crate::engine::is_watched;
use crate::execute::Executor;
use crate::observe::{GuestObserver, GuestQuestion, ObserveError, RepositoryObserver, RepositoryQuestion};
use crate::reconcile::{Guests, Intent, RepositorySeen};

/// How often PVE's cheap list is asked for while VMs of ours exist.
const WATCHED: SignedDuration = SignedDuration::from_secs(2);
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
        /// `owner/name`.
        name: String,
        /// What was seen, now or earlier.
        seen: RepositorySeen,
        /// What was not seen now, and why.
        problem: Option<github::Error>,
    },
    /// It was begun under an earlier configuration.
    Outdated,
}

#[derive(Debug)]
enum Ended {
    Guests(GuestObserver, Result<Guests, ObserveError>),
    Repository(String, RepositoryObserver, RepositorySeen, Option<github::Error>),
}

/// The looks of one dispatcher.
#[derive(Debug)]
pub(crate) struct Looks {
    generation: u64,
    census: bool,
    running: JoinSet<(u64, Ended)>,
    guests: Option<GuestObserver>,
    guests_due: Timestamp,
    repositories: BTreeMap<String, (Option<RepositoryObserver>, Timestamp)>,
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
        }
    }

    /// Forgets everything, because the configuration is another one. What is under way does not count any more.
    pub(crate) fn begin_anew(&mut self) {
        self.generation += 1;
        self.guests = Some(GuestObserver::default());
        self.guests_due = Timestamp::MIN;
        self.repositories.clear();
    }

    /// The end of the next look.
    pub(crate) async fn join_next(&mut self) -> Option<Look> {
        Some(match self.running.join_next().await? {
            Ok((generation, ended)) if generation == self.generation => self.take_back(ended),
            Ok(_) => Look::Outdated,
            Err(error) => {
                // Which observer went with it is not known: all begin anew.
                tracing::error!(%error, "a look at Proxmox VE or GitHub failed");
                self.begin_anew();
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
        }
    }

    /// Starts every look that is due and not under way.
    pub(crate) fn start_due(&mut self, executor: &Executor, intents: &[Intent], now: Timestamp) {
        self.start_guests(executor, intents, now);
        let names: BTreeSet<&String> = executor.config.pools.iter().flat_map(|pool| &pool.repositories).collect();
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

    fn start_guests(&mut self, executor: &Executor, intents: &[Intent], now: Timestamp) {
        if self.guests_due > now {
            return;
        }
        let Some(mut observer) = self.guests.take() else { return };
        let poll = poll_interval(&executor.config);
        self.guests_due = now + if intents.iter().any(is_watched) { poll.min(WATCHED) } else { poll };
        let (config, pve, intents) = (executor.config.clone(), executor.pve.clone(), intents.to_vec());
        let (generation, census) = (self.generation, self.census);
        self.running.spawn(async move {
            let question = GuestQuestion { config: &config, intents: &intents, census };
            let result = observer.look(&pve, &question).await;
            (generation, Ended::Guests(observer, result))
        });
    }

    fn start_repository(&mut self, name: &str, executor: &Executor, intents: &[Intent], now: Timestamp) {
        let slot = self
            .repositories
            .entry(name.to_owned())
            .or_insert_with(|| (Some(RepositoryObserver::default()), Timestamp::MIN));
        if slot.1 > now {
            return;
        }
        let Some(mut observer) = slot.0.take() else { return };
        slot.1 = next_look(executor, now);
        let (name, config, github) = (name.to_owned(), executor.config.clone(), executor.github.clone());
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

fn expectations(repository: &str, intents: &[Intent]) -> (BTreeSet<u64>, bool) {
    let here = |intent: &&Intent| {
        intent.is_live() && intent.life.repository.as_deref().is_none_or(|serves| serves == repository)
    };
    let mine: Vec<&Intent> = intents.iter().filter(here).collect();
    let jobs =
        mine.iter().filter(|intent| intent.life.state == State::Busy).filter_map(|intent| intent.life.job).collect();
    (jobs, mine.iter().any(|intent| intent.life.state >= State::Minting))
}
