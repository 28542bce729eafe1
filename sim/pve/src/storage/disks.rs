//! Volumes of guests: allocating, importing, attaching and freeing.

use std::sync::Arc;

use super::allocation::{self, NewVolume};
use super::messages::{Print, quiet, transferred};
use crate::engine::{Call, Engine, Worker};
use crate::schema::propstring::{self, Parsed};
use crate::world::drives;
use crate::world::guest::Guest;
use crate::world::layout::Layout;
use crate::world::state::State;
use crate::world::volumes::{Volume, storage_of};

/// Turns the requested value of a drive into the stored one, and makes the volumes that it asks for. The error is the
/// task's text.
pub(crate) async fn attach(
    engine: &Arc<Engine>,
    guest: &Guest,
    vmid: u32,
    key: &str,
    value: &str,
    print: Print<'_>,
) -> Result<String, String> {
    let mut drive = drives::parse(value);
    let file = drive.get("file").cloned().unwrap_or_default();
    if matches!(file.as_str(), "none" | "cdrom") {
        drive.insert("media".into(), "cdrom".into());
        return Ok(printed(&drive));
    }
    let (storage, name) = file.split_once(':').unwrap_or(("", ""));
    let request = Request { engine, node: &guest.node, vmid, key, storage, print };
    if name == "cloudinit" {
        return request.cloudinit(drive);
    }
    if let Some(source) = drive.remove("import-from") {
        return request.import(&source, drive).await;
    }
    if name.parse::<f64>().is_ok() {
        return request.empty(name, drive).await;
    }
    existing(engine, &guest.node, &file, drive)
}

fn printed(drive: &Parsed) -> String {
    propstring::print(drive, "file", &["format", "import-from"])
}

fn existing(engine: &Engine, node: &str, volid: &str, mut drive: Parsed) -> Result<String, String> {
    let state = engine.state();
    state.usable(node, storage_of(volid))?;
    let Some(volume) = state.volume(node, volid) else { return Err(format!("volume '{volid}' does not exist")) };
    if !drives::is_cloudinit(volid) {
        drive.insert("size".into(), drives::print_size(volume.size));
    }
    Ok(printed(&drive))
}

/// A request for a new volume.
struct Request<'a> {
    engine: &'a Arc<Engine>,
    node: &'a str,
    vmid: u32,
    key: &'a str,
    storage: &'a str,
    print: Print<'a>,
}

impl Request<'_> {
    fn allocate(&self, format: Option<&str>, name: Option<&str>, bytes: u64) -> Result<String, String> {
        let Self { node, storage, vmid, .. } = *self;
        let wanted = NewVolume { node, storage, vmid, content: "images", format, name, bytes };
        allocation::allocate(self.engine, wanted, self.print)
    }

    fn done(&self, mut drive: Parsed, volid: String, size: Option<u64>) -> String {
        drive.insert("file".into(), volid);
        match size {
            Some(size) => drive.insert("size".into(), drives::print_size(size)),
            None => drive.insert("media".into(), "cdrom".into()),
        };
        let value = printed(&drive);
        (self.print)(format!("{}: successfully created disk '{value}'", self.key));
        value
    }

    fn cloudinit(&self, drive: Parsed) -> Result<String, String> {
        let layout = self.engine.state().layout(self.storage);
        let default = if layout == Layout::Files { "qcow2" } else { "raw" };
        let format = drive.get("format").cloned().unwrap_or_else(|| default.to_owned());
        let name = layout.cloudinit_name(self.vmid, &format);
        let volid = self.allocate(Some(&format), Some(&name), CLOUDINIT_SIZE)?;
        Ok(self.done(drive, volid, None))
    }

    async fn empty(&self, size: &str, drive: Parsed) -> Result<String, String> {
        let bytes = match self.key {
            "efidisk0" => 540_672,
            "tpmstate0" => 4 << 20,
            _ => drives::gigabytes(size).unwrap_or(0),
        };
        let volid = self.allocate(drive.get("format").map(String::as_str), None, bytes)?;
        self.engine.backend.disk_create(&volid).await.map_err(|error| error.to_string())?;
        Ok(self.done(drive, volid, Some(bytes)))
    }

    async fn import(&self, source: &str, drive: Parsed) -> Result<String, String> {
        let Self { engine, node, print, .. } = *self;
        engine.state().usable(node, self.storage)?;
        let Some(from) = engine.state().volume(node, source).cloned() else {
            let path = engine.state().path_of(source);
            return Err(format!("failed to stat '{path}'"));
        };
        let what = engine
            .state()
            .owner_drive(node, source)
            .map_or_else(|| format!("drive ({source})"), |name| format!("drive {name} ({source})"));
        print(format!("create full clone of {what}"));
        let is_packed = from.content == "import" && from.format != "raw";
        let hint = if is_packed { "qcow2".to_owned() } else { from.format.clone() };
        let format = engine.state().format_for(self.storage, drive.get("format").map_or(&hint, |format| format));
        let volid = self.allocate(Some(&format), None, virtual_size(&from))?;
        print(format!("allocated target volume '{volid}'"));
        if let Err(text) = allocation::copied(engine, node, source, &volid, print) {
            let _ = free(engine, node, &volid, &quiet).await;
            return Err(text);
        }
        engine.backend.disk_clone(source, &volid, false).await.map_err(|error| error.to_string())?;
        let size = engine.state().volume(node, &volid).map_or(0, |volume| volume.size);
        transferred(size, 100, print);
        Ok(self.done(drive, volid, Some(size)))
    }
}

/// Size of a cloud-init drive in bytes.
pub(crate) const CLOUDINIT_SIZE: u64 = 4 << 20;

/// Returns the virtual size of an imported image in bytes. Real images have it in their header; simulated ones have 32
/// MiB.
pub(crate) fn virtual_size(volume: &Volume) -> u64 {
    if volume.content == "import" && volume.format == "qcow2" { 32 << 20 } else { volume.size }
}

/// Frees a volume. Refuses with PVE's text if the volume is the base of linked clones.
pub(crate) async fn free(engine: &Arc<Engine>, node: &str, volid: &str, print: Print<'_>) -> Result<(), String> {
    let (volume, layout) = {
        let mut state = engine.state();
        state.usable(node, storage_of(volid))?;
        if state.is_in_use(node, volid) {
            let name = volid.split_once(':').map_or(volid, |(_, name)| name);
            return Err(format!("base volume '{name}' is still in use by linked clones"));
        }
        let layout = state.layout(storage_of(volid));
        let Some(volume) = state.take_volume(node, volid) else {
            if layout == Layout::Files {
                let path = state.path_of(volid);
                drop(state);
                print(format!("disk image '{path}' does not exist"));
            }
            return Ok(());
        };
        (volume, layout)
    };
    let own = volid.rsplit(['/', ':']).next().unwrap_or_default();
    match layout {
        Layout::Lvm | Layout::LvmThin => print(format!("  Logical volume \"{own}\" successfully removed.")),
        Layout::Rbd => print("Removing image: 100% complete...done.".to_owned()),
        Layout::Files | Layout::Zfs => {}
    }
    if let Some(file) = &volume.file {
        let _ = std::fs::remove_file(file);
    }
    if volume.is_image() && !drives::is_cloudinit(volid) {
        engine.backend.disk_delete(volid).await.map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// The volumes that are freed with a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VolumeScope {
    /// Own volumes that the configuration names.
    Named,
    /// Also all other volumes with the guest's VMID.
    Numbered,
}

impl VolumeScope {
    /// Reads the scope from a request to destroy a guest.
    pub(crate) fn of(call: &Call) -> Self {
        if call.params.flag("destroy-unreferenced-disks") { Self::Numbered } else { Self::Named }
    }
}

/// Removes an incomplete guest if a user stops the task. [`Worker::keep`] ends this.
pub(crate) fn remove_if_stopped(worker: &Worker, vmid: u32) {
    let engine = worker.engine.clone();
    worker.on_stop(async move { remove_guest(&engine, vmid, VolumeScope::Numbered, &quiet).await });
}

/// Removes a guest and its volumes. A volume that cannot be freed stays and is reported.
pub(crate) async fn remove_guest(engine: &Arc<Engine>, vmid: u32, reach: VolumeScope, print: Print<'_>) {
    let Some(guest) = engine.with_guest(vmid, |guest| guest.clone()) else { return };
    let mut volumes = guest.volumes();
    {
        let state = engine.state();
        volumes.retain(|volid| state.volume(&guest.node, volid).is_some_and(|volume| volume.vmid == Some(vmid)));
        if reach == VolumeScope::Numbered {
            volumes.extend(state.volumes_of(&guest.node, vmid));
        }
    }
    for volid in volumes {
        if let Err(text) = free(engine, &guest.node, &volid, print).await {
            print(format!("WARN: Could not remove disk '{volid}', check manually: {text}"));
        }
    }
    for kept in guest.snapshot_volumes() {
        let _ = engine.backend.disk_delete(&kept).await;
    }
    let mut state = engine.state();
    state.guests.remove(&vmid);
    for pool in state.pools.values_mut() {
        pool.guests.remove(&vmid);
    }
    drop(state);
    engine.timeline.note(engine.clock.now(), "destroyed", &vmid.to_string());
}

impl State {
    /// Returns the name of the drive that a volume is attached as.
    fn owner_drive(&self, node: &str, volid: &str) -> Option<String> {
        let vmid = self.volume(node, volid)?.vmid?;
        let guest = self.guests.get(&vmid)?;
        guest
            .config
            .iter()
            .find(|(key, value)| drives::is_drive(key) && drives::file(value) == volid)
            .map(|(key, _)| key.clone())
    }

    /// Returns the format that a storage uses if this format is requested.
    pub(crate) fn format_for(&self, storage: &str, hint: &str) -> String {
        let kind = self.storages.get(storage).map_or("dir", |found| found.kind.as_str());
        let (formats, default) = self.layout(storage).formats(kind);
        if formats.contains(&hint) { hint.to_owned() } else { default.to_owned() }
    }
}

/// Returns true if the volume of a value belongs to this guest.
pub(crate) fn owns(engine: &Engine, vmid: u32, value: &str) -> bool {
    let volid = drives::file(value);
    let state = engine.state();
    let Some(guest) = state.guests.get(&vmid) else { return false };
    state.volume(&guest.node, &volid).is_some_and(|volume| volume.vmid == Some(vmid) && volume.is_image())
}

/// Keeps a volume as `unused<n>`.
pub(crate) fn keep_unused(guest: &mut Guest, volid: &str) {
    let known = guest.config.iter().any(|(key, value)| {
        (drives::is_unused(key) || drives::is_drive(key) || drives::is_mount(key)) && drives::file(value) == volid
    });
    if known {
        return;
    }
    if let Some(free) = (0..256).map(|n| format!("unused{n}")).find(|name| !guest.config.contains_key(name)) {
        guest.config.insert(free, volid.to_owned());
    }
}
