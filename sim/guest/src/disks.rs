//! The volumes of simulated guests.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use super::state::{Disk, State};

/// The volumes of one simulator, by volume id.
#[derive(Debug)]
pub(super) struct Disks {
    state: Arc<State>,
    volumes: Mutex<HashMap<String, Disk>>,
}

impl Disks {
    pub(super) fn new(state: Arc<State>) -> Self {
        Self { state, volumes: Mutex::default() }
    }

    pub(super) fn get(&self, volume: &str) -> Option<Disk> {
        self.volumes.lock().unwrap_or_else(PoisonError::into_inner).get(volume).cloned()
    }

    pub(super) fn put(&self, volume: &str, disk: Disk) {
        self.volumes.lock().unwrap_or_else(PoisonError::into_inner).insert(volume.to_owned(), disk);
    }

    /// Makes a new, empty volume. Does nothing if the volume exists.
    pub(super) fn create(&self, volume: &str) -> io::Result<()> {
        if self.get(volume).is_none() {
            self.put(volume, Disk::empty(&self.state)?);
        }
        Ok(())
    }

    pub(super) async fn clone_volume(&self, from: &str, to: &str, linked: bool) -> io::Result<()> {
        let source = self.existing(from)?;
        let state = self.state.clone();
        let copy = if linked {
            source.linked(&state)?
        } else {
            tokio::task::spawn_blocking(move || source.copied(&state)).await.map_err(io::Error::other)??
        };
        self.put(to, copy);
        Ok(())
    }

    pub(super) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let disk = self.existing(from)?;
        self.put(to, disk);
        if from != to {
            self.delete(from);
        }
        Ok(())
    }

    /// Deletes a volume. Does nothing if the volume does not exist.
    pub(super) fn delete(&self, volume: &str) {
        self.volumes.lock().unwrap_or_else(PoisonError::into_inner).remove(volume);
    }

    /// Returns the volume, or an error that names it.
    pub(super) fn existing(&self, volume: &str) -> io::Result<Disk> {
        self.get(volume)
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("volume '{volume}' does not exist")))
    }
}
