//! Present problems of the dispatcher, each with its begin. Shown in the status; cleared when the cause is gone.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use dispatcher_api::{Problem, Subject};
use jiff::Timestamp;
use ownership::RepositoryName;

/// The thing that a problem is about. Each has at most one open problem. The status lists problems in this order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ProblemKey {
    /// The configuration that was accepted and cannot be used.
    Configuration,
    /// GitHub's answers about one repository.
    Repository(RepositoryName),
    /// The dispatcher's database.
    Ledger,
    /// Records that cannot be read.
    Records,
    /// Proxmox VE's list of guests.
    Guests,
}

impl ProblemKey {
    fn subject(&self) -> Subject {
        match self {
            Self::Configuration | Self::Ledger | Self::Records => Subject::Dispatcher,
            Self::Repository(_) => Subject::Github,
            Self::Guests => Subject::Pve,
        }
    }
}

/// The open problems, by what they are about.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    open: Mutex<BTreeMap<ProblemKey, Problem>>,
}

impl Problems {
    /// Records a problem. A lasting problem keeps its first time, and is logged again only when its text changes.
    pub(crate) fn raise(&self, key: ProblemKey, message: String, now: Timestamp) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let since = match open.get(&key) {
            Some(known) if known.message == message => return,
            Some(known) => known.since,
            None => now,
        };
        tracing::warn!("{message}");
        let subject = key.subject();
        open.insert(key, Problem { subject, message, since });
    }

    /// It works again.
    pub(crate) fn clear(&self, key: &ProblemKey) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(problem) = open.remove(key) {
            tracing::info!("no longer: {}", problem.message);
        }
    }

    /// Returns all open problems.
    pub(crate) fn all(&self) -> Vec<Problem> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_keeps_the_time_of_its_beginning() {
        let problems = Problems::default();
        let at = |second| Timestamp::from_second(second).unwrap();
        problems.raise(ProblemKey::Guests, "no answer".into(), at(1));
        problems.raise(ProblemKey::Guests, "refused".into(), at(2));
        assert_eq!((problems.all()[0].since, problems.all()[0].message.as_str()), (at(1), "refused"));
        problems.clear(&ProblemKey::Guests);
        assert!(problems.all().is_empty());
    }

    #[test]
    fn one_repository_does_not_clear_the_problem_of_another() {
        let problems = Problems::default();
        let repository = |name: &str| ProblemKey::Repository(name.parse().unwrap());
        problems.raise(repository("acme/tools"), "no answer".into(), Timestamp::UNIX_EPOCH);
        problems.raise(ProblemKey::Ledger, "the disk is full".into(), Timestamp::UNIX_EPOCH);
        problems.clear(&repository("acme/other"));
        let subjects: Vec<_> = problems.all().iter().map(|problem| problem.subject).collect();
        assert_eq!(subjects, [Subject::Github, Subject::Dispatcher]);
    }
}
