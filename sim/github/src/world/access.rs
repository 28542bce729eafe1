//! Who asks, and what they may do: personal access tokens of both kinds, installation tokens, Apps by their signature.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::limits::Counted;
use super::model::Scope;
use crate::World;
use crate::refusal::Refusal;

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

impl Level {
    pub(crate) fn word(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Read => Some("read"),
            Self::Write => Some("write"),
        }
    }

    pub(crate) fn of_word(word: &str) -> Self {
        match word {
            "read" => Self::Read,
            "write" | "admin" => Self::Write,
            _ => Self::None,
        }
    }
}

/// What a token may do: the permissions of a fine-grained personal access token or of an App's installation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
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

    /// What a farm that polls repositories and registers runners at their organization needs, and no more.
    #[must_use]
    pub fn for_organization_runners() -> Self {
        Self { actions: Level::Read, organization_runners: Level::Write, ..Self::default() }
    }
}

/// What kind of token it is, which shows in answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    FineGrained,
    /// With these scopes.
    Classic(Vec<String>),
    /// Of this installation.
    Installation(u64),
}

#[derive(Debug, Clone)]
pub(crate) struct Account {
    pub(crate) token: Token,
    pub(crate) kind: Kind,
    /// How the request log calls it.
    pub(crate) name: String,
    pub(crate) counted: Counted,
    /// Whose repositories it sees only: an installation's account.
    pub(crate) owner: Option<String>,
    pub(crate) expires_at: Option<Timestamp>,
}

/// Who was recognized.
#[derive(Debug, Clone)]
pub(crate) enum Caller {
    Nobody,
    /// By the secret of an account.
    Token(String),
    /// An App that signed for itself.
    App(u64),
}

/// What a call needs.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Need {
    Actions(Level),
    Runners(Level),
    /// That it may see the thing.
    Metadata,
}

impl World {
    /// Adds a fine-grained personal access token; answers with its secret.
    pub fn add_token(&mut self, token: Token) -> String {
        let secret = format!("github_pat_sim_{}", self.random(36));
        self.add_account(&secret, token, Kind::FineGrained);
        secret
    }

    /// Adds a classic personal access token with these scopes (`repo`, `public_repo`, `admin:org`); answers with its
    /// secret. It sees everything that its person sees.
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
        self.persons += 1;
        let number = self.persons;
        let account = Account {
            token,
            kind,
            name: format!("token {number}"),
            counted: Counted::Person(number),
            owner: None,
            expires_at: None,
        };
        self.accounts.insert(secret.to_owned(), account);
    }

    /// Revokes a token.
    pub fn revoke_token(&mut self, secret: &str) {
        self.accounts.remove(secret);
    }

    /// Puts a secondary rate limit on the holder of this token.
    pub fn throttle(&mut self, secret: &str, until: Timestamp) {
        if let Some(who) = self.accounts.get(secret).map(|account| account.counted.clone()) {
            self.limit_until(&who, until);
        }
    }

    /// Who it is that sends this secret.
    pub(crate) fn recognize(&self, secret: Option<&str>, now: Timestamp) -> Result<Caller, Refusal> {
        let Some(secret) = secret else { return Ok(Caller::Nobody) };
        // Three parts with points between them are a signed claim.
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

    /// With whom a caller's requests are counted.
    pub(crate) fn counted(&self, caller: &Caller) -> Counted {
        match caller {
            Caller::Nobody => Counted::Nobody,
            Caller::App(id) => Counted::App(*id),
            Caller::Token(secret) => {
                self.accounts.get(secret).map_or(Counted::Nobody, |account| account.counted.clone())
            }
        }
    }

    /// How the request log calls a caller.
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
            // An App by its signature has its own calls only.
            Caller::App(_) => Err(Refusal::NotForApps),
            Caller::Token(secret) => self.accounts.get(secret).ok_or(Refusal::BadCredentials),
        }
    }

    /// Whether the account may see a repository, given in its stored spelling.
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
