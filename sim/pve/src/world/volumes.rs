//! The volumes on the storages: owners, base images and space.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::state::State;

/// The place of a volume. Volumes with the same name on two nodes' local storages are different.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) volid: String,
    /// Name of the node; `None` on a shared storage.
    pub(crate) node: Option<String>,
}

/// A volume.
#[derive(Debug, Clone)]
pub(crate) struct Volume {
    pub(crate) content: String,
    pub(crate) format: String,
    /// Size in bytes, as the guest sees it or of the file.
    pub(crate) size: u64,
    /// Creation time in seconds since the epoch.
    pub(crate) ctime: u64,
    pub(crate) vmid: Option<u32>,
    /// Volume id of a linked clone's base image.
    pub(crate) parent: Option<String>,
    /// Path of the uploaded data on this machine.
    pub(crate) file: Option<PathBuf>,
    /// Bytes that hold data. A copy of them needs space, and time under a bandwidth limit.
    pub(crate) data: u64,
    /// Bytes that the storage reserves, with or without data.
    pub(crate) reserved: u64,
}

impl Volume {
    pub(crate) fn new(content: &str, format: &str, size: u64, ctime: u64) -> Self {
        Self {
            content: content.to_owned(),
            format: format.to_owned(),
            size,
            ctime,
            vmid: None,
            parent: None,
            file: None,
            data: 0,
            reserved: 0,
        }
    }

    /// Creates a file, which takes its size.
    pub(crate) fn file(content: &str, format: &str, size: u64, ctime: u64) -> Self {
        Self { data: size, ..Self::new(content, format, size, ctime) }
    }

    pub(crate) fn owned(self, vmid: u32) -> Self {
        Self { vmid: Some(vmid), ..self }
    }

    /// Returns true for the disk of a guest, false for a file.
    pub(crate) fn is_image(&self) -> bool {
        matches!(self.content.as_str(), "images" | "rootdir")
    }

    fn takes(&self) -> u64 {
        self.data.max(self.reserved)
    }
}

/// All volumes of a cluster, indexed by place, owner and base image.
#[derive(Debug, Default)]
pub(crate) struct Volumes {
    all: BTreeMap<Place, Volume>,
    owned: BTreeMap<u32, BTreeSet<Place>>,
    based: BTreeMap<Place, BTreeSet<Place>>,
    /// Used bytes by storage and node.
    taken: BTreeMap<(String, Option<String>), u64>,
}

impl Place {
    pub(crate) fn storage(&self) -> &str {
        storage_of(&self.volid)
    }

    fn beside(&self, volid: &str) -> Self {
        Self { volid: volid.to_owned(), node: self.node.clone() }
    }
}

/// Returns the part of a volume id before the colon.
pub(crate) fn storage_of(volid: &str) -> &str {
    volid.split_once(':').map_or("", |(storage, _)| storage)
}

impl Volumes {
    fn insert(&mut self, place: Place, volume: Volume) {
        self.remove(&place);
        if let Some(vmid) = volume.vmid {
            self.owned.entry(vmid).or_default().insert(place.clone());
        }
        if let Some(parent) = &volume.parent {
            self.based.entry(place.beside(parent)).or_default().insert(place.clone());
        }
        *self.taken.entry((place.storage().to_owned(), place.node.clone())).or_default() += volume.takes();
        self.all.insert(place, volume);
    }

    fn remove(&mut self, place: &Place) -> Option<Volume> {
        let volume = self.all.remove(place)?;
        if let Some(owned) = volume.vmid.and_then(|vmid| self.owned.get_mut(&vmid)) {
            owned.remove(place);
        }
        if let Some(based) = volume.parent.as_ref().and_then(|parent| self.based.get_mut(&place.beside(parent))) {
            based.remove(place);
        }
        if let Some(taken) = self.taken.get_mut(&(place.storage().to_owned(), place.node.clone())) {
            *taken = taken.saturating_sub(volume.takes());
        }
        Some(volume)
    }
}

impl State {
    /// Returns the place of a volume as `node` sees it.
    pub(crate) fn place(&self, node: &str, volid: &str) -> Place {
        let shared = self.storages.get(storage_of(volid)).is_some_and(|storage| storage.shared);
        Place { volid: volid.to_owned(), node: (!shared).then(|| node.to_owned()) }
    }

    pub(crate) fn volume(&self, node: &str, volid: &str) -> Option<&Volume> {
        self.volumes.all.get(&self.place(node, volid))
    }

    /// Stores a volume, replacing one of the same name.
    pub(crate) fn put_volume(&mut self, node: &str, volid: &str, volume: Volume) {
        let place = self.place(node, volid);
        self.volumes.insert(place, volume);
    }

    /// Changes a volume if it exists.
    pub(crate) fn change_volume(&mut self, node: &str, volid: &str, change: impl FnOnce(&mut Volume)) {
        let place = self.place(node, volid);
        if let Some(mut volume) = self.volumes.remove(&place) {
            change(&mut volume);
            self.volumes.insert(place, volume);
        }
    }

    /// Renames a volume and keeps its contents.
    pub(crate) fn rename_volume(&mut self, node: &str, from: &str, to: &str) {
        let place = self.place(node, from);
        if let Some(volume) = self.volumes.remove(&place) {
            self.volumes.insert(place.beside(to), volume);
        }
    }

    pub(crate) fn take_volume(&mut self, node: &str, volid: &str) -> Option<Volume> {
        let place = self.place(node, volid);
        self.volumes.remove(&place)
    }

    /// Returns the volumes of a storage as `node` sees it.
    pub(crate) fn volumes_on<'a>(
        &'a self,
        node: &'a str,
        storage: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a Volume)> {
        let first = Place { volid: format!("{storage}:"), node: None };
        self.volumes
            .all
            .range(first..)
            .take_while(move |(place, _)| place.storage() == storage)
            .filter(move |(place, _)| place.node.as_deref().is_none_or(|on| on == node))
            .map(|(place, volume)| (place.volid.as_str(), volume))
    }

    /// Returns the volumes of a storage on all nodes.
    pub(crate) fn volumes_anywhere<'a>(&'a self, storage: &'a str) -> impl Iterator<Item = &'a Volume> {
        let first = Place { volid: format!("{storage}:"), node: None };
        let all = self.volumes.all.range(first..).take_while(move |(place, _)| place.storage() == storage);
        all.map(|(_, volume)| volume)
    }

    /// Returns the volume ids of all volumes with this VMID that `node` sees.
    pub(crate) fn volumes_of(&self, node: &str, vmid: u32) -> Vec<String> {
        let owned = self.volumes.owned.get(&vmid);
        let seen = owned.into_iter().flatten().filter(|place| place.node.as_deref().is_none_or(|on| on == node));
        seen.map(|place| place.volid.clone()).collect()
    }

    /// Returns the volume ids of all volumes. A name that exists on several nodes is listed once.
    pub(crate) fn all_volumes(&self) -> BTreeSet<String> {
        self.volumes.all.keys().map(|place| place.volid.clone()).collect()
    }

    /// Returns true if `base` is the base image of other volumes.
    pub(crate) fn is_in_use(&self, node: &str, base: &str) -> bool {
        self.volumes.based.get(&self.place(node, base)).is_some_and(|based| !based.is_empty())
    }

    /// Returns the bytes that volumes take on a storage as `node` sees it.
    pub(crate) fn taken_on(&self, node: &str, storage: &str) -> u64 {
        let place = self.place(node, &format!("{storage}:"));
        self.volumes.taken.get(&(storage.to_owned(), place.node)).copied().unwrap_or(0)
    }

    /// Returns an unused name for a guest's next disk, as a volume id.
    pub(crate) fn free_disk(&self, node: &str, storage: &str, vmid: u32, format: &str) -> String {
        let layout = self.layout(storage);
        let taken: BTreeSet<u32> = self
            .volumes_of(node, vmid)
            .iter()
            .filter(|volid| storage_of(volid) == storage)
            .filter_map(|volid| super::layout::disk_number(volid, vmid))
            .collect();
        let number = (0..).find(|number| !taken.contains(number)).unwrap_or(0);
        format!("{storage}:{}", layout.disk_name(vmid, number, format))
    }
}
