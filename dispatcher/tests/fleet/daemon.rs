//! The dispatcher's real program, started, killed and started again.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader};
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

    /// Every byte in its files.
    pub(crate) fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let entries = std::fs::read_dir(self.path.join("state")).unwrap();
        entries.map(|entry| entry.unwrap().path()).map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
    }

    /// Loses its ledger.
    pub(crate) fn lose_ledger(&self) {
        for (path, _) in self.files() {
            if path.file_name().unwrap().to_string_lossy().starts_with("ledger") {
                std::fs::remove_file(path).unwrap();
            }
        }
    }
}

impl Daemon {
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
