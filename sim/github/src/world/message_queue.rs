//! The message queue of a scale set: one session at a time, and batches that are kept until they are deleted.

use jiff::Timestamp;
use serde_json::json;

use super::World;
use super::model::{MessageSession, Poll, ScaleSet};

impl World {
    /// Opens a session. Returns `None` if another one is open.
    pub(crate) fn open_message_session(&mut self, set: u64, owner: &str, now: Timestamp) -> Option<MessageSession> {
        let (id, token) = (self.uuid(), self.queue_token(now));
        let token_ends = now + self.behaviour.queue_token_life;
        let queue = &mut self.service.sets.get_mut(&set)?.queue;
        if queue.session.is_some() {
            return None;
        }
        let session = MessageSession { id, owner: owner.to_owned(), token, token_ends, seen_at: now, waiting: 0 };
        queue.session = Some(session.clone());
        Some(session)
    }

    /// Gives a session a new token.
    pub(crate) fn refresh_message_session(&mut self, set: u64, id: &str, now: Timestamp) -> Option<MessageSession> {
        let token = self.queue_token(now);
        let token_ends = now + self.behaviour.queue_token_life;
        let session = self.message_session(set, id)?;
        (session.token, session.token_ends, session.seen_at) = (token, token_ends, now);
        Some(session.clone())
    }

    /// Ends a session. Batches that were not deleted are kept.
    pub(crate) fn close_message_session(&mut self, set: u64, id: &str, now: Timestamp) -> bool {
        let known = self.message_session(set, id).is_some();
        if let Some(set) = self.service.sets.get_mut(&set).filter(|_| known) {
            set.queue.session = None;
            set.queue.silent_since = now;
        }
        known
    }

    /// Returns the next batch after `last`.
    pub(crate) fn poll(&mut self, set: u64, id: &str, token: &str, last: u64, now: Timestamp) -> Poll {
        self.step(now);
        let Some(session) = self.message_session(set, id) else { return Poll::Gone };
        session.seen_at = now;
        if session.token != token || session.token_ends <= now {
            return Poll::BadToken;
        }
        let next = self.service.sets.get_mut(&set).and_then(|set| set.queue.next(last));
        next.map_or(Poll::Nothing, |(number, batch)| Poll::Message(number, batch))
    }

    /// Returns true if `token` may read the queue of this set now.
    pub(crate) fn reads_queue(&self, set: u64, token: &str, now: Timestamp) -> bool {
        let session = self.service.sets.get(&set).and_then(|set| set.queue.session.as_ref());
        session.is_some_and(|session| session.token == token && now < session.token_ends)
    }

    /// Deletes a batch, so that it is not sent again. Returns false if the token is not valid.
    pub(crate) fn delete_batch(&mut self, set: u64, token: &str, number: u64, now: Timestamp) -> bool {
        let good = self.reads_queue(set, token, now);
        if let Some(set) = self.service.sets.get_mut(&set).filter(|_| good) {
            set.queue.batches.remove(&number);
        }
        good
    }

    /// Counts the beginning or the end of a poll. A waiting poll keeps its session open.
    pub(crate) fn polling(&mut self, set: u64, id: &str, begins: bool, now: Timestamp) {
        let Some(session) = self.message_session(set, id) else { return };
        session.seen_at = now;
        session.waiting = if begins { session.waiting + 1 } else { session.waiting.saturating_sub(1) };
    }

    /// Ends sessions without a sign of life, and deletes sets that have had no session for long.
    pub(crate) fn end_silent_queues(&mut self, now: Timestamp) {
        let due: Vec<(u64, Option<String>)> = self
            .service
            .sets
            .values()
            .filter(|set| self.set_deadline(set).is_some_and(|at| at <= now))
            .map(|set| (set.id, set.queue.session.as_ref().map(|session| session.id.clone())))
            .collect();
        for (id, session) in due {
            match session {
                Some(session) => {
                    self.close_message_session(id, &session, now);
                }
                None => self.remove_scale_set(id),
            }
        }
    }

    /// Returns the time at which a set's session or the set itself ends without a sign of life.
    pub(crate) fn set_deadline(&self, set: &ScaleSet) -> Option<Timestamp> {
        match &set.queue.session {
            Some(session) if session.waiting > 0 => None,
            Some(session) => Some(session.seen_at + self.behaviour.message_session_limit),
            None => Some(set.queue.silent_since + self.behaviour.dormant_limit),
        }
    }

    /// Removes a set. Its jobs that have not started return to the queue.
    pub(crate) fn remove_scale_set(&mut self, id: u64) {
        self.service.sets.remove(&id);
        for job in self.jobs.values_mut().filter(|job| job.offer.as_ref().is_some_and(|offer| offer.set == id)) {
            job.offer = None;
        }
        self.runners.retain(|_, runner| runner.scale_set != Some(id) || runner.job.is_some());
    }

    fn message_session(&mut self, set: u64, id: &str) -> Option<&mut MessageSession> {
        self.service.sets.get_mut(&set)?.queue.session.as_mut().filter(|session| session.id == id)
    }

    fn queue_token(&mut self, now: Timestamp) -> String {
        let ends = now + self.behaviour.queue_token_life;
        self.claim(&json!({ "exp": ends.as_second(), "orchestrationId": "" }))
    }
}
