//! `workflow_job` webhooks: pending deliveries, results, and redelivery.

use jiff::Timestamp;
use rand::Rng as _;
use ring::hmac;
use serde_json::Value;

use super::World;
use super::model::{Delivery, EventKind, HookOwner, Outgoing, Scope, Webhook, WebhookSpec};
use crate::shapes;

impl World {
    /// Adds a webhook for `workflow_job`. Returns its number.
    pub fn add_webhook(&mut self, spec: WebhookSpec) -> u64 {
        let id = 400_000_001 + self.webhooks.len() as u64;
        self.webhooks.push(Webhook { id, spec });
        id
    }

    /// Returns all attempts so far, oldest first. Events that were lost before they were sent are missing.
    #[must_use]
    pub fn deliveries(&self) -> &[Delivery] {
        &self.deliveries
    }

    /// Returns the number of events that were lost before they were sent.
    #[must_use]
    pub fn lost_webhooks(&self) -> u64 {
        self.lost_webhooks
    }

    /// Delivers an event of this App again. Returns the number of the new delivery, or `None` if there is no such
    /// attempt.
    pub(crate) fn redeliver(&mut self, app: u64, delivery: u64, now: Timestamp) -> Option<u64> {
        let old = self.deliveries.iter().find(|known| known.id == delivery)?.clone();
        if self.webhook(old.hook).is_none_or(|hook| hook.spec.owner != HookOwner::App(app)) {
            return None;
        }
        Some(self.send(Delivery { redelivery: true, ..old }, now))
    }

    pub(crate) fn deliveries_of_app(&self, app: u64) -> Vec<&Delivery> {
        let own = |delivery: &&Delivery| {
            self.webhook(delivery.hook).is_some_and(|hook| hook.spec.owner == HookOwner::App(app))
        };
        self.deliveries.iter().rev().filter(own).collect()
    }

    /// Records the status of the receiver's answer; 0 if it did not answer.
    pub(crate) fn delivered(&mut self, delivery: u64, status_code: u16, seconds: f64) {
        if let Some(known) = self.deliveries.iter_mut().find(|known| known.id == delivery) {
            known.status_code = status_code;
            known.duration = Some(seconds);
        }
    }

    /// Returns the webhooks to send since the last call.
    pub(crate) fn take_outgoing(&mut self) -> Vec<Outgoing> {
        std::mem::take(&mut self.outgoing)
    }

    /// Sends an event of a job to every webhook that it concerns.
    pub(crate) fn announce(&mut self, job_id: u64, kind: &EventKind, now: Timestamp) {
        let action = match kind {
            EventKind::Queued => "queued",
            EventKind::Started(_) => "in_progress",
            EventKind::Completed(_) => "completed",
            EventKind::Assigned(_) | EventKind::Requeued(_) => return,
        };
        for hook in self.webhooks.clone() {
            let Some(job) = self.jobs.get(&job_id) else { return };
            let Some(run) = self.runs.get(&job.run_id) else { return };
            let Some(installation) = self.concerns(&hook, &job.repository) else { continue };
            let organization = job
                .repository
                .split('/')
                .next()
                .filter(|owner| self.organizations.iter().any(|login| login.eq_ignore_ascii_case(owner)));
            let payload = shapes::webhook(job, &run.event, action, organization, installation);
            let repository = shapes::number_of(&job.repository);
            self.note_payload(action, &payload);
            if self.random.random_bool(self.behaviour.webhook_loss.clamp(0.0, 1.0)) {
                self.lost_webhooks += 1;
                continue;
            }
            let delivery = Delivery {
                id: 0,
                guid: self.uuid(),
                action: action.to_owned(),
                redelivery: false,
                status_code: 0,
                duration: None,
                hook: hook.id,
                delivered_at: now,
                installation,
                repository,
                body: payload.to_string().into_bytes(),
            };
            if self.random.random_bool(self.behaviour.webhook_duplicates.clamp(0.0, 1.0)) {
                self.send(delivery.clone(), now);
            }
            self.send(delivery, now);
        }
    }

    /// Returns the installation for which a webhook concerns a repository, `Some(None)` for a webhook of a scope, or
    /// `None` if it does not concern the repository.
    fn concerns(&self, hook: &Webhook, repository: &str) -> Option<Option<u64>> {
        match &hook.spec.owner {
            HookOwner::Scope(scope) => self.covers(scope, repository).then_some(None),
            HookOwner::App(app) => {
                let own = self.installations.values().filter(|installation| installation.app == *app);
                let mut seeing = own.filter(|installation| {
                    self.repositories_of(&installation.account, &installation.grants.repositories)
                        .iter()
                        .any(|known| known == repository)
                });
                seeing.next().map(|installation| Some(installation.id))
            }
        }
    }

    fn send(&mut self, delivery: Delivery, now: Timestamp) -> u64 {
        let id = 90_000_000_001 + self.deliveries.len() as u64;
        let delivery = Delivery { id, delivered_at: now, status_code: 0, duration: None, ..delivery };
        if let Some(hook) = self.webhook(delivery.hook) {
            let (target, target_id) = match &hook.spec.owner {
                HookOwner::App(app) => ("integration", *app),
                HookOwner::Scope(Scope::Enterprise(slug)) => ("business", shapes::number_of(slug).into()),
                HookOwner::Scope(Scope::Organization(login)) => ("organization", shapes::number_of(login).into()),
                HookOwner::Scope(Scope::Repository(name)) => ("repository", shapes::number_of(name).into()),
            };
            let headers = vec![
                ("accept", "*/*".to_owned()),
                ("content-type", "application/json".to_owned()),
                ("user-agent", "GitHub-Hookshot/51ab5b7".to_owned()),
                ("x-github-delivery", delivery.guid.clone()),
                ("x-github-event", "workflow_job".to_owned()),
                ("x-github-hook-id", hook.id.to_string()),
                ("x-github-hook-installation-target-id", target_id.to_string()),
                ("x-github-hook-installation-target-type", target.to_owned()),
                ("x-hub-signature-256", signature(&hook.spec.secret, &delivery.body)),
            ];
            let url = hook.spec.url.clone();
            self.outgoing.push(Outgoing { delivery: id, url, headers, body: delivery.body.clone() });
        }
        self.deliveries.push(delivery);
        id
    }

    fn webhook(&self, id: u64) -> Option<&Webhook> {
        self.webhooks.iter().find(|hook| hook.id == id)
    }

    /// Records the deviations of a body from GitHub's published description.
    fn note_payload(&mut self, action: &str, payload: &Value) {
        self.payload_deviations.extend(crate::contract::check_webhook(action, payload));
    }
}

/// Returns the value of `X-Hub-Signature-256` for a body.
fn signature(secret: &str, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    format!("sha256={}", hex::encode(hmac::sign(&key, body)))
}
