//! Callers and their permissions: personal access tokens of both kinds, installation tokens, Apps with signed claims.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::World;
use super::model::{Account, Caller, Kind, Level, LimitKey, Need, Scope, Token};
use crate::refusal::Refusal;

impl World {
    /// Adds a fine-grained personal access token. Returns its secret.
    pub fn add_token(&mut self, token: Token) -> String {
        let secret = format!("github_pat_sim_{}", self.random(36));
        self.add_account(&secret, token, Kind::FineGrained);
        secret
    }

    /// Adds a classic personal access token with these scopes (`repo`, `public_repo`, `admin:org`). Returns its secret.
    /// The token can see everything that its user can see.
    pub fn add_classic_token(&mut self, scopes: &[&str]) -> String {
        let may = |scope: &str| if scopes.contains(&scope) { Level::Write } else { Level::None };
        let token = Token {
            repositories: BTreeSet::new(),
            actions: may("repo"),
            administration: may("repo"),
            organization_runners: may("admin:org"),
        };
        let secret = format!("ghp_{}", self.random(36));
        self.add_account(&secret, token, Kind::Classic(scopes.iter().map(|scope| (*scope).to_owned()).collect()));
        secret
    }

    fn add_account(&mut self, secret: &str, token: Token, kind: Kind) {
        self.personal_tokens += 1;
        let number = self.personal_tokens;
        let account = Account {
            token,
            kind,
            name: format!("token {number}"),
            limit_key: LimitKey::User(number),
            owner: None,
            expires_at: None,
        };
        self.accounts.insert(secret.to_owned(), account);
    }

    /// Revokes a token.
    pub fn revoke_token(&mut self, secret: &str) {
        self.accounts.remove(secret);
    }

    /// Puts the holder of this token under a secondary rate limit.
    pub fn throttle(&mut self, secret: &str, until: Timestamp) {
        if let Some(who) = self.accounts.get(secret).map(|account| account.limit_key.clone()) {
            self.limit_until(&who, until);
        }
    }

    /// Authenticates the sender of a secret.
    pub(crate) fn recognize(&self, secret: Option<&str>, now: Timestamp) -> Result<Caller, Refusal> {
        let Some(secret) = secret else { return Ok(Caller::Nobody) };
        // A signed claim consists of three parts with points between them.
        if secret.split('.').count() == 3 {
            return self.verify(secret, now).map(Caller::App);
        }
        let account = self.accounts.get(secret).filter(|account| account.expires_at.is_none_or(|end| now < end));
        let account = account.ok_or(Refusal::BadCredentials)?;
        if let Kind::Installation(id) = account.kind {
            let installation = self.installations.get(&id).ok_or(Refusal::BadCredentials)?;
            if installation.suspended {
                return Err(Refusal::Suspended);
            }
        }
        Ok(Caller::Token(secret.to_owned()))
    }

    /// Returns the account to which a caller's requests are counted.
    pub(crate) fn limit_key(&self, caller: &Caller) -> LimitKey {
        match caller {
            Caller::Nobody => LimitKey::Nobody,
            Caller::App(id) => LimitKey::App(*id),
            Caller::Token(secret) => {
                self.accounts.get(secret).map_or(LimitKey::Nobody, |account| account.limit_key.clone())
            }
        }
    }

    /// Returns the caller's name in the request log.
    pub(crate) fn name_of(&self, caller: &Caller) -> String {
        match caller {
            Caller::Nobody => "-".to_owned(),
            Caller::App(id) => format!("app {id}"),
            Caller::Token(secret) => self.accounts.get(secret).map_or_else(String::new, |account| account.name.clone()),
        }
    }

    pub(crate) fn account(&self, caller: &Caller) -> Result<&Account, Refusal> {
        match caller {
            Caller::Nobody => Err(Refusal::RequiresAuthentication),
            // An App with a signed claim has its own calls only.
            Caller::App(_) => Err(Refusal::NotForApps),
            Caller::Token(secret) => self.accounts.get(secret).ok_or(Refusal::BadCredentials),
        }
    }

    /// Returns true if the account may see a repository, given in its stored spelling.
    pub(crate) fn sees(&self, account: &Account, repository: &str) -> bool {
        let owner = repository.split('/').next().unwrap_or_default();
        account.owner.as_ref().is_none_or(|own| own.eq_ignore_ascii_case(owner))
            && (account.token.repositories.is_empty() || account.token.repositories.contains(repository))
    }

    /// Checks that the caller may do `need` in `scope`.
    pub(crate) fn permit(&self, caller: &Caller, scope: &Scope, need: Need) -> Result<(), Refusal> {
        let account = self.account(caller)?;
        match scope {
            Scope::Repository(name) => {
                self.repository(name).filter(|known| self.sees(account, known)).ok_or(Refusal::NotFound)?;
            }
            Scope::Organization(login) => {
                let known = self.organizations.iter().any(|known| known.eq_ignore_ascii_case(login));
                let own = account.owner.as_ref().is_none_or(|own| own.eq_ignore_ascii_case(login));
                if !known || !own {
                    return Err(Refusal::NotFound);
                }
            }
            Scope::Enterprise(slug) => return self.permit_enterprise(account, slug),
        }
        let token = &account.token;
        let (have, wanted, permission) = match (scope, need) {
            (Scope::Enterprise(_), _) | (_, Need::Metadata) => return Ok(()),
            (_, Need::Actions(level)) => (token.actions, level, "actions"),
            (Scope::Repository(_), Need::Runners(level)) => (token.administration, level, "administration"),
            (Scope::Organization(_), Need::Runners(level)) => {
                (token.organization_runners, level, "organization_self_hosted_runners")
            }
        };
        if have >= wanted {
            return Ok(());
        }
        let word = wanted.word().unwrap_or_default();
        Err(Refusal::Forbidden { accepted: format!("{permission}={word}"), kind: account.kind.clone() })
    }
}
