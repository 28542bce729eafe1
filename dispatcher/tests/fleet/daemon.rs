//! The dispatcher's real program, started, killed and started again.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dispatcher_api::protocol::{Answer, PROTOCOL, Request};
use dispatcher_api::{PublicKey, Status};
use jiff::{SignedDuration, Timestamp};
use pxci_dispatcher::settings::Settings;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};

/// A running dispatcher. Killed when dropped.
pub(crate) struct Daemon {
    child: Child,
}

/// Where a dispatcher keeps its things, and what it said so far.
#[derive(Debug, Clone)]
pub(crate) struct Home {
    pub(crate) path: PathBuf,
    said: Arc<Mutex<String>>,
}

impl Home {
    pub(crate) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), said: Arc::default() }
    }

    pub(crate) fn said(&self) -> String {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Starts the program with `arguments` behind those for its files, and `variables` as its whole environment.
    pub(crate) fn start(&self, arguments: &[&str], variables: &[(String, String)]) -> Daemon {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pxci-dispatcher"));
        command.arg("serve").arg("--state").arg(self.path.join("state")).arg("--socket").arg(self.path.join("socket"));
        command.args(arguments).env_clear().envs(variables.iter().cloned());
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let (lines, said) = (BufReader::new(child.stderr.take().unwrap()), Arc::clone(&self.said));
        tokio::spawn(async move {
            let mut lines = lines.lines();
            while let Ok(Some(line)) = lines.next_line().await {
                let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
                said.push_str(&line);
                said.push('\n');
            }
        });
        Daemon { child }
    }

    /// Returns the status of the running dispatcher.
    pub(crate) async fn status(&self) -> Status {
        match self.session(|_| Request::Status {}).await {
            Answer::Status(status) => *status,
            other => panic!("{other:?}"),
        }
    }

    /// Asks the running dispatcher to end what has no job, and to make nothing.
    pub(crate) async fn drain(&self) {
        assert!(matches!(self.session(|_| Request::Drain {}).await, Answer::Status(_)));
    }

    /// Hands the running dispatcher a configuration, as the provider does.
    pub(crate) async fn configure(&self, settings: &Settings) {
        let request = |key: &PublicKey| Request::Configure {
            config: Box::new(settings.config.clone()),
            secrets: settings.secrets.seal(key).unwrap(),
        };
        assert!(matches!(self.session(request).await, Answer::Configured { .. }));
    }

    /// The answer to one request over the control socket.
    async fn session(&self, request: impl FnOnce(&PublicKey) -> Request) -> Answer {
        let mut stream = BufReader::new(UnixStream::connect(self.path.join("socket")).await.unwrap());
        let hello = Request::Hello { protocol: PROTOCOL, version: "test".into() };
        let Answer::Hello { public_key, .. } = ask(&mut stream, &hello).await else { panic!("no session") };
        ask(&mut stream, &request(&public_key)).await
    }

    /// Asks the running dispatcher to try again, as a person does on its command line.
    pub(crate) async fn retry(&self) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pxci-dispatcher"));
        let ended = command.arg("retry").arg("--socket").arg(self.path.join("socket")).status().await.unwrap();
        assert!(ended.success());
    }

    /// Ends the quarantine of a VM, as a person does on the command line. Returns false if the dispatcher refuses.
    pub(crate) async fn release(&self, vm: &str) -> bool {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pxci-dispatcher"));
        let ended = command.args(["release", vm, "--socket"]).arg(self.path.join("socket")).status().await.unwrap();
        ended.success()
    }

    /// Every byte in its files.
    pub(crate) fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let state = self.path.join("state");
        let paths = [state.clone(), state.join("kept")].into_iter().flat_map(|directory| paths_in(&directory));
        let files = paths.filter(|path| path.is_file());
        files.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
    }

    /// Logs of failed VMs.
    pub(crate) fn kept(&self) -> Vec<PathBuf> {
        let is_log = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "log");
        paths_in(&self.path.join("state").join("kept")).into_iter().filter(is_log).collect()
    }

    /// Lets time pass while no dispatcher runs: the stored moment, from which its clock goes on, becomes a later one.
    pub(crate) fn let_time_pass(&self, time: SignedDuration) {
        let database = rusqlite::Connection::open(self.path.join("state/ledger.sqlite")).unwrap();
        let stored: String = database.query_row("SELECT fleet FROM clock", [], |row| row.get(0)).unwrap();
        let later = stored.parse::<Timestamp>().unwrap() + time;
        assert_eq!(database.execute("UPDATE clock SET fleet = ?1", [later.to_string()]).unwrap(), 1);
    }

    /// Copies the files of its ledger into another directory, while no dispatcher runs.
    pub(crate) fn save_ledger(&self, directory: &Path) {
        for (path, content) in self.files().into_iter().filter(|(path, _)| is_of_ledger(path)) {
            std::fs::write(directory.join(path.file_name().unwrap()), content).unwrap();
        }
    }

    /// Replaces its ledger by the files of [`Home::save_ledger`].
    pub(crate) fn restore_ledger(&self, directory: &Path) {
        self.lose_ledger();
        for entry in std::fs::read_dir(directory).unwrap() {
            let saved = entry.unwrap();
            std::fs::copy(saved.path(), self.path.join("state").join(saved.file_name())).unwrap();
        }
    }

    /// Loses its ledger.
    pub(crate) fn lose_ledger(&self) {
        self.files()
            .iter()
            .filter(|(path, _)| is_of_ledger(path))
            .for_each(|(path, _)| std::fs::remove_file(path).unwrap());
    }
}

fn is_of_ledger(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("ledger"))
}

/// Returns the paths in a directory, none if it does not exist.
fn paths_in(directory: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(directory).into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
}

async fn ask(stream: &mut BufReader<UnixStream>, request: &Request) -> Answer {
    let line = format!("{}\n", serde_json::to_string(request).unwrap());
    stream.get_mut().write_all(line.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_line(&mut answer).await.unwrap();
    serde_json::from_str(&answer).unwrap()
}

impl Daemon {
    /// Returns the status of its own end, if it has ended.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// As a power cut would: no signal that could be handled.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Asks it to end, and returns whether it ended well.
    pub(crate) async fn terminate(mut self, limit: Duration) -> bool {
        let process = rustix::process::Pid::from_raw(i32::try_from(self.child.id().unwrap()).unwrap()).unwrap();
        rustix::process::kill_process(process, rustix::process::Signal::TERM).unwrap();
        tokio::time::timeout(limit, self.child.wait()).await.unwrap().unwrap().success()
    }
}
