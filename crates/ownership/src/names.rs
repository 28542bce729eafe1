//! Names of installations, pools and runners, and the tags that people see in the web page.

use std::{fmt, str::FromStr};

use rand::Rng;
use serde::{Deserialize, Serialize};

const NONCE_LENGTH: usize = 6;
const NONCE_ALPHABET: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
/// A runner's name is a DNS label, because it is the guest's host name too.
const LONGEST_RUNNER_NAME: usize = 63;
const LONGEST_INSTALLATION: usize = 16;
/// Characters of a DNS label that are left after an installation, a VMID of nine digits, a nonce and three dashes.
const LONGEST_POOL: usize = 29;

/// Why a text is not a valid name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Characters or length do not fit the grammar.
    #[error(
        "\"{text}\" is not a valid {what}: it takes 1 to {longest} lower-case letters, digits and dashes, with no dash at either end"
    )]
    Label {
        /// The kind of name that was expected.
        what: &'static str,
        /// The text.
        text: String,
        /// Most characters allowed.
        longest: usize,
    },
    /// No six characters of `a-z0-9`.
    #[error("\"{0}\" is not a valid nonce: it takes six lower-case letters and digits")]
    Nonce(String),
    /// Not of the form `{installation}-{pool}-{vmid}-{nonce}`.
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

macro_rules! label {
    ($(#[$doc:meta])* $name:ident, $what:literal, $longest:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Returns the text of the name.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
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
                check_label($what, text, $longest)?;
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

label!(
    /// Name of one installation of pxci on a cluster: up to 16 of `a-z0-9-`, no dash at an end.
    Installation,
    "installation name",
    LONGEST_INSTALLATION
);
label!(
    /// Name of one runner pool (not PVE's resource pool): up to 29 of `a-z0-9-`, no dash at an end.
    PoolName,
    "name of a runner pool",
    LONGEST_POOL
);

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
    /// Draws a new nonce from the given source.
    fn draw(random: &mut impl Rng) -> Self {
        let mut character = || char::from(NONCE_ALPHABET[random.random_range(0..NONCE_ALPHABET.len())]);
        Self((0..NONCE_LENGTH).map(|_| character()).collect())
    }

    /// Draws a new nonce from the thread's random source, for callers that need no repeatable nonce.
    #[must_use]
    pub fn random() -> Self {
        Self::draw(&mut rand::rng())
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

/// Name of a runner: of its VM in PVE, of its registration at GitHub, and of its host.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RunnerName {
    /// Installation that made it.
    pub installation: Installation,
    /// Pool it serves.
    pub pool: PoolName,
    /// VMID of its VM.
    pub vmid: u32,
    /// Incarnation of that VMID.
    pub nonce: Nonce,
}

impl RunnerName {
    /// Reads `{installation}-{pool}-{vmid}-{nonce}` of a known installation.
    ///
    /// # Errors
    /// When the name was not made by that installation.
    pub fn parse(installation: &Installation, text: &str) -> Result<Self, NameError> {
        let foreign = || NameError::Runner(text.to_owned());
        if text.len() > LONGEST_RUNNER_NAME {
            return Err(foreign());
        }
        let rest =
            text.strip_prefix(installation.as_str()).and_then(|rest| rest.strip_prefix('-')).ok_or_else(foreign)?;
        let (rest, nonce) = rest.rsplit_once('-').ok_or_else(foreign)?;
        let (pool, vmid) = rest.rsplit_once('-').ok_or_else(foreign)?;
        let name = Self {
            installation: installation.clone(),
            pool: pool.parse().map_err(|_| foreign())?,
            vmid: vmid.parse().map_err(|_| foreign())?,
            nonce: nonce.parse().map_err(|_| foreign())?,
        };
        // Numbers can be written in several ways, of which we use one.
        if name.to_string() == text { Ok(name) } else { Err(foreign()) }
    }
}

impl fmt::Display for RunnerName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}-{}-{}", self.installation, self.pool, self.vmid, self.nonce)
    }
}

/// Tags of everything that an installation makes, as PVE stores them (lower case, sorted, joined by `;`).
/// `extra` are further ones, for example [`fingerprint_tag`].
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
    fn a_foreign_runner_name_is_refused() {
        let lab: Installation = "lab".parse().unwrap();
        for foreign in [
            "laboratory-p-9100-abcdef",
            "lab-9100-abcdef",
            "lab-p-9100-ABCDEF",
            "lab-p-x-abcdef",
            "lab-p-09100-abcdef",
            "lab-p-+9100-abcdef",
            "lab",
            "other-p-9100-abcdef",
        ] {
            assert!(RunnerName::parse(&lab, foreign).is_err(), "{foreign}");
        }
    }

    #[test]
    fn tags_are_in_the_form_that_pve_gives_back() {
        let lab: Installation = "lab".parse().unwrap();
        let fingerprint = fingerprint_tag(&"0123456789abcdef".repeat(4));
        assert_eq!(fingerprint, "pxci-fp-0123456789ab");
        assert_eq!(tags(&lab, &["Zoo".into(), fingerprint]), "pxci;pxci-fp-0123456789ab;pxci-lab;zoo");
    }

    proptest! {
        #[test]
        fn runner_names_survive_a_round_trip_and_are_dns_labels(
            installation in "[a-z0-9]([a-z0-9-]{0,14}[a-z0-9])?",
            pool in "[a-z0-9]([a-z0-9-]{0,27}[a-z0-9])?",
            vmid in 100u32..=999_999_999,
            nonce in "[a-z0-9]{6}",
        ) {
            let name = RunnerName {
                installation: installation.parse().unwrap(),
                pool: pool.parse().unwrap(),
                vmid,
                nonce: nonce.parse().unwrap(),
            };
            let text = name.to_string();
            prop_assert!(text.len() <= 63);
            prop_assert_eq!(RunnerName::parse(&name.installation, &text).unwrap(), name);
        }

        #[test]
        fn drawn_nonces_are_valid(_seed in 0u8..20) {
            prop_assert!(Nonce::random().as_str().parse::<Nonce>().is_ok());
        }
    }
}
