//! Volumes of guests: allocating, importing, attaching, freeing.

use std::sync::Arc;

use super::drives;
use super::engine::Engine;
use super::propstring::{self, Parsed};
use super::state::{Guest, Volume};

/// Where lines go that PVE prints while it works.
pub(crate) type Print<'a> = &'a (dyn Fn(String) + Sync);

pub(crate) fn quiet(_: String) {}

/// Turns a requested drive value into the stored one, creating what it asks for; the error is the task's text.
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
    if name == "cloudinit" {
        return cloudinit(engine, vmid, key, storage, drive, print).await;
    }
    if let Some(source) = drive.remove("import-from") {
        return import(engine, guest, vmid, key, storage, &source, drive, print).await;
    }
    if name.parse::<f64>().is_ok() {
        return allocate(engine, vmid, key, storage, name, drive, print).await;
    }
    existing(engine, &file, drive)
}

fn printed(drive: &Parsed) -> String {
    propstring::print(drive, "file", &["format", "import-from"])
}

/// Whether a storage can be used at all.
pub(crate) fn usable(engine: &Engine, storage: &str) -> Result<(), String> {
    match engine.state().storages.get(storage) {
        None => Err(format!("storage '{storage}' does not exist")),
        Some(found) if found.disabled => Err(format!("storage '{storage}' is disabled")),
        Some(_) => Ok(()),
    }
}

fn existing(engine: &Engine, volid: &str, mut drive: Parsed) -> Result<String, String> {
    usable(engine, volid.split(':').next().unwrap_or_default())?;
    let state = engine.state();
    let Some(volume) = state.volumes.get(volid) else { return Err(format!("volume '{volid}' does not exist")) };
    if !drives::is_cloudinit(volid) {
        drive.insert("size".into(), drives::print_size(volume.size));
    }
    Ok(printed(&drive))
}

async fn cloudinit(
    engine: &Arc<Engine>,
    vmid: u32,
    key: &str,
    storage: &str,
    mut drive: Parsed,
    print: Print<'_>,
) -> Result<String, String> {
    usable(engine, storage)?;
    let format = drive.get("format").cloned().unwrap_or_else(|| "qcow2".to_owned());
    let volid = format!("{storage}:{vmid}/vm-{vmid}-cloudinit.{format}");
    formatting(engine, &volid, &format, 4 << 20, print);
    put(engine, &volid, "images", &format, 4 << 20, Some(vmid));
    drive.insert("file".into(), volid);
    drive.insert("media".into(), "cdrom".into());
    let value = printed(&drive);
    print(format!("{key}: successfully created disk '{value}'"));
    Ok(value)
}

async fn allocate(
    engine: &Arc<Engine>,
    vmid: u32,
    key: &str,
    storage: &str,
    size: &str,
    mut drive: Parsed,
    print: Print<'_>,
) -> Result<String, String> {
    usable(engine, storage)?;
    let bytes = match key {
        "efidisk0" => 540_672,
        "tpmstate0" => 4 << 20,
        _ => drives::gigabytes(size).unwrap_or(0),
    };
    let format = drive.get("format").cloned().unwrap_or_else(|| "raw".to_owned());
    let volid = engine.state().free_disk(storage, vmid, &format);
    formatting(engine, &volid, &format, bytes, print);
    put(engine, &volid, "images", &format, bytes, Some(vmid));
    engine.backend.disk_create(&volid).await.map_err(|error| error.to_string())?;
    drive.insert("file".into(), volid);
    drive.insert("size".into(), drives::print_size(bytes));
    let value = printed(&drive);
    print(format!("{key}: successfully created disk '{value}'"));
    Ok(value)
}

#[allow(clippy::too_many_arguments)]
async fn import(
    engine: &Arc<Engine>,
    _guest: &Guest,
    vmid: u32,
    key: &str,
    storage: &str,
    source: &str,
    mut drive: Parsed,
    print: Print<'_>,
) -> Result<String, String> {
    usable(engine, storage)?;
    let Some(from) = engine.state().volumes.get(source).cloned() else {
        let path = engine.state().path_of(source);
        return Err(format!("failed to stat '{path}'"));
    };
    let what = engine
        .state()
        .owner_drive(source)
        .map_or_else(|| format!("drive ({source})"), |name| format!("drive {name} ({source})"));
    print(format!("create full clone of {what}"));
    let size = virtual_size(&from);
    let format = drive
        .get("format")
        .cloned()
        .unwrap_or_else(|| if from.content == "import" { "qcow2".to_owned() } else { from.format.clone() });
    let volid = engine.state().free_disk(storage, vmid, &format);
    formatting(engine, &volid, &format, size, print);
    put(engine, &volid, "images", &format, size, Some(vmid));
    print(format!("allocated target volume '{volid}'"));
    engine.backend.disk_clone(source, &volid, false).await.map_err(|error| error.to_string())?;
    transferred(size, 100, print);
    drive.insert("file".into(), volid);
    drive.insert("size".into(), drives::print_size(size));
    let value = printed(&drive);
    print(format!("{key}: successfully created disk '{value}'"));
    Ok(value)
}

/// What an image holds when unpacked; an import's own header would say, ours are 32 MiB.
fn virtual_size(volume: &Volume) -> u64 {
    if volume.content == "import" && volume.format == "qcow2" { 32 << 20 } else { volume.size }
}

/// `transferred …` lines from nothing to `percent`.
pub(crate) fn transferred(size: u64, percent: u64, print: Print<'_>) {
    let step = if size >= 1 << 30 { 90 } else { 32.min(size >> 20).max(1) };
    for at in 0..=step {
        if at * 100 / step <= percent {
            print(format!("transferred {} of {} ({})", human(size / step * at), human(size), share(at, step)));
        }
    }
}

#[allow(clippy::cast_precision_loss)]
fn share(at: u64, of: u64) -> String {
    format!("{:.2}%", at as f64 * 100.0 / of as f64)
}

#[allow(clippy::cast_precision_loss)]
pub(crate) fn human(bytes: u64) -> String {
    let mut number = bytes as f64;
    let mut unit = "B";
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if number < 1024.0 {
            break;
        }
        number /= 1024.0;
        unit = next;
    }
    format!("{number:.1} {unit}")
}

pub(crate) fn formatting(engine: &Engine, volid: &str, format: &str, size: u64, print: Print<'_>) {
    let path = engine.state().path_of(volid);
    print(match format {
        "qcow2" => format!(
            "Formatting '{path}', fmt=qcow2 cluster_size=65536 extended_l2=off preallocation=metadata compression_type=zlib size={size} lazy_refcounts=off refcount_bits=16"
        ),
        "vmdk" => format!("Formatting '{path}', fmt=vmdk size={size} compat6=off hwversion=undefined"),
        _ => format!("Formatting '{path}', fmt=raw size={size} preallocation=off"),
    });
}

/// Writes a volume into the world.
pub(crate) fn put(engine: &Engine, volid: &str, content: &str, format: &str, size: u64, vmid: Option<u32>) {
    let volume = Volume {
        content: content.to_owned(),
        format: format.to_owned(),
        size,
        ctime: engine.clock.seconds(),
        vmid,
        parent: None,
        file: None,
        filled: 0,
    };
    engine.state().volumes.insert(volid.to_owned(), volume);
}

/// Frees a volume; whoever backs linked clones stays, with PVE's text.
pub(crate) async fn free(engine: &Arc<Engine>, volid: &str) -> Result<(), String> {
    if engine.state().is_in_use(volid) {
        return Err(format!("base volume '{volid}' is still in use by linked cloned"));
    }
    let Some(volume) = engine.state().volumes.remove(volid) else { return Ok(()) };
    if let Some(file) = &volume.file {
        let _ = std::fs::remove_file(file);
    }
    if matches!(volume.content.as_str(), "images" | "rootdir") && !drives::is_cloudinit(volid) {
        engine.backend.disk_delete(volid).await.map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Takes a guest away with all volumes of its number, whatever they are.
pub(crate) async fn forget_guest(engine: &Arc<Engine>, vmid: u32) {
    let volumes: Vec<String> = {
        let mut state = engine.state();
        state.guests.remove(&vmid);
        for pool in state.pools.values_mut() {
            pool.guests.remove(&vmid);
        }
        state.volumes.iter().filter(|(_, v)| v.vmid == Some(vmid)).map(|(volid, _)| volid.clone()).collect()
    };
    for volid in volumes {
        let _ = free(engine, &volid).await;
    }
    engine.timeline.note(engine.clock.now(), "destroyed", &vmid.to_string());
}

impl super::state::State {
    /// Which drive of which guest a volume is.
    fn owner_drive(&self, volid: &str) -> Option<String> {
        let vmid = self.volumes.get(volid)?.vmid?;
        let guest = self.guests.get(&vmid)?;
        guest
            .config
            .iter()
            .find(|(key, value)| drives::is_drive(key) && drives::file(value) == volid)
            .map(|(key, _)| key.clone())
    }
}

/// Whether a value's volume belongs to this guest.
pub(crate) fn owns(engine: &Engine, vmid: u32, value: &str) -> bool {
    let volid = drives::file(value);
    engine
        .state()
        .volumes
        .get(&volid)
        .is_some_and(|volume| volume.vmid == Some(vmid) && matches!(volume.content.as_str(), "images" | "rootdir"))
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
