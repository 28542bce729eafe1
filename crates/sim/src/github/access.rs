//! Tokens: what they may do, and how much is left of their hourly limit.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::model::Scope;
use super::refusal::Refusal;
use super::world::World;

/// Whose requests without a token are counted together.
const NOBODY: &str = "";

/// Requests per hour without a token.
const NOBODYS_LIMIT: u64 = 60;

const WINDOW: SignedDuration = SignedDuration::from_hours(1);

/// How much a permission allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Level {
    /// Nothing.
    #[default]
    None,
    /// Reading.
    Read,
    /// Reading and changing.
    Write,
}

/// A fine-grained personal access token.
#[derive(Debug, Clone, Default)]
pub struct Token {
    /// Repositories (`owner/name`) that it may see; empty for all.
    pub repositories: BTreeSet<String>,
    /// Repository permission "Actions".
    pub actions: Level,
    /// Repository permission "Administration".
    pub administration: Level,
    /// Organization permission "Self-hosted runners".
    pub organization_runners: Level,
}

impl Token {
    /// What a farm that polls and registers runners per repository needs, and no more.
    #[must_use]
    pub fn for_repository_runners() -> Self {
        Self { actions: Level::Read, administration: Level::Write, ..Self::default() }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Account {
    pub(super) token: Token,
    /// How the request log calls it.
    pub(super) name: String,
    pub(super) used: u64,
    pub(super) reset_at: Timestamp,
    pub(super) throttled_until: Option<Timestamp>,
}

/// What an answer's headers say about the primary limit.
#[derive(Debug, Clone, Copy)]
pub(super) struct RateState {
    pub(super) limit: u64,
    pub(super) used: u64,
    pub(super) reset_at: Timestamp,
}

/// What a call needs.
#[derive(Debug, Clone, Copy)]
pub(super) enum Need {
    Actions(Level),
    Runners(Level),
}

impl World {
    /// Adds a token; answers with its secret.
    pub fn add_token(&mut self, token: Token) -> String {
        let secret = format!("github_pat_sim_{}", self.random(36));
        let account = Account {
            token,
            name: format!("token {}", self.accounts.len() + 1),
            used: 0,
            reset_at: Timestamp::UNIX_EPOCH,
            throttled_until: None,
        };
        self.accounts.insert(secret.clone(), account);
        secret
    }

    /// Revokes a token.
    pub fn revoke_token(&mut self, secret: &str) {
        self.accounts.remove(secret);
    }

    /// Puts a secondary rate limit on a token.
    pub fn throttle(&mut self, secret: &str, until: Timestamp) {
        if let Some(account) = self.accounts.get_mut(secret) {
            account.throttled_until = Some(until);
        }
    }

    /// Counts one request without a token, for what is public.
    pub(super) fn admit_nobody(&mut self, now: Timestamp) -> Result<RateState, (Refusal, Option<RateState>)> {
        let nobody = || Account {
            token: Token::default(),
            name: "nobody".into(),
            used: 0,
            reset_at: Timestamp::UNIX_EPOCH,
            throttled_until: None,
        };
        self.accounts.entry(NOBODY.to_owned()).or_insert_with(nobody);
        self.admit(Some(NOBODY), now)
    }

    /// Recognizes a token and counts one request of it. The state of the limit comes with refusals too.
    pub(super) fn admit(
        &mut self,
        secret: Option<&str>,
        now: Timestamp,
    ) -> Result<RateState, (Refusal, Option<RateState>)> {
        let Some(secret) = secret else { return Err((Refusal::RequiresAuthentication, None)) };
        let limit = if secret == NOBODY { NOBODYS_LIMIT } else { self.behaviour.rate_limit };
        let Some(account) = self.accounts.get_mut(secret) else { return Err((Refusal::BadCredentials, None)) };
        if account.reset_at <= now {
            account.used = 0;
            account.reset_at = now + WINDOW;
        }
        let state = |used| RateState { limit, used, reset_at: account.reset_at };
        if let Some(until) = account.throttled_until.filter(|until| now < *until) {
            let wait_seconds = u64::try_from(until.duration_since(now).as_secs()).unwrap_or_default().max(1);
            return Err((Refusal::SecondaryLimit { wait_seconds }, Some(state(account.used))));
        }
        if account.used >= limit {
            return Err((Refusal::PrimaryLimit, Some(state(limit))));
        }
        account.used += 1;
        Ok(state(account.used))
    }

    pub(super) fn token_name(&self, secret: &str) -> String {
        self.accounts.get(secret).map_or_else(|| "unknown token".to_owned(), |account| account.name.clone())
    }

    /// Takes one request back: "not modified" is not counted.
    pub(super) fn uncount(&mut self, secret: &str) -> u64 {
        let Some(account) = self.accounts.get_mut(secret) else { return 0 };
        account.used = account.used.saturating_sub(1);
        account.used
    }

    /// Checks that the token may do `need` in `scope`.
    pub(super) fn permit(&self, secret: &str, scope: &Scope, need: Need) -> Result<(), Refusal> {
        let token = &self.accounts.get(secret).ok_or(Refusal::BadCredentials)?.token;
        match scope {
            Scope::Repository(name) => {
                let known = self.repository(name).ok_or(Refusal::NotFound)?;
                if !token.repositories.is_empty() && !token.repositories.contains(known) {
                    return Err(Refusal::NotFound);
                }
            }
            Scope::Organization(login) if !self.organizations.contains(login) => return Err(Refusal::NotFound),
            Scope::Organization(_) => {}
        }
        let (have, wanted, permission) = match (scope, need) {
            (_, Need::Actions(level)) => (token.actions, level, "actions"),
            (Scope::Repository(_), Need::Runners(level)) => (token.administration, level, "administration"),
            (Scope::Organization(_), Need::Runners(level)) => {
                (token.organization_runners, level, "organization_self_hosted_runners")
            }
        };
        if have >= wanted {
            return Ok(());
        }
        let word = if wanted == Level::Write { "write" } else { "read" };
        Err(Refusal::Forbidden { accepted: format!("{permission}={word}") })
    }
}
