//! Volumes of containers: their form in the configuration, and their creation.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::engine::Engine;
use crate::qemu;
use crate::storage::allocation::{self, NewVolume};
use crate::storage::messages;
use crate::world::drives;
use crate::world::layout::Layout;

/// Returns a value in its stored form.
pub(crate) fn stored(engine: &Engine, key: &str, value: &str) -> String {
    if key == "tags" {
        return qemu::checks::unique_tags(value);
    }
    if !drives::is_net(key) {
        return value.to_owned();
    }
    let mut fields = drives::parse(value);
    fields.remove("file");
    fields.entry("hwaddr".to_owned()).or_insert_with(|| engine.state().mac());
    fields.insert("type".to_owned(), "veth".to_owned());
    let name = fields.remove("name").unwrap_or_default();
    let mut out = format!("name={name}");
    for first in ["bridge"] {
        if let Some(value) = fields.remove(first) {
            out.push_str(&format!(",{first}={value}"));
        }
    }
    for (key, value) in fields {
        out.push_str(&format!(",{key}={value}"));
    }
    out
}

/// Prints a mount point in PVE's order: `volume[,mp=…],rest`.
pub(crate) fn print_mount(fields: &BTreeMap<String, String>) -> String {
    let mut out = fields.get("file").cloned().unwrap_or_default();
    if let Some(mp) = fields.get("mp") {
        out.push_str(&format!(",mp={mp}"));
    }
    for (key, value) in fields.iter().filter(|(key, _)| !matches!(key.as_str(), "file" | "mp")) {
        out.push_str(&format!(",{key}={value}"));
    }
    out
}

pub(crate) async fn new_volume(
    engine: &Arc<Engine>,
    node: &str,
    vmid: u32,
    value: &str,
    print: messages::Print<'_>,
) -> Result<String, String> {
    let mut fields = drives::parse(value);
    let file = fields.get("file").cloned().unwrap_or_default();
    let (storage, size) = file.split_once(':').unwrap_or(("", ""));
    engine.state().usable(node, storage)?;
    let Some(bytes) = drives::gigabytes(size) else {
        let Some(size) = engine.state().volume(node, &file).map(|volume| volume.size) else {
            return Err(format!("volume '{file}' does not exist"));
        };
        fields.insert("size".into(), drives::print_size(size));
        return Ok(print_mount(&fields));
    };
    let volid = root_volume(engine, node, storage, vmid, bytes, print)?;
    engine.backend.disk_create(&volid).await.map_err(|error| error.to_string())?;
    fields.insert("file".into(), volid);
    fields.insert("size".into(), drives::print_size(bytes));
    Ok(print_mount(&fields))
}

/// Makes a volume for a container's files: a file system of its own, or a dataset on a storage that has datasets.
pub(crate) fn root_volume(
    engine: &Engine,
    node: &str,
    storage: &str,
    vmid: u32,
    bytes: u64,
    print: messages::Print<'_>,
) -> Result<String, String> {
    let (layout, holds) =
        engine.state().storages.get(storage).map_or((Layout::Files, false), |s| (s.layout(), s.holds("rootdir")));
    let format = if layout == Layout::Zfs { "subvol" } else { "raw" };
    if layout != Layout::Zfs && !holds {
        return Err(format!("content type 'rootdir' is not available or configured on storage '{storage}'"));
    }
    let wanted = NewVolume { node, storage, vmid, content: "rootdir", format: Some(format), name: None, bytes };
    let volid = allocation::allocate(engine, wanted, print)?;
    if format == "raw" {
        filesystem(engine, bytes, print);
    }
    Ok(volid)
}

/// Prints the lines of mkfs.
pub(crate) fn filesystem(engine: &Engine, bytes: u64, print: messages::Print<'_>) {
    let small = bytes < 512 << 20;
    let block = if small { 1024 } else { 4096 };
    let blocks = bytes / block;
    let inodes = if small { bytes / 4096 } else { bytes / 16384 };
    print(format!("Creating filesystem with {blocks} {}k blocks and {inodes} inodes", block / 1024));
    let uuid = engine.state().uuid();
    print(format!("Filesystem UUID: {uuid}"));
    print("Superblock backups stored on blocks: ".to_owned());
    let (group, offset) = if small { (8192, 1) } else { (32768, 0) };
    let mut starts: Vec<u64> =
        [1_u64, 3, 5, 7, 9, 25, 27, 49, 81, 125].iter().map(|n| n * group + offset).filter(|at| *at < blocks).collect();
    starts.sort_unstable();
    let text: Vec<String> = starts.iter().map(u64::to_string).collect();
    print(format!("\t{}", text.join(", ")));
}
