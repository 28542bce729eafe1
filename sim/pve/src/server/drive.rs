//! Control for the replay of recordings on virtual time: sessions, tasks, and privileges without the API's checks.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Handle;
use crate::access::tickets;
use crate::world::state::Subject;

/// The end of a task.
#[derive(Debug, Clone)]
pub struct TaskReport {
    /// Kind, as in the UPID (`qmstart`).
    pub kind: String,
    /// Guest or storage, as in the UPID.
    pub id: String,
    /// `user@realm` or `user@realm!token`.
    pub user: String,
    /// Exit status; empty while the task runs.
    pub exit: String,
    /// Lines of its log.
    pub log: Vec<String>,
    /// Simulated time that the task spent in waits that belong to its behaviour.
    pub waited: Duration,
}

impl Handle {
    /// Returns a ticket and a CSRF prevention token of a user, as a login gives them.
    #[must_use]
    pub fn session(&self, user: &str) -> (String, String) {
        (tickets::ticket(&self.engine, user), tickets::csrf(&self.engine, user))
    }

    /// Stops virtual time until [`Handle::release_time`].
    pub fn hold_time(&self) {
        self.engine.clock.begin();
    }

    /// Ends [`Handle::hold_time`].
    pub fn release_time(&self) {
        self.engine.clock.end();
    }

    /// Waits until a task has ended. Returns false if it runs longer than `limit` of simulated time.
    pub async fn task_ended(&self, upid: &str, limit: Duration) -> bool {
        self.engine.ended_within(upid, limit).await
    }

    /// Returns the report of a task, or `None` if there is no such task.
    #[must_use]
    pub fn task_report(&self, upid: &str) -> Option<TaskReport> {
        let state = self.engine.state();
        let task = state.tasks.iter().rev().find(|task| task.upid == upid)?.clone();
        Some(TaskReport {
            exit: task.end.map_or_else(String::new, |(_, exit)| exit),
            kind: task.kind,
            id: task.id,
            user: task.user,
            log: task.log,
            waited: task.waited,
        })
    }

    /// Returns true if the guest agent of a running VM answers.
    #[must_use]
    pub fn is_agent_up(&self, vmid: u32) -> bool {
        self.engine.with_guest(vmid, |guest| guest.run.as_ref().is_some_and(|run| run.agent)) == Some(true)
    }

    /// Replaces all privileges of a user by these, given as names by path. Each path gets a role of its own.
    pub fn set_privileges(&self, user: &str, privileges: BTreeMap<String, Vec<String>>) {
        let mut state = self.engine.state();
        for entries in state.acl.values_mut() {
            entries.retain(|(_, who, _), _| who != user);
        }
        state.acl.retain(|_, entries| !entries.is_empty());
        for number in 0..4 {
            state.roles.entry(format!("LP{number}")).or_default();
        }
        for (number, (path, names)) in privileges.into_iter().enumerate() {
            let role = format!("LP{number}");
            state.roles.insert(role.clone(), (names.into_iter().collect(), false));
            state.acl.entry(path).or_default().insert((Subject::User, user.to_owned(), role), true);
        }
    }
}
