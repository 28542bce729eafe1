//! Names of installations, pools, nodes and repositories, and the tags that people see in the web page.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

const NONCE_LENGTH: usize = 6;
const NONCE_ALPHABET: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
const LONGEST_INSTALLATION: usize = 16;
/// Characters of a DNS label that are left after an installation, a VMID of nine digits, a nonce and three dashes.
const LONGEST_POOL: usize = 29;

/// Reason why a text is not a valid name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Its characters or its length do not fit the grammar.
    #[error(
        "\"{text}\" is not a valid {what}: it takes 1 to {longest} lower-case letters, digits and dashes, with no dash at either end"
    )]
    Label {
        /// Expected kind of name.
        what: &'static str,
        /// The text.
        text: String,
        /// Largest number of characters.
        longest: usize,
    },
    /// The nonce is not six characters of `a-z0-9`.
    #[error("\"{0}\" is not a valid nonce: it takes six lower-case letters and digits")]
    Nonce(String),
    /// The id of a run is not eight lower-case hexadecimal digits.
    #[error("\"{0}\" is not the id of a run: it takes eight lower-case hexadecimal digits")]
    RunId(String),
    /// The text cannot be the name of a node.
    #[error("\"{0}\" is not the name of a node: letters, digits and dashes are expected, with no dash at either end")]
    Node(String),
    /// The repository does not have the form `owner/name`.
    #[error("\"{0}\" is not a repository; write owner/name")]
    Repository(String),
    /// The runner's name does not have the form `{installation}-{pool}-{vmid}-{nonce}`.
    #[error("\"{0}\" is not a name of a runner of ours: expected installation-pool-vmid-nonce")]
    Runner(String),
}

fn check_label(what: &'static str, text: &str, longest: usize) -> Result<(), NameError> {
    let inner = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
    let fits = (1..=longest).contains(&text.len()) && text.as_bytes().iter().all(inner);
    if fits && !text.starts_with('-') && !text.ends_with('-') {
        return Ok(());
    }
    Err(NameError::Label { what, text: text.to_owned(), longest })
}

fn check_node(text: &str) -> Result<(), NameError> {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let fits = !text.is_empty() && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-');
    if fits { Ok(()) } else { Err(NameError::Node(text.to_owned())) }
}

fn check_repository(text: &str) -> Result<(), NameError> {
    let is_name = |part: &str| {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        !part.is_empty() && part != "." && part != ".." && part.bytes().all(inner)
    };
    let fits = text.split_once('/').is_some_and(|(owner, name)| is_name(owner) && is_name(name));
    if fits { Ok(()) } else { Err(NameError::Repository(text.to_owned())) }
}

/// Implements the conversions of a name, which is checked when it is made from a text.
macro_rules! text_of_name {
    ($name:ident, $check:expr) => {
        impl $name {
            /// Returns the text of the name.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        /// Prints the text alone, as logs show it.
        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, formatter)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                let check: fn(&str) -> Result<(), NameError> = $check;
                check(text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }
    };
}

/// Defines a name that is equal to the same text only.
macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        text_of_name!($name, $check);
    };
}

name!(
    /// Name of one installation of pxci on a cluster: up to 16 of `a-z0-9-`, no dash at an end.
    Installation,
    |text| check_label("installation name", text, LONGEST_INSTALLATION)
);
name!(
    /// Name of one pool of runners (not PVE's resource pool): up to 29 of `a-z0-9-`, no dash at an end.
    PoolName,
    |text| check_label("name of a runner pool", text, LONGEST_POOL)
);
name!(
    /// Name of a node of the cluster: letters, digits and dashes, no dash at an end (PVE's format `pve-node`).
    NodeName,
    check_node
);
/// A repository at GitHub, `owner/name`. GitHub compares both parts without regard to case, so two spellings are equal. The text
/// keeps its spelling.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RepositoryName(String);

text_of_name!(RepositoryName, check_repository);

impl RepositoryName {
    /// Returns the bytes that identify the repository. The grammar of names admits ASCII alone.
    fn folded(&self) -> impl Iterator<Item = u8> {
        self.0.bytes().map(|byte| byte.to_ascii_lowercase())
    }

    /// Returns the user or organization that owns the repository.
    #[must_use]
    pub fn owner(&self) -> &str {
        self.0.split_once('/').map_or("", |(owner, _)| owner)
    }

    /// Returns the name without the owner.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.split_once('/').map_or("", |(_, name)| name)
    }
}

impl PartialEq for RepositoryName {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for RepositoryName {}

impl Ord for RepositoryName {
    fn cmp(&self, other: &Self) -> Ordering {
        self.folded().cmp(other.folded())
    }
}

impl PartialOrd for RepositoryName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Hash for RepositoryName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.folded().for_each(|byte| state.write_u8(byte));
        state.write_usize(self.0.len());
    }
}

impl Default for Installation {
    fn default() -> Self {
        Self("pxci".to_owned())
    }
}

/// Identifies one incarnation of a VMID: six of `a-z0-9`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Nonce(String);

impl Nonce {
    /// Draws a new nonce from the thread's random source.
    #[cfg(feature = "random")]
    #[must_use]
    pub fn random() -> Self {
        use rand::Rng as _;

        let mut source = rand::rng();
        let mut character = || char::from(NONCE_ALPHABET[source.random_range(0..NONCE_ALPHABET.len())]);
        Self((0..NONCE_LENGTH).map(|_| character()).collect())
    }

    /// Returns the text of the nonce.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for Nonce {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let fits = text.len() == NONCE_LENGTH && text.bytes().all(|byte| NONCE_ALPHABET.contains(&byte));
        fits.then(|| Self(text.to_owned())).ok_or_else(|| NameError::Nonce(text.to_owned()))
    }
}

impl TryFrom<String> for Nonce {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<Nonce> for String {
    fn from(nonce: Nonce) -> Self {
        nonce.0
    }
}

/// Returns the tags of a guest of the installation as PVE stores them: in lower case, sorted, joined by `;`. `extra`
/// has further tags, for example [`fingerprint_tag`].
#[must_use]
pub fn tags(installation: &Installation, extra: &[String]) -> String {
    let mut all = vec!["pxci".to_owned(), format!("pxci-{installation}")];
    all.extend(extra.iter().map(|tag| tag.to_lowercase()));
    all.sort();
    all.dedup();
    all.join(";")
}

/// Returns the tag with the first 12 characters of a template's fingerprint.
#[must_use]
pub fn fingerprint_tag(fingerprint: &str) -> String {
    format!("pxci-fp-{}", fingerprint.chars().take(12).collect::<String>())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn installation_grammar() {
        for good in ["a", "lab", "lab-2", "abcdefghijklmnop"] {
            assert!(good.parse::<Installation>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "Lab", "a_b", "abcdefghijklmnopq", "ä"] {
            assert!(bad.parse::<Installation>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_name_of_a_node_follows_the_rules_of_proxmox_ve() {
        for good in ["pve1", "PVE", "a", "node-2"] {
            assert!(good.parse::<NodeName>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "a.b", "a/b", "a b"] {
            assert!(bad.parse::<NodeName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_repository_has_an_owner_and_a_name() {
        let repository: RepositoryName = "acme/tools.js".parse().unwrap();
        assert_eq!((repository.owner(), repository.name()), ("acme", "tools.js"));
        for bad in ["acme", "acme/", "/tools", "a/b/c", "acme/..", "acme/to ols", "https://github.com/acme/tools"] {
            assert!(bad.parse::<RepositoryName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn two_spellings_of_a_repository_are_equal_and_each_keeps_its_text() {
        use std::collections::{BTreeSet, HashSet};

        let spellings = ["acme/tools", "Acme/Tools", "ACME/tools"].map(|text| text.parse::<RepositoryName>().unwrap());
        assert_eq!(spellings.iter().collect::<BTreeSet<_>>().len(), 1);
        assert_eq!(spellings.iter().collect::<HashSet<_>>().len(), 1);
        assert_eq!(spellings[1].as_str(), "Acme/Tools");
        let other: RepositoryName = "acme/tools2".parse().unwrap();
        assert!(spellings.iter().all(|spelling| *spelling < other && *spelling != other));
    }

    #[test]
    fn names_are_strings_in_json() {
        let written = |text: &str| format!("\"{text}\"");
        let node: NodeName = serde_json::from_str(&written("pve1")).unwrap();
        assert_eq!(serde_json::to_string(&node).unwrap(), written("pve1"));
        let repository: RepositoryName = serde_json::from_str(&written("acme/tools")).unwrap();
        assert_eq!(serde_json::to_string(&repository).unwrap(), written("acme/tools"));
        assert!(serde_json::from_str::<RepositoryName>(&written("acme")).is_err());
        assert_eq!(format!("{repository:?}"), written("acme/tools"));
    }

    #[test]
    fn tags_have_the_form_that_pve_returns() {
        let lab: Installation = "lab".parse().unwrap();
        let fingerprint = fingerprint_tag(&"0123456789abcdef".repeat(4));
        assert_eq!(fingerprint, "pxci-fp-0123456789ab");
        assert_eq!(tags(&lab, &["Zoo".into(), fingerprint]), "pxci;pxci-fp-0123456789ab;pxci-lab;zoo");
    }

    proptest! {
        #[test]
        fn drawn_nonces_are_valid(_seed in 0u8..20) {
            prop_assert!(Nonce::random().as_str().parse::<Nonce>().is_ok());
        }
    }
}
