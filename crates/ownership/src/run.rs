//! Runs, which are the starts of one dispatcher. Its ledger and its markers name them.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::NameError;

const DIGITS: usize = 8;

/// Random name of one start of a dispatcher: eight lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId(u32);

impl RunId {
    /// Draws an id from the thread's random source.
    #[cfg(feature = "random")]
    #[must_use]
    pub fn random() -> Self {
        Self(rand::random())
    }
}

impl From<u32> for RunId {
    fn from(number: u32) -> Self {
        Self(number)
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:08x}", self.0)
    }
}

/// Prints the text alone, as logs show it.
impl fmt::Debug for RunId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl FromStr for RunId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let number =
            if text.len() == DIGITS && text.bytes().all(is_digit) { u32::from_str_radix(text, 16).ok() } else { None };
        number.map(Self).ok_or_else(|| NameError::RunId(text.to_owned()))
    }
}

impl TryFrom<String> for RunId {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<RunId> for String {
    fn from(id: RunId) -> Self {
        id.to_string()
    }
}

/// One start of a dispatcher. Runs are ordered by the counter, and by the id if the counters are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Run {
    /// Number of starts of the ledger, including this one. Counts from 1.
    pub counter: u64,
    /// Random name of the start.
    pub id: RunId,
}

impl fmt::Display for Run {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}", self.counter, self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_eight_lower_case_hexadecimal_digits() {
        let id: RunId = "00c0ffee".parse().unwrap();
        assert_eq!((id.to_string().as_str(), id), ("00c0ffee", RunId::from(0x00c0_ffee)));
        for bad in ["", "c0ffee", "00C0FFEE", "+0c0ffee", "00c0ffee0", "0xc0ffee"] {
            assert!(bad.parse::<RunId>().is_err(), "{bad}");
        }
        let drawn = RunId::random();
        assert_eq!(drawn.to_string().parse::<RunId>().unwrap(), drawn);
    }

    #[test]
    fn a_run_survives_json_and_later_runs_are_larger() {
        let run = |counter, id: u32| Run { counter, id: id.into() };
        let text = r#"{"counter":7,"id":"0000002a"}"#;
        assert_eq!(serde_json::to_string(&run(7, 42)).unwrap(), text);
        assert_eq!(serde_json::from_str::<Run>(text).unwrap(), run(7, 42));
        assert!(run(8, 1) > run(7, 42) && run(7, 43) > run(7, 42));
        assert_eq!(run(7, 42).to_string(), "7-0000002a");
    }
}
