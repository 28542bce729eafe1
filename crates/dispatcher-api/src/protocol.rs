//! The protocol between provider and dispatcher: one request, one answer, both JSON.
//!
//! A session begins with [`Request::Hello`]. Every request may be repeated: the second has no further effect.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Config, ConfigProblem, PublicKey, SealedSecrets, Status};

/// Version of this protocol. Both sides must speak the same.
pub const PROTOCOL: u32 = 1;

/// Most log lines in one answer.
pub const MOST_LOG_LINES: usize = 200;

/// Request to a dispatcher.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Opens a session. Answered by [`Answer::Hello`].
    Hello {
        /// [`PROTOCOL`] of who asks.
        protocol: u32,
        /// Version of the program that asks, for people.
        version: String,
    },
    /// Puts a configuration in force, and ends a drain. Answered by [`Answer::Configured`].
    Configure {
        /// The whole new configuration.
        config: Box<Config>,
        /// Its secrets, sealed to the key of this session.
        secrets: SealedSecrets,
    },
    /// Asks how things are. Answered by [`Answer::Status`].
    Status {},
    /// Take no more jobs, destroy virtual machines that have none, let running jobs end; until the next
    /// [`Request::Configure`]. Answered by [`Answer::Status`].
    Drain {},
    /// Try again at once what waits because it failed. Answered by [`Answer::Status`].
    Retry {},
    /// Asks for log lines. Answered by [`Answer::Logs`].
    Logs {
        /// Only lines with a greater sequence number.
        since: u64,
    },
    /// Ends the session: the console shows its view for people again. Answered by [`Answer::Bye`].
    Bye {},
}

/// Answer of a dispatcher.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    /// The session is open.
    Hello {
        /// [`PROTOCOL`] of the dispatcher.
        protocol: u32,
        /// Version of the dispatcher.
        version: String,
        /// Secrets of this session are sealed to this key.
        public_key: PublicKey,
    },
    /// The configuration is in force.
    Configured {
        /// [`Config::hash`] of it.
        config_hash: String,
    },
    /// How things are.
    Status(Box<Status>),
    /// Log lines, oldest first, at most [`MOST_LOG_LINES`].
    Logs {
        /// The lines.
        lines: Vec<LogLine>,
    },
    /// The session has ended.
    Bye {},
    /// The request was refused; nothing changed.
    Refused {
        /// Why.
        reason: Refusal,
        /// The same for people, free of secrets.
        message: String,
        /// With [`Refusal::InvalidConfig`]: what is wrong with which field.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        problems: Vec<ConfigProblem>,
    },
}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The two sides speak different versions of the protocol.
    Protocol,
    /// The request cannot be read.
    Malformed,
    /// The session is not open, or has been replaced.
    NoSession,
    /// The secrets cannot be opened with the key of this session.
    Unsealing,
    /// The configuration contradicts itself.
    InvalidConfig,
    /// The dispatcher's files cannot be written.
    Storage,
    /// The dispatcher itself does not run, or does not answer its console.
    Unavailable,
}

/// One line of a dispatcher's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// Counts up from 1 for each start of the dispatcher.
    pub sequence: u64,
    /// When it was written.
    pub at: Timestamp,
    /// `ERROR`, `WARN` or `INFO`.
    pub level: String,
    /// Message and fields.
    pub text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_have_stable_names() {
        let hello = Request::Hello { protocol: 1, version: "0.1.0".into() };
        assert_eq!(serde_json::to_string(&hello).unwrap(), r#"{"request":"hello","protocol":1,"version":"0.1.0"}"#);
        assert_eq!(serde_json::from_str::<Request>(r#"{"request":"drain"}"#).unwrap(), Request::Drain {});
        assert_eq!(serde_json::from_str::<Request>(r#"{"request":"retry"}"#).unwrap(), Request::Retry {});
    }

    #[test]
    fn a_request_with_something_unknown_is_refused() {
        assert!(serde_json::from_str::<Request>(r#"{"request":"status","verbose":true}"#).is_err());
        assert!(serde_json::from_str::<Request>(r#"{"request":"format_disk"}"#).is_err());
    }

    #[test]
    fn an_answer_survives_json() {
        let answer = Answer::Status(Box::default());
        assert_eq!(serde_json::from_str::<Answer>(&serde_json::to_string(&answer).unwrap()).unwrap(), answer);
    }
}
