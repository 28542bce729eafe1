//! The protocol between provider and dispatcher: one request, one answer, both JSON.
//!
//! A session begins with [`Request::Hello`]. Every request may be repeated, and a repetition has no further effect.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Config, ConfigProblem, PublicKey, SealedSecrets, Status};

/// Version of this protocol. Both sides must have the same version.
pub const PROTOCOL: u32 = 1;

/// Largest number of log lines in one answer.
pub const MOST_LOG_LINES: usize = 200;

/// Request to a dispatcher.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Opens a session. Answered by [`Answer::Hello`].
    Hello {
        /// [`PROTOCOL`] of the client.
        protocol: u32,
        /// Version of the client, for people.
        version: String,
    },
    /// Applies a configuration, and ends a drain. Answered by [`Answer::Configured`].
    Configure {
        /// The whole new configuration.
        config: Box<Config>,
        /// Its secrets, sealed to the key of this session.
        secrets: SealedSecrets,
    },
    /// Asks for the status. Answered by [`Answer::Status`].
    Status {},
    /// Starts a drain, which lasts until the next [`Request::Configure`]: the dispatcher takes no more jobs, destroys
    /// virtual machines without a job, and waits for running jobs. Answered by [`Answer::Status`].
    Drain {},
    /// Ends all waits after failures. Answered by [`Answer::Status`].
    Retry {},
    /// Asks for log lines. Answered by [`Answer::Logs`].
    Logs {
        /// Sequence number after which the lines begin.
        since: u64,
    },
    /// Ends the session, after which the console shows its view for people. Answered by [`Answer::Bye`].
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
    /// The status.
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
        /// Reason as a code.
        reason: Refusal,
        /// Reason as text, without secrets.
        message: String,
        /// Problems of fields, if the reason is [`Refusal::InvalidConfig`].
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        problems: Vec<ConfigProblem>,
    },
}

/// Reason why a request is refused.
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
    /// Sequence number, which starts at 1 with each start of the dispatcher.
    pub sequence: u64,
    /// Time at which the line was written.
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
    fn the_names_of_requests_do_not_change() {
        let hello = Request::Hello { protocol: 1, version: "0.1.0".into() };
        assert_eq!(serde_json::to_string(&hello).unwrap(), r#"{"request":"hello","protocol":1,"version":"0.1.0"}"#);
        assert_eq!(serde_json::from_str::<Request>(r#"{"request":"drain"}"#).unwrap(), Request::Drain {});
        assert_eq!(serde_json::from_str::<Request>(r#"{"request":"retry"}"#).unwrap(), Request::Retry {});
    }

    #[test]
    fn a_request_with_an_unknown_field_is_refused() {
        assert!(serde_json::from_str::<Request>(r#"{"request":"status","verbose":true}"#).is_err());
        assert!(serde_json::from_str::<Request>(r#"{"request":"format_disk"}"#).is_err());
    }

    #[test]
    fn an_answer_survives_json() {
        let answer = Answer::Status(Box::default());
        assert_eq!(serde_json::from_str::<Answer>(&serde_json::to_string(&answer).unwrap()).unwrap(), answer);
    }
}
