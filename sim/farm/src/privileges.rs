//! The users, tokens, roles and grants that `docs/privileges.md` asks users to create, read from that page.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use sim_pve::{Line, World};

const PAGE: &str = include_str!("../../../docs/privileges.md");

/// The setup that the page describes for one line of Proxmox VE.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Documented {
    /// Resource pools.
    pub pools: Vec<String>,
    /// Privileges by role.
    pub roles: BTreeMap<String, Vec<String>>,
    /// Users, as `user@realm`.
    pub users: Vec<String>,
    /// Tokens with privilege separation: user and name.
    pub tokens: Vec<(String, String)>,
    /// Grants: path, user or token, and role.
    pub grants: Vec<(String, String, String)>,
}

impl Documented {
    /// Reads the page.
    ///
    /// # Errors
    /// When it has a command that is not understood.
    pub fn on(line: Line) -> Result<Self> {
        let blocks: Vec<&str> = PAGE.split("```").skip(1).step_by(2).collect();
        let [newest, eight] = blocks[..] else {
            bail!("docs/privileges.md has {} blocks of commands; expected one for each line", blocks.len());
        };
        let mut found = Self::default();
        found.run(newest)?;
        if line == Line::Eight {
            found.run(eight)?;
        }
        Ok(found)
    }

    fn run(&mut self, script: &str) -> Result<()> {
        let script = script.strip_prefix("sh\n").context("docs/privileges.md has a block that is not shell")?;
        for line in script.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let words = words(line);
            let texts: Vec<&str> = words.iter().map(String::as_str).collect();
            match texts.as_slice() {
                ["pveum", "pool", "add", name] => self.pools.push((*name).to_owned()),
                ["pveum", "role", "add", name, "--privs", list] => {
                    self.roles.insert((*name).to_owned(), list.split(' ').map(str::to_owned).collect());
                }
                ["pveum", "user", "add", name] => self.users.push((*name).to_owned()),
                ["pveum", "user", "token", "add", user, name, "--privsep", "1"] => {
                    self.tokens.push(((*user).to_owned(), (*name).to_owned()));
                }
                ["pveum", "acl", "modify", path, "--roles", role, "--users", users, "--tokens", tokens] => {
                    let grantees = users.split(',').chain(tokens.split(','));
                    self.grants.extend(grantees.map(|who| ((*path).to_owned(), who.to_owned(), (*role).to_owned())));
                }
                _ => bail!("docs/privileges.md has a command that is not understood: {line}"),
            }
        }
        Ok(())
    }

    /// Returns a copy without one privilege of one role.
    #[must_use]
    pub fn without(&self, role: &str, privilege: &str) -> Self {
        let mut fewer = self.clone();
        if let Some(privileges) = fewer.roles.get_mut(role) {
            privileges.retain(|held| held != privilege);
        }
        fewer
    }

    /// Adds the setup to a cluster. `passwords` returns the password of a user.
    #[must_use]
    pub fn set_up(&self, mut world: World, passwords: impl Fn(&str) -> String) -> World {
        for pool in &self.pools {
            world = world.pool(pool);
        }
        for (role, privileges) in &self.roles {
            world = world.role(role, &privileges.iter().map(String::as_str).collect::<Vec<_>>());
        }
        for user in &self.users {
            world = world.user(user, &passwords(user));
        }
        for (user, name) in &self.tokens {
            world = world.token(user, name, true);
        }
        self.grants.iter().fold(world, |world, (path, who, role)| world.grant(path, who, role))
    }
}

/// Returns the words of a shell line. Blanks inside quotes do not separate words.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    for character in line.trim().chars() {
        match (quote, character) {
            (Some(open), close) if open == close => quote = None,
            (None, '"' | '\'') => quote = Some(character),
            (None, ' ') => words.push(std::mem::take(&mut word)),
            _ => word.push(character),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use sim_pve::Line;

    use super::{Documented, words};

    #[test]
    fn every_role_is_granted_to_users_and_their_tokens_alike() {
        for line in [Line::Eight, Line::Nine] {
            let found = Documented::on(line).unwrap();
            assert_eq!(found.pools, ["pxci-runners", "pxci-control"]);
            let tokens: BTreeSet<String> = found.tokens.iter().map(|(user, name)| format!("{user}!{name}")).collect();
            assert_eq!(tokens, ["pxci-dispatcher@pve!farm", "pxci@pve!provider"].map(str::to_owned).into());
            for (path, who, role) in &found.grants {
                assert!(found.roles.contains_key(role), "{role} is granted and not made");
                let user = who.split('!').next().unwrap_or_default();
                let twin = |other: &&(String, String, String)| {
                    other.0 == *path && other.2 == *role && other.1 != *who && other.1.split('!').next() == Some(user)
                };
                assert!(found.grants.iter().any(|other| twin(&other)), "{role} on {path}: only {who} has it");
            }
            let granted: BTreeSet<&String> = found.grants.iter().map(|(_, _, role)| role).collect();
            assert_eq!(granted, found.roles.keys().collect());
        }
    }

    #[test]
    fn the_lines_differ_only_in_the_privileges_of_the_guest_agent() {
        let (eight, nine) = (Documented::on(Line::Eight).unwrap(), Documented::on(Line::Nine).unwrap());
        let agent = |name: &&String| name.starts_with("VM.GuestAgent.") || *name == "VM.Monitor";
        for (role, privileges) in &nine.roles {
            let rest = |all: &[String]| all.iter().filter(|name| !agent(name)).cloned().collect::<Vec<_>>();
            assert_eq!(rest(privileges), rest(&eight.roles[role]), "{role}");
            let monitors = eight.roles[role].iter().filter(|name| *name == "VM.Monitor").count();
            assert_eq!(monitors == 1, privileges.iter().any(|name| agent(&name)), "{role}");
        }
        assert_eq!((&eight.grants, &eight.tokens), (&nine.grants, &nine.tokens));
    }

    #[test]
    fn quoted_words_stay_whole() {
        assert_eq!(
            words("pveum acl modify \"/a b\" --tokens 'a@pve!b'"),
            ["pveum", "acl", "modify", "/a b", "--tokens", "a@pve!b"]
        );
    }
}
