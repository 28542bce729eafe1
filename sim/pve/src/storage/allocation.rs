//! Allocation of volumes: names, formats, and the errors of a storage without space.
//!
//! Source: `alloc_image` and `clone_image` of the plugins of pve-storage; the error texts of qemu-img, LVM and ZFS.

use std::sync::Arc;

use super::messages::{self, Print};
use crate::engine::Engine;
use crate::world::layout::Layout;
use crate::world::snapshot::snapshot_volume_name;
use crate::world::volumes::{Volume, storage_of};

/// A volume to be allocated.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewVolume<'a> {
    pub(crate) node: &'a str,
    pub(crate) storage: &'a str,
    pub(crate) vmid: u32,
    /// Content type: `images` or `rootdir`.
    pub(crate) content: &'a str,
    /// Format. By default the storage's own.
    pub(crate) format: Option<&'a str>,
    /// Name after the storage's colon. By default the next free disk.
    pub(crate) name: Option<&'a str>,
    pub(crate) bytes: u64,
}

/// Makes an empty volume and returns its id. The error is PVE's text.
pub(crate) fn allocate(engine: &Engine, wanted: NewVolume<'_>, print: Print<'_>) -> Result<String, String> {
    // Printing locks the state, so the lines are collected while it is locked.
    let mut lines = Vec::new();
    let made = add_volume(engine, wanted, &mut lines);
    lines.into_iter().for_each(print);
    made
}

fn add_volume(engine: &Engine, wanted: NewVolume<'_>, lines: &mut Vec<String>) -> Result<String, String> {
    let NewVolume { node, storage, vmid, .. } = wanted;
    let mut state = engine.state();
    let found = state.usable(node, storage)?;
    let (layout, kind, reserves) = (found.layout(), found.kind.clone(), found.reserves());
    let format = wanted.format.unwrap_or(layout.formats(&kind).1);
    if let Some(refused) = layout.refuses_format(format) {
        return Err(refused);
    }
    let size = layout.rounded(wanted.bytes);
    let volid = match wanted.name {
        Some(name) => format!("{storage}:{name}"),
        None => state.free_disk(node, storage, vmid, format),
    };
    let path = state.path_of(&volid);
    if layout == Layout::Files && state.volume(node, &volid).is_some() {
        return Err(format!("disk image '{path}' already exists"));
    }
    let free = state.usage(node, storage).free();
    let vg = state.storages.get(storage).and_then(|found| found.extra.get("vgname")).cloned();
    let mut volume = Volume::new(wanted.content, format, size, engine.clock.seconds()).owned(vmid);
    match layout {
        Layout::Files => volume.data = image_header(format, size),
        _ if reserves => volume.reserved = size,
        _ => {}
    }
    let own = volid.rsplit(['/', ':']).next().unwrap_or_default().to_owned();
    let vg = vg.as_ref().and_then(serde_json::Value::as_str).unwrap_or_default();
    match layout {
        Layout::Files => {
            lines.push(formatting(&path, format, size));
            no_header(&path, volume.data, free)?;
        }
        // PVE's own check compares free bytes with requested KiB. A real lack of space is found by lvcreate.
        Layout::Lvm if free < size >> 10 => return Err(format!("not enough free space ({free} < {})", size >> 10)),
        Layout::Lvm if free < size => {
            let (has, needs) = (free >> 22, size >> 22);
            return Err(format!(
                "lvcreate '{vg}/{own}' error:   Volume group \"{vg}\" has insufficient free space ({has} extents): {needs} required."
            ));
        }
        Layout::Zfs if reserves && free < size => {
            return Err(format!("zfs error: cannot create '{}': out of space", dataset(&path)));
        }
        Layout::Lvm | Layout::LvmThin => lines.extend(lvm_lines(vg, &own)),
        Layout::Zfs | Layout::Rbd => {}
    }
    state.put_volume(node, &volid, volume);
    Ok(volid)
}

fn lvm_lines(vg: &str, own: &str) -> [String; 2] {
    [format!("  Logical volume \"{own}\" created."), format!("  Logical volume {vg}/{own} changed.")]
}

/// Returns the name of a dataset, from paths such as `/dev/zvol/tank/vm-1-disk-0` and `/tank/subvol-1-disk-0`.
fn dataset(path: &str) -> &str {
    path.strip_prefix("/dev/zvol/").unwrap_or(path.trim_start_matches('/'))
}

/// Returns the bytes that an image uses before it holds data. PVE writes all tables of a qcow2 image at once.
fn image_header(format: &str, size: u64) -> u64 {
    match format {
        "qcow2" => (256 << 10) + size / 8192,
        "vmdk" => 64 << 10,
        _ => 0,
    }
}

fn no_header(path: &str, needs: u64, free: u64) -> Result<(), String> {
    if needs <= free {
        return Ok(());
    }
    let what = if free < 64 << 10 {
        "Could not write qcow2 header"
    } else {
        "Could not resize image: Allocating clusters failed"
    };
    Err(format!("unable to create image: qemu-img: {path}: {what}: No space left on device"))
}

/// Returns qemu-img's line about a new image.
pub(crate) fn formatting(path: &str, format: &str, size: u64) -> String {
    match format {
        "qcow2" => format!(
            "Formatting '{path}', fmt=qcow2 cluster_size=65536 extended_l2=off preallocation=metadata compression_type=zlib size={size} lazy_refcounts=off refcount_bits=16"
        ),
        "vmdk" => format!("Formatting '{path}', fmt=vmdk size={size} compat6=off hwversion=undefined"),
        _ => format!("Formatting '{path}', fmt=raw size={size} preallocation=off"),
    }
}

/// Counts the data of a copy. The error is that of a copy without enough space.
pub(crate) fn copied(engine: &Engine, node: &str, from: &str, to: &str, print: Print<'_>) -> Result<(), String> {
    let mut state = engine.state();
    let Some(source) = state.volume(node, from).cloned() else { return Ok(()) };
    let free = state.usage(node, storage_of(to)).free();
    let held = state.volume(node, to).map_or(0, |volume| volume.data.max(volume.reserved));
    if source.data > held && source.data - held > free {
        let (source_path, path) = (state.path_of(from), state.path_of(to));
        let format = state.volume(node, to).map_or_else(|| "raw".to_owned(), |volume| volume.format.clone());
        drop(state);
        messages::transferred(source.size, free * 100 / source.size.max(1), print);
        print(format!("qemu-img: error while writing at byte {free}: No space left on device"));
        return Err(format!(
            "copy failed: command '/usr/bin/qemu-img convert -p -n -f {} -O {format} {source_path} zeroinit:{path}' failed: exit code 1",
            source.format
        ));
    }
    state.change_volume(node, to, |volume| volume.data = volume.data.max(source.data));
    Ok(())
}

/// Makes a linked clone of a base image, or of a snapshot if the storage supports that. Returns the volume id.
pub(crate) async fn link(
    engine: &Arc<Engine>,
    node: &str,
    base: &str,
    vmid: u32,
    snapshot: Option<&str>,
    print: Print<'_>,
) -> Result<String, String> {
    let mut lines = Vec::new();
    let made = add_linked_clone(engine, node, base, vmid, snapshot, &mut lines);
    lines.into_iter().for_each(print);
    let volid = made?;
    let held = snapshot.map_or_else(|| base.to_owned(), |snapshot| snapshot_volume_name(base, snapshot));
    engine.backend.disk_clone(&held, &volid, true).await.map_err(|error| error.to_string())?;
    Ok(volid)
}

fn add_linked_clone(
    engine: &Engine,
    node: &str,
    base: &str,
    vmid: u32,
    snapshot: Option<&str>,
    lines: &mut Vec<String>,
) -> Result<String, String> {
    let (storage, name) = base.split_once(':').unwrap_or(("", base));
    let mut state = engine.state();
    let layout = state.usable(node, storage)?.layout();
    let Some(source) = state.volume(node, base).cloned() else {
        return Err(format!("volume '{base}' does not exist"));
    };
    let format = if layout == Layout::Files { "qcow2" } else { source.format.as_str() };
    let plain = state.free_disk(node, storage, vmid, format);
    let own = plain.rsplit(['/', ':']).next().unwrap_or_default().to_owned();
    let with_directory = if layout == Layout::Files { format!("{vmid}/{own}") } else { own.clone() };
    let volid = match snapshot {
        Some(_) => format!("{storage}:{with_directory}"),
        None => format!("{storage}:{}", layout.clone_name(name, &with_directory)),
    };
    let mut volume = Volume::new(&source.content, format, source.size, engine.clock.seconds()).owned(vmid);
    volume.parent = (layout.knows_bases() && snapshot.is_none()).then(|| base.to_owned());
    match layout {
        Layout::Files => {
            let path = state.path_of(&plain);
            lines.push(format!("clone {name}: images, {own}, {vmid} to {own} (base=../{name})"));
            let preallocation = if source.format == "raw" { "off" } else { "metadata" };
            lines.push(format!(
                "Formatting '{path}', fmt=qcow2 cluster_size=131072 extended_l2=on preallocation={preallocation} compression_type=zlib size={} backing_file=../{name} backing_fmt={} lazy_refcounts=off refcount_bits=16",
                source.size, source.format
            ));
            volume.data = image_header("qcow2", source.size);
            no_header(&path, volume.data, state.usage(node, storage).free())?;
        }
        Layout::Rbd => {
            let own_base = name.rsplit('/').next().unwrap_or(name);
            lines.push(format!("clone {name}: {own_base} snapname {} to {own}", snapshot.unwrap_or("__base__")));
        }
        Layout::Lvm | Layout::LvmThin => {
            let vg = state.storages.get(storage).and_then(|found| found.extra.get("vgname"));
            lines.extend(lvm_lines(vg.and_then(serde_json::Value::as_str).unwrap_or_default(), &own));
        }
        Layout::Zfs => {}
    }
    state.put_volume(node, &volid, volume);
    Ok(volid)
}
