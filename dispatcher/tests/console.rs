//! The console program behind a real terminal, with a daemon's control socket behind it.
#![cfg(test)]
#![expect(clippy::disallowed_methods, reason = "they watch a program by the clock")]

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use dispatcher_api::frames::{Decoder, Direction, Message, SessionId, encode};
use dispatcher_api::protocol::{Answer, PROTOCOL, Refusal, Request};
use dispatcher_api::{Config, PublicKey, Secrets};
use pxci_dispatcher::console::Server;
use pxci_dispatcher::control::Control;
use pxci_dispatcher::logs::LogRing;
use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};
use tokio_util::sync::CancellationToken;

const DEADLINE: Duration = Duration::from_secs(20);
const CTRL_C: &[u8] = b"\x03";

/// The console program on a terminal of its own, which echoes until the program makes it raw.
struct Console {
    program: Child,
    keyboard: File,
    screen: Receiver<Vec<u8>>,
    seen: Vec<u8>,
    decoder: Decoder,
    session: SessionId,
    number: u32,
}

impl Console {
    fn start(socket: &Path) -> Self {
        Self::start_after(socket, b"")
    }

    /// `typed` waits in the terminal before the program runs.
    fn start_after(socket: &Path, typed: &[u8]) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let terminal =
            open(ptsname(&master, Vec::new()).unwrap(), OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
        let mut keyboard = File::from(master);
        let mut reading = keyboard.try_clone().unwrap();
        keyboard.write_all(typed).unwrap();
        let program = Command::new(env!("CARGO_BIN_EXE_pxci-dispatcher"))
            .args(["console", "--socket"])
            .arg(socket)
            .stdin(Stdio::from(terminal.try_clone().unwrap()))
            .stdout(Stdio::from(terminal.try_clone().unwrap()))
            .stderr(Stdio::from(terminal))
            .spawn()
            .unwrap();
        let (sender, screen) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count) = reading.read(&mut buffer) {
                if count == 0 || sender.send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        let decoder = Decoder::new(Direction::Answer);
        Self { program, keyboard, screen, seen: Vec::new(), decoder, session: SessionId::random(), number: 0 }
    }

    fn type_in(&mut self, bytes: &[u8]) {
        self.keyboard.write_all(bytes).unwrap();
    }

    fn ask(&mut self, request: &Request) -> Answer {
        self.number += 1;
        let text = request_text(self.session, self.number, request);
        self.type_in(text.as_bytes());
        self.answer()
    }

    /// The answer to the last request.
    fn answer(&mut self) -> Answer {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let bytes = self.next(deadline).expect("no answer in time");
            let answers = self.decoder.push(&bytes);
            if let Some(answer) = answers.into_iter().find(|message| message.number == self.number) {
                return serde_json::from_slice(&answer.payload).unwrap();
            }
        }
    }

    fn next(&mut self, deadline: Instant) -> Result<Vec<u8>, RecvTimeoutError> {
        let bytes = self.screen.recv_timeout(deadline.saturating_duration_since(Instant::now()))?;
        self.seen.extend_from_slice(&bytes);
        Ok(bytes)
    }

    /// Waits until the text was shown after the place where looking began.
    fn wait_for(&mut self, text: &str) {
        let from = self.seen.len();
        let deadline = Instant::now() + DEADLINE;
        while !String::from_utf8_lossy(&self.seen[from..]).contains(text) {
            let waited = self.next(deadline);
            assert!(waited.is_ok(), "\"{text}\" was not shown: {}", String::from_utf8_lossy(&self.seen[from..]));
        }
    }

    fn echoes(&self) -> bool {
        tcgetattr(&self.keyboard).unwrap().local_modes.contains(LocalModes::ECHO)
    }

    fn open_session(&mut self) -> PublicKey {
        match self.ask(&Request::Hello { protocol: PROTOCOL, version: "test".into() }) {
            Answer::Hello { public_key, .. } => public_key,
            other => panic!("{other:?}"),
        }
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

fn request_text(session: SessionId, number: u32, request: &Request) -> String {
    let payload = serde_json::to_vec(request).unwrap();
    encode(Direction::Request, &Message { session, number, payload }).unwrap().concat()
}

fn config() -> Config {
    Config::from_json(r#"{"installation":"lab","pve":{"endpoints":["https://h:8006"],"token_id":"a@pam!b"}}"#).unwrap()
}

/// A daemon that only answers its console, on a runtime of its own.
struct Daemon {
    directory: tempfile::TempDir,
    stop: CancellationToken,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Daemon {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (path, stop) = (directory.path().join("dispatcher.sock"), CancellationToken::new());
        let stopping = stop.clone();
        let (ready, bound) = channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let server = Server::bind(&path).await.unwrap();
                ready.send(()).unwrap();
                server.serve(Control::new(None, None, LogRing::default()), stopping).await;
            });
        });
        bound.recv().unwrap();
        Self { directory, stop, thread: Some(thread) }
    }

    fn console(&self) -> Console {
        Console::start(&self.socket())
    }

    fn socket(&self) -> std::path::PathBuf {
        self.directory.path().join("dispatcher.sock")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[test]
fn a_person_sees_the_status_and_leaves_with_ctrl_c() {
    let daemon = Daemon::start();
    let mut console = daemon.console();
    console.wait_for("waiting for its configuration");
    assert!(!console.echoes(), "the terminal is not raw");
    console.type_in(CTRL_C);
    assert!(console.program.wait().unwrap().success());
    assert!(console.echoes(), "the terminal was not put back");
}

#[test]
fn a_request_typed_before_the_program_ran_is_answered() {
    let daemon = Daemon::start();
    let session = SessionId::random();
    let hello = Request::Hello { protocol: PROTOCOL, version: "test".into() };
    let typed = format!("\n{}", request_text(session, 1, &hello));
    let mut console = Console::start_after(&daemon.socket(), typed.as_bytes());
    console.number = 1;
    assert!(matches!(console.answer(), Answer::Hello { .. }));
}

#[test]
fn a_configuration_arrives_and_its_secrets_never_show() {
    let daemon = Daemon::start();
    let mut console = daemon.console();
    let key = console.open_session();
    let secrets =
        Secrets { pve_token_secret: "pve-hunter2".to_owned().into(), github_token: "github-hunter2".to_owned().into() };
    let secrets = secrets.seal(&key).unwrap();
    let answer = console.ask(&Request::Configure { config: Box::new(config()), secrets });
    assert_eq!(answer, Answer::Configured { config_hash: config().hash() });
    assert!(matches!(console.ask(&Request::Status {}), Answer::Status(_)));
    let Answer::Logs { lines } = console.ask(&Request::Logs { since: 0 }) else { panic!("no log") };
    assert!(lines.iter().all(|line| !line.text.contains("hunter2")));
    assert!(!String::from_utf8_lossy(&console.seen).contains("hunter2"));
}

#[test]
fn the_view_comes_back_after_bye() {
    let daemon = Daemon::start();
    let mut console = daemon.console();
    console.open_session();
    assert_eq!(console.ask(&Request::Bye {}), Answer::Bye {});
    console.wait_for("Ctrl-C leaves this view");
    assert!(matches!(console.ask(&Request::Status {}), Answer::Refused { reason: Refusal::NoSession, .. }));
}

#[test]
fn a_large_configuration_fits() {
    let daemon = Daemon::start();
    let mut console = daemon.console();
    let key = console.open_session();
    let secrets = Secrets { pve_token_secret: "a".to_owned().into(), github_token: "b".to_owned().into() };
    let mut large = config();
    large.pve.endpoints = (0..3_000).map(|number| format!("https://node-{number:04}.example.net:8006")).collect();
    let answer =
        console.ask(&Request::Configure { config: Box::new(large.clone()), secrets: secrets.seal(&key).unwrap() });
    assert_eq!(answer, Answer::Configured { config_hash: large.hash() });
}

#[test]
fn without_a_daemon_the_console_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let mut console = Console::start(&directory.path().join("none.sock"));
    console.wait_for("the daemon does not answer");
    let hello = Request::Hello { protocol: PROTOCOL, version: "test".into() };
    assert!(matches!(console.ask(&hello), Answer::Refused { reason: Refusal::Unavailable, .. }));
}

#[test]
fn another_protocol_is_refused() {
    let daemon = Daemon::start();
    let mut console = daemon.console();
    let hello = Request::Hello { protocol: PROTOCOL + 1, version: "test".into() };
    assert!(matches!(console.ask(&hello), Answer::Refused { reason: Refusal::Protocol, .. }));
}
