//! Present problems of the dispatcher, each with its begin. Shown in the status; cleared when the cause is gone.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use dispatcher_api::{Problem, Subject};
use jiff::Timestamp;

/// The open problems, by what they are about.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    open: Mutex<BTreeMap<String, Problem>>,
}

impl Problems {
    /// Records a problem. A lasting problem keeps its first time, and is logged again only when its text changes.
    pub(crate) fn raise(&self, key: &str, subject: Subject, message: String, now: Timestamp) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let since = match open.get(key) {
            Some(known) if known.message == message => return,
            Some(known) => known.since,
            None => now,
        };
        tracing::warn!("{message}");
        open.insert(key.to_owned(), Problem { subject, message, since });
    }

    /// Removes a problem whose cause is gone.
    pub(crate) fn clear(&self, key: &str) {
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
        problems.raise("pve", Subject::Pve, "no answer".into(), at(1));
        problems.raise("pve", Subject::Pve, "refused".into(), at(2));
        assert_eq!((problems.all()[0].since, problems.all()[0].message.as_str()), (at(1), "refused"));
        problems.clear("pve");
        assert!(problems.all().is_empty());
    }
}
