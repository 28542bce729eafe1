//! The simulated lines of PVE, and their differences beyond the schemas.

use serde_json::{Value, json};

/// A line of PVE releases.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Line {
    /// PVE 8.4.
    Eight,
    /// PVE 9.2.
    #[default]
    Nine,
}

/// Error for a text that does not name a line.
#[derive(Debug, thiserror::Error)]
#[error("'{0}' is not a line of PVE that can be simulated: 8 or 9")]
pub struct UnknownLine(String);

impl std::str::FromStr for Line {
    type Err = UnknownLine;

    fn from_str(text: &str) -> Result<Self, UnknownLine> {
        match text.split('.').next() {
            Some("8") => Ok(Self::Eight),
            Some("9") => Ok(Self::Nine),
            _ => Err(UnknownLine(text.to_owned())),
        }
    }
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Eight => "8",
            Self::Nine => "9",
        })
    }
}

impl Line {
    /// Returns the answer of `GET /version`.
    pub(crate) fn version(self) -> Value {
        match self {
            Self::Eight => json!({ "release": "8.4", "repoid": "2606ac850d46da29", "version": "8.4.21" }),
            Self::Nine => json!({ "release": "9.2", "repoid": "14a22df35955d97d", "version": "9.2.11" }),
        }
    }

    /// Returns true if a new container is unprivileged unless its creation says otherwise.
    pub(crate) fn unprivileged_by_default(self) -> bool {
        self == Self::Nine
    }
}
