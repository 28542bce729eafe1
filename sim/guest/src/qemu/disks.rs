//! The volumes of machines, which are disk images.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::process::Command;

use super::super::state::State;

/// Program that makes images.
const PROGRAM: &str = "qemu-img";
/// Size of a new disk.
const EMPTY: &str = "16G";

/// The images of one simulator, by volume.
#[derive(Debug)]
pub(super) struct Disks {
    state: Arc<State>,
    volumes: Mutex<HashMap<String, Arc<Image>>>,
}

/// A qcow2 image. Its file is removed with the last disk that needs it.
#[derive(Debug)]
pub(super) struct Image {
    path: PathBuf,
    /// True if the file is removed with the image.
    own: bool,
    _backing: Option<Arc<Image>>,
}

impl Image {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        if self.own {
            // The whole directory is removed at the end.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Disks {
    pub(super) fn new(state: Arc<State>) -> Self {
        Self { state, volumes: Mutex::default() }
    }

    fn volumes(&self) -> MutexGuard<'_, HashMap<String, Arc<Image>>> {
        self.volumes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, volume: &str) -> Option<Arc<Image>> {
        self.volumes().get(volume).cloned()
    }

    /// Makes a disk for the volume, backed by the image at `path`, which must not change.
    pub(super) async fn install(&self, volume: &str, path: &Path) -> io::Result<()> {
        let image = Arc::new(Image { path: path.to_owned(), own: false, _backing: None });
        let made = self.backed_by(image).await?;
        self.volumes().insert(volume.to_owned(), made);
        Ok(())
    }

    /// Returns the image of the volume. Makes an empty one if the volume has none.
    pub(super) async fn get_or_make(&self, volume: &str) -> io::Result<Arc<Image>> {
        if let Some(image) = self.get(volume) {
            return Ok(image);
        }
        let path = self.new_path();
        make(Command::new(PROGRAM).args(["create", "-q", "-f", "qcow2"]).arg(&path).arg(EMPTY)).await?;
        let image = Arc::new(Image { path, own: true, _backing: None });
        self.volumes().insert(volume.to_owned(), image.clone());
        Ok(image)
    }

    /// Makes the volume `to` a copy of an image, or an overlay of it.
    pub(super) async fn copy(&self, from: Arc<Image>, to: &str, linked: bool) -> io::Result<()> {
        let copy = if linked { self.backed_by(from).await? } else { self.converted(&from).await? };
        self.volumes().insert(to.to_owned(), copy);
        Ok(())
    }

    /// Renames a volume. Returns false if it is not a volume of machines.
    pub(super) fn rename(&self, from: &str, to: &str) -> bool {
        let mut volumes = self.volumes();
        let image = volumes.remove(from);
        image.map(|image| volumes.insert(to.to_owned(), image)).is_some()
    }

    /// Forgets a volume. Returns false if it is not a volume of machines.
    pub(super) fn delete(&self, volume: &str) -> bool {
        self.volumes().remove(volume).is_some()
    }

    async fn backed_by(&self, image: Arc<Image>) -> io::Result<Arc<Image>> {
        let path = self.new_path();
        let mut command = Command::new(PROGRAM);
        command.args(["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b"]).arg(image.path()).arg(&path);
        make(&mut command).await?;
        Ok(Arc::new(Image { path, own: true, _backing: Some(image) }))
    }

    async fn converted(&self, image: &Image) -> io::Result<Arc<Image>> {
        let path = self.new_path();
        make(Command::new(PROGRAM).args(["convert", "-O", "qcow2"]).arg(image.path()).arg(&path)).await?;
        Ok(Arc::new(Image { path, own: true, _backing: None }))
    }

    fn new_path(&self) -> PathBuf {
        self.state.path().join(format!("disk-{}.qcow2", self.state.number()))
    }
}

async fn make(command: &mut Command) -> io::Result<()> {
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await.map_err(|error| {
        io::Error::new(error.kind(), format!("unable to start {PROGRAM} (Debian package qemu-utils): {error}"))
    })?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}
