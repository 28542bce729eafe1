//! Registrations of runners: just-in-time ones, those by token, and their removal.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::World;
use super::model::{Runner, Scope};
use crate::refusal::Refusal;

pub(crate) const TOKEN_LIFE: SignedDuration = SignedDuration::from_hours(1);

/// A runner to register.
#[derive(Debug)]
pub(crate) struct NewRunner {
    pub(crate) name: String,
    pub(crate) labels: Vec<String>,
    pub(crate) group: u64,
    pub(crate) scale_set: Option<u64>,
    pub(crate) ephemeral: bool,
    pub(crate) work_folder: String,
}

impl World {
    /// Registers a runner. Returns its number and the files that the runner program keeps, as a map from name to
    /// base64.
    pub(crate) fn register(
        &mut self,
        scope: &Scope,
        new: NewRunner,
        server: &str,
        now: Timestamp,
    ) -> Result<(u64, Value), Refusal> {
        if new.labels.is_empty() || new.labels.len() > 100 {
            return Err(Refusal::Invalid("Invalid request.\n\nLabels must have between 1 and 100 items.".into()));
        }
        if new.name.is_empty() || new.name.len() > 64 {
            return Err(Refusal::Invalid("Invalid request.\n\nName must have between 1 and 64 characters.".into()));
        }
        self.group(scope, new.group)?;
        if self.runners.values().any(|known| known.scope.is(scope) && known.name.eq_ignore_ascii_case(&new.name)) {
            return Err(Refusal::Conflict("Already exists - A runner with the name *** already exists.".into()));
        }
        let id = self.next_runner;
        self.next_runner += 1;
        let secret = self.random(40);
        self.runner_secrets.insert(secret.clone(), id);
        let files = files(id, &new, scope, server, &secret);
        let runner = Runner {
            id,
            name: new.name,
            scope: scope.clone(),
            group: new.group,
            scale_set: new.scale_set,
            labels: new.labels.into_iter().filter(|label| self.registers(label)).collect(),
            registered_at: now,
            ephemeral: new.ephemeral,
            version: None,
            session: None,
            listening: false,
            seen_at: now,
            idle_since: None,
            job: None,
            remove_at: None,
        };
        self.runners.insert(id, runner);
        Ok((id, files))
    }

    /// Makes a just-in-time registration. Returns its number and the encoded configuration.
    pub(crate) fn mint(
        &mut self,
        scope: &Scope,
        new: NewRunner,
        server: &str,
        now: Timestamp,
    ) -> Result<(u64, String), Refusal> {
        let (id, files) = self.register(scope, new, server, now)?;
        self.minted += 1;
        Ok((id, STANDARD.encode(files.to_string())))
    }

    /// Creates a token that registers any number of runners for an hour.
    pub(crate) fn registration_token(&mut self, scope: &Scope, now: Timestamp) -> (String, Timestamp) {
        let token = format!("A{}", self.random(28).to_ascii_uppercase());
        let expires_at = now + TOKEN_LIFE;
        self.registration_tokens.insert(token.clone(), (scope.clone(), expires_at));
        (token, expires_at)
    }

    /// Registers a runner with a registration token, as `config.sh` does.
    pub(crate) fn register_by_token(
        &mut self,
        token: &str,
        new: NewRunner,
        server: &str,
        now: Timestamp,
    ) -> Result<Value, Refusal> {
        let known = self.registration_tokens.get(token).filter(|(_, expires_at)| now < *expires_at);
        let scope = known.map(|(scope, _)| scope.clone()).ok_or(Refusal::NotFound)?;
        self.register(&scope, new, server, now).map(|(_, files)| files)
    }

    /// Removes a registration on request.
    pub(crate) fn delete_runner(&mut self, scope: &Scope, id: u64, now: Timestamp) -> Result<(), Refusal> {
        let runner = self.runner_in(scope, id).ok_or(Refusal::NotFound)?;
        let keeps = match self.behaviour.deletion_believes_busy {
            true => self.shows_busy(runner, now),
            false => runner.job.is_some() || runner.remove_at.is_some(),
        };
        if keeps && !self.behaviour.deletes_busy {
            let name = &runner.name;
            return Err(Refusal::Invalid(format!(
                "Runner \"{name}\" is currently running a job and cannot be deleted"
            )));
        }
        self.drop_runner(id, now);
        Ok(())
    }

    /// Returns true if an accepted label is registered.
    pub(crate) fn registers(&self, label: &str) -> bool {
        !self.behaviour.lost_labels.contains(&label.to_lowercase())
    }

    /// Ends a registration. Lists with a lag still show it for a while.
    pub(crate) fn drop_runner(&mut self, id: u64, now: Timestamp) {
        if let Some(runner) = self.runners.remove(&id)
            && self.behaviour.list_lag.is_positive()
        {
            self.removed_runners.push((now, runner));
        }
    }

    /// Returns the runners of a scope that a list shows.
    pub(crate) fn listed_runners(&self, scope: &Scope, now: Timestamp) -> Vec<&Runner> {
        let shown = now - self.behaviour.list_lag;
        let gone = self.removed_runners.iter().filter(|(at, _)| *at > shown).map(|(_, runner)| runner);
        let all = self.runners.values().chain(gone).filter(|runner| runner.registered_at <= shown);
        let mut all: Vec<&Runner> = all.filter(|runner| runner.scope.is(scope)).collect();
        all.sort_by_key(|runner| runner.id);
        all
    }

    pub(crate) fn runner_in(&self, scope: &Scope, id: u64) -> Option<&Runner> {
        self.runners.get(&id).filter(|runner| runner.scope.is(scope))
    }

    pub(crate) fn runners_in<'a>(&'a self, scope: &'a Scope) -> impl Iterator<Item = &'a Runner> {
        self.runners.values().filter(move |runner| runner.scope.is(scope))
    }
}

/// Returns the three files of a configured runner. Their names and the fields that people read are GitHub's. The key's
/// file holds a shared secret instead of an RSA key, because the protocol of the simulated runner is private.
fn files(id: u64, new: &NewRunner, scope: &Scope, server: &str, secret: &str) -> Value {
    let path = scope.path();
    let runner = json!({
        "agentId": id,
        "agentName": new.name,
        "poolId": 1,
        "poolName": "Default",
        "ephemeral": new.ephemeral,
        "disableUpdate": true,
        "serverUrl": server,
        "gitHubUrl": format!("{server}/{path}"),
        "workFolder": new.work_folder,
    });
    let credentials =
        json!({ "scheme": "OAuth", "data": { "clientId": format!("sim-{id}"), "authorizationUrl": server } });
    let key = json!({ "sharedSecret": secret });
    let files = [(".runner", runner), (".credentials", credentials), (".credentials_rsaparams", key)];
    Value::Object(
        files
            .map(|(name, content)| (name.to_owned(), STANDARD.encode(content.to_string()).into()))
            .into_iter()
            .collect::<Map<_, _>>(),
    )
}
