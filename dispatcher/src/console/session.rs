//! One session at the daemon: the key that its secrets are sealed to, and the answers to its requests.

use dispatcher_api::frames::LARGEST_MESSAGE;
use dispatcher_api::protocol::{Answer, LogLine, MOST_LOG_LINES, PROTOCOL, Refusal, Request};
use dispatcher_api::{Config, ConfigError, SealedSecrets, SessionKey};
use error_chain::Chain;

use crate::control::{ApplyError, Control};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Log text beyond this is cut, so that an answer always fits into a message.
const LONGEST_LOG_TEXT: usize = LARGEST_MESSAGE / MOST_LOG_LINES / 4;

/// Answers the requests of one connection.
#[derive(Debug)]
pub(super) struct Session {
    control: Control,
    key: Option<SessionKey>,
}

impl Session {
    pub(super) fn new(control: Control) -> Self {
        Self { control, key: None }
    }

    /// Answers one request. Blocks for the disk when a configuration is stored.
    pub(super) fn answer(&mut self, request: Request) -> Answer {
        match request {
            Request::Hello { protocol, version } => self.hello(protocol, &version),
            Request::Bye {} => self.bye(),
            _ if self.key.is_none() => refused(Refusal::NoSession, "the session is not open"),
            Request::Configure { config, secrets } => self.configure(*config, &secrets),
            Request::Status {} => self.status(),
            Request::Drain {} => self.drain(),
            Request::Retry {} => self.retry(),
            Request::Release { vm } => self.release(&vm),
            Request::Logs { since } => self.logs(since),
        }
    }

    fn hello(&mut self, protocol: u32, version: &str) -> Answer {
        if protocol != PROTOCOL {
            let message = format!(
                "dispatcher {VERSION} speaks version {PROTOCOL} of the console protocol, its caller {} version {protocol}: \
                 use the appliance that belongs to the provider",
                printable(version)
            );
            return refused(Refusal::Protocol, message);
        }
        let key = self.key.insert(SessionKey::generate());
        Answer::Hello { protocol: PROTOCOL, version: VERSION.to_owned(), public_key: key.public_key() }
    }

    fn bye(&mut self) -> Answer {
        self.key = None;
        Answer::Bye {}
    }

    fn configure(&self, config: Config, sealed: &SealedSecrets) -> Answer {
        let secrets = match self.key.as_ref().map(|key| key.open(sealed)) {
            Some(Ok(secrets)) => secrets,
            Some(Err(error)) => return refused(Refusal::Unsealing, error.to_string()),
            None => return refused(Refusal::NoSession, "the session is not open"),
        };
        let config_hash = config.hash();
        if let Err(error) = self.control.apply(config, secrets) {
            return not_applied(&error);
        }
        self.control.drain(false);
        tracing::info!(hash = &config_hash[..12], "configured over the console");
        Answer::Configured { config_hash }
    }

    fn status(&self) -> Answer {
        Answer::Status(Box::new(self.control.status()))
    }

    fn drain(&self) -> Answer {
        tracing::info!("asked to drain over the console");
        self.control.drain(true);
        self.status()
    }

    fn retry(&self) -> Answer {
        tracing::info!("asked to retry over the console");
        self.control.retry();
        self.status()
    }

    fn release(&self, vm: &str) -> Answer {
        if self.control.release(vm) {
            return self.status();
        }
        refused(Refusal::NotQuarantined, format!("no VM of the name or VMID \"{}\" is in quarantine", printable(vm)))
    }

    /// Returns the newest lines if there are more than fit.
    fn logs(&self, since: u64) -> Answer {
        let lines = self.control.logs(since);
        let newest = &lines[lines.len().saturating_sub(MOST_LOG_LINES)..];
        let lines = newest.iter().map(|line| LogLine {
            sequence: line.sequence,
            at: line.at,
            level: line.level.to_owned(),
            text: line.text.chars().take(LONGEST_LOG_TEXT).collect(),
        });
        Answer::Logs { lines: lines.collect() }
    }
}

fn refused(reason: Refusal, message: impl Into<String>) -> Answer {
    Answer::Refused { reason, message: message.into(), problems: Vec::new() }
}

fn not_applied(error: &ApplyError) -> Answer {
    match error {
        ApplyError::Invalid(ConfigError::Invalid(problems)) => {
            Answer::Refused { reason: Refusal::InvalidConfig, message: error.to_string(), problems: problems.clone() }
        }
        ApplyError::Invalid(_) | ApplyError::Unusable(_) => refused(Refusal::InvalidConfig, Chain(error).to_string()),
        ApplyError::Store(_) => refused(Refusal::Storage, Chain(error).to_string()),
    }
}

fn printable(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(40).collect()
}

#[cfg(test)]
mod tests {
    use dispatcher_api::{PublicKey, Secrets};

    use super::*;
    use crate::logs::LogRing;

    fn config() -> Config {
        Config::from_json(r#"{"installation":"lab","pve":{"endpoints":["https://h:8006"],"token_id":"a@pam!b"}}"#)
            .unwrap()
    }

    fn secrets() -> Secrets {
        Secrets { pve_token_secret: "one".to_owned().into(), github_token: "two".to_owned().into() }
    }

    fn session() -> Session {
        Session::new(Control::new(None, None, LogRing::default()))
    }

    fn open(session: &mut Session) -> PublicKey {
        match session.answer(Request::Hello { protocol: PROTOCOL, version: "0".into() }) {
            Answer::Hello { public_key, .. } => public_key,
            other => panic!("{other:?}"),
        }
    }

    fn reason(answer: Answer) -> Refusal {
        match answer {
            Answer::Refused { reason, .. } => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn another_protocol_is_refused_with_both_versions() {
        let answer = session().answer(Request::Hello { protocol: 99, version: "9.9\x1b[2J".into() });
        let Answer::Refused { reason: Refusal::Protocol, message, .. } = answer else { panic!("{answer:?}") };
        assert!(message.contains("99") && message.contains(VERSION) && !message.contains('\x1b'), "{message}");
    }

    #[test]
    fn nothing_is_answered_before_hello() {
        assert_eq!(reason(session().answer(Request::Status {})), Refusal::NoSession);
        assert_eq!(reason(session().answer(Request::Drain {})), Refusal::NoSession);
    }

    #[test]
    fn a_configuration_with_its_sealed_secrets_is_put_in_force() {
        let mut session = session();
        let key = open(&mut session);
        let mut changes = session.control.settings();
        let sealed = secrets().seal(&key).unwrap();
        let answer = session.answer(Request::Configure { config: Box::new(config()), secrets: sealed });
        assert_eq!(answer, Answer::Configured { config_hash: config().hash() });
        assert!(changes.has_changed().unwrap());
        assert_eq!(changes.borrow_and_update().as_ref().unwrap().config, config());
    }

    #[test]
    fn secrets_for_an_earlier_session_are_refused() {
        let mut session = session();
        let old = open(&mut session);
        open(&mut session);
        let sealed = secrets().seal(&old).unwrap();
        assert_eq!(
            reason(session.answer(Request::Configure { config: Box::new(config()), secrets: sealed })),
            Refusal::Unsealing
        );
    }

    #[test]
    fn an_invalid_configuration_is_refused_field_by_field() {
        let mut session = session();
        let key = open(&mut session);
        let mut bad = config();
        bad.pve.token_id = "nobody".into();
        let answer =
            session.answer(Request::Configure { config: Box::new(bad), secrets: secrets().seal(&key).unwrap() });
        let Answer::Refused { reason: Refusal::InvalidConfig, problems, .. } = answer else { panic!("{answer:?}") };
        assert_eq!(problems[0].path, "pve.token_id");
    }

    #[test]
    fn a_configuration_from_which_no_client_can_be_made_is_refused() {
        let mut session = session();
        let key = open(&mut session);
        let mut plain = config();
        plain.github.api_url = "http://github.example/api/v3".into();
        let mut unreadable = config();
        unreadable.pve.ca_pem = Some("-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n".into());
        for bad in [plain, unreadable] {
            let secrets = secrets().seal(&key).unwrap();
            let answer = session.answer(Request::Configure { config: Box::new(bad), secrets });
            assert!(matches!(answer, Answer::Refused { reason: Refusal::InvalidConfig, .. }), "{answer:?}");
            assert!(session.control.settings().borrow().is_none(), "nothing is in force");
        }
    }

    #[test]
    fn a_request_to_retry_wakes_the_dispatcher() {
        let mut session = session();
        open(&mut session);
        let retries = session.control.retries();
        assert!(!retries.has_changed().unwrap());
        assert!(matches!(session.answer(Request::Retry {}), Answer::Status(_)));
        assert!(retries.has_changed().unwrap());
    }

    #[test]
    fn only_a_vm_in_quarantine_is_released() {
        let mut session = session();
        open(&mut session);
        let release = |vm: &str| Request::Release { vm: vm.into() };
        assert_eq!(reason(session.answer(release("9101"))), Refusal::NotQuarantined);
        let kept = dispatcher_api::QuarantinedVm {
            vm: "lab-ubuntu-9101-aaaaaa".parse().unwrap(),
            vmid: ownership::Vmid::new(9101).unwrap(),
            node: "pve1".parse().unwrap(),
            until: jiff::Timestamp::UNIX_EPOCH,
            reason: String::new(),
        };
        session.control.publish(dispatcher_api::Status { quarantined: vec![kept], ..Default::default() });
        let releases = session.control.releases();
        for vm in ["9101", "lab-ubuntu-9101-aaaaaa"] {
            assert!(matches!(session.answer(release(vm)), Answer::Status(_)), "{vm}");
        }
        assert!(releases.has_changed().unwrap());
        assert_eq!(session.control.take_releases().len(), 1, "the same VM twice");
    }

    #[test]
    fn a_drain_lasts_until_the_next_configuration() {
        let mut session = session();
        let key = open(&mut session);
        let draining = session.control.draining();
        assert!(matches!(session.answer(Request::Drain {}), Answer::Status(_)));
        assert!(*draining.borrow());
        session.answer(Request::Configure { config: Box::new(config()), secrets: secrets().seal(&key).unwrap() });
        assert!(!*draining.borrow());
    }
}
