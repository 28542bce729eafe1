//! The directory with the disks of guests, and its removal.
//!
//! A disk is an overlay of layers, which are directories. A reaper process deletes layers that no disk needs. It
//! deletes everything when its standard input ends, also if the simulator is killed.

use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::host;

/// Name of the link to the base system inside the state directory.
const BASE: &str = "base";

const REAPER: &str = r#"cd "$1" || exit
while read -r layer; do rm -rf "$layer"; done
cd /
rm -rf "$1" || { sleep 1; rm -rf "$1"; }"#;

/// Reason why the disks of guests cannot be stored.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// No candidate directory supports an overlay.
    #[error("unable to keep guests' disks in any of {tried}: {detail}")]
    NoOverlay {
        /// Candidate directories.
        tried: String,
        /// Error of the last attempt.
        detail: String,
    },
    /// The directory cannot be made.
    #[error("unable to make a directory for guests' disks in {path}")]
    Directory {
        /// Parent directory.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
}

/// The state directory of one simulator.
#[derive(Debug)]
pub(super) struct State {
    path: PathBuf,
    next: AtomicU64,
    reaper: Mutex<Option<(Child, ChildStdin)>>,
}

impl State {
    /// Makes a state directory in the first place whose file system supports overlays: the temporary directory, the
    /// directory of the base system, memory.
    pub(super) fn create(base: &Path) -> Result<Arc<Self>, StateError> {
        let beside = base.parent().unwrap_or(base).to_owned();
        let candidates = [std::env::temp_dir(), beside, PathBuf::from("/dev/shm")];
        let mut detail = String::new();
        for candidate in &candidates {
            match Self::create_in(candidate, base) {
                Ok(state) => return Ok(state),
                Err(error) => detail = error,
            }
        }
        let tried = candidates.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
        Err(StateError::NoOverlay { tried, detail })
    }

    fn create_in(parent: &Path, base: &Path) -> Result<Arc<Self>, String> {
        let directory =
            tempfile::Builder::new().prefix("pxci-guests-").tempdir_in(parent).map_err(|error| error.to_string())?;
        let path = directory.path().to_owned();
        for name in ["layers", "run", "try", "try/upper", "try/work", "try/root"] {
            std::fs::create_dir(path.join(name)).map_err(|error| error.to_string())?;
        }
        std::os::unix::fs::symlink(base, path.join(BASE)).map_err(|error| error.to_string())?;
        try_overlay(&path)?;
        let reaper = start_reaper(&path).map_err(|error| error.to_string())?;
        // From now on, the reaper removes the directory. It has rights on the files of mapped users.
        Ok(Arc::new(Self { path: directory.keep(), next: AtomicU64::new(1), reaper: Mutex::new(Some(reaper)) }))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns a number that was not returned before.
    pub(super) fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Returns a new, empty layer.
    pub(super) fn layer(self: &Arc<Self>) -> io::Result<Arc<Layer>> {
        let name = format!("layers/{}", self.number());
        std::fs::create_dir(self.path.join(&name))?;
        for part in ["u", "w"] {
            std::fs::create_dir(self.path.join(&name).join(part))?;
        }
        Ok(Arc::new(Layer { name, state: self.clone() }))
    }

    /// Removes the directory. Returns when it no longer exists. Guests must have ended.
    pub(super) fn remove(&self) {
        let Some((mut reaper, input)) = self.reaper.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return;
        };
        drop(input);
        // Only the end of the reaper matters. Files that it could not remove stay in the temporary directory.
        let _ = reaper.wait();
    }

    fn discard(&self, name: &str) {
        if let Some((_, input)) = self.reaper.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            // The reaper may have ended.
            let _ = writeln!(input, "{name}");
        }
    }
}

fn start_reaper(path: &Path) -> io::Result<(Child, ChildStdin)> {
    // The reaper has its own process group, so that Ctrl-C ends the simulator and not the reaper.
    let mut command = host::as_root(["sh", "-c", REAPER, "pxci-guests-reaper"]);
    command.arg(path).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    let mut child = command.spawn()?;
    let input = child.stdin.take().ok_or_else(|| io::Error::other("no pipe to the reaper"))?;
    Ok((child, input))
}

/// Mounts an overlay once, as for a guest.
fn try_overlay(path: &Path) -> Result<(), String> {
    let mut command = Command::new("unshare");
    if host::is_root() {
        command.args(["--user", "--map-root-user"]);
    } else {
        command.args(host::MAPPED);
    }
    command.args(["--mount", "--", "mount", "-t", "overlay", "try", "-o"]);
    command.arg(format!("lowerdir={BASE},upperdir=try/upper,workdir=try/work,userxattr")).arg("try/root");
    let output = command
        .env("LIBMOUNT_FORCE_MOUNT2", "always")
        .current_dir(path)
        .output()
        .map_err(|error| format!("unshare: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).trim().replace('\n', " "))
}

/// One directory of a disk. It is deleted with the last disk that needs it.
#[derive(Debug)]
pub(super) struct Layer {
    name: String,
    state: Arc<State>,
}

impl Layer {
    /// Returns the paths of its files, relative to the state directory.
    pub(super) fn files(&self) -> String {
        format!("{}/u", self.name)
    }

    fn work(&self) -> String {
        format!("{}/w", self.name)
    }
}

impl Drop for Layer {
    fn drop(&mut self) {
        self.state.discard(&self.name);
    }
}

/// A disk: a writable layer over layers that several disks share.
#[derive(Debug, Clone)]
pub(super) struct Disk {
    top: Arc<Layer>,
    below: Vec<Arc<Layer>>,
    has_system: bool,
}

impl Disk {
    /// Returns an empty disk.
    pub(super) fn empty(state: &Arc<State>) -> io::Result<Self> {
        Ok(Self { top: state.layer()?, below: Vec::new(), has_system: false })
    }

    /// Returns a disk backed by this one.
    pub(super) fn linked(&self, state: &Arc<State>) -> io::Result<Self> {
        let mut below = vec![self.top.clone()];
        below.extend(self.below.iter().cloned());
        Ok(Self { top: state.layer()?, below, has_system: self.has_system })
    }

    /// Returns an independent disk with the same content. Layers that cannot change are shared.
    pub(super) fn copied(&self, state: &Arc<State>) -> io::Result<Self> {
        let top = state.layer()?;
        let mut copy = host::as_root(["cp", "--archive", "--reflink=auto"]);
        copy.arg(format!("{}/.", self.top.files())).arg(top.files()).current_dir(state.path());
        let output = copy.output()?;
        if !output.status.success() {
            return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
        }
        Ok(Self { top, below: self.below.clone(), has_system: self.has_system })
    }

    /// Returns true if the disk has a system that can boot.
    pub(super) fn has_system(&self) -> bool {
        self.has_system
    }

    /// Returns the disk with the base system below its layers.
    pub(super) fn with_system(mut self) -> Self {
        self.has_system = true;
        self
    }

    /// Returns the mount options of the overlay, relative to the state directory.
    pub(super) fn overlay_options(&self) -> String {
        let mut lower: Vec<String> = self.below.iter().map(|layer| layer.files()).collect();
        lower.push(BASE.to_owned());
        format!("lowerdir={},upperdir={},workdir={},userxattr", lower.join(":"), self.top.files(), self.top.work())
    }

    /// Returns the directory of the top layer, relative to the state directory. It is the whole content if there are no
    /// layers below.
    pub(super) fn directory(&self) -> String {
        self.top.files()
    }
}
