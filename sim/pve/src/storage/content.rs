//! Contents of a storage: listing, allocating and deleting volumes.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::allocation::{self, NewVolume};
use super::disks;
use super::messages;
use crate::engine::{Call, Engine};
use crate::refusal::{Outcome, Refusal};
use crate::world::layout::Layout;
use crate::world::volumes::{Volume, storage_of};

fn volume_row(layout: Layout, volid: &str, volume: &Volume) -> Value {
    let mut row = json!({ "volid": volid, "content": volume.content, "format": volume.format, "size": volume.size, "ctime": volume.ctime });
    let Some(vmid) = volume.vmid else { return row };
    row["vmid"] = json!(vmid);
    let name = volume.parent.as_ref().map(|parent| parent.split_once(':').map_or("", |(_, name)| name));
    if layout == Layout::Files {
        row["used"] = json!(volume.size.clamp(4096, 1 << 20));
        row["parent"] = name.map_or(Value::Null, |name| json!(format!("../{name}")));
    } else if let Some(name) = name {
        row["parent"] = json!(format!("{}@__base__", name.rsplit('/').next().unwrap_or(name)));
    }
    row
}

pub(crate) fn content(engine: &Engine, call: &Call) -> Outcome<Value> {
    let name = call.text("storage").unwrap_or_default();
    let state = engine.state();
    state.usable(&call.node, name).map_err(Refusal::fault)?;
    let wanted = call.text("content");
    let vmid = call.params.number("vmid");
    let rows: Vec<Value> = state
        .volumes_on(&call.node, name)
        .filter(|(_, volume)| wanted.is_none_or(|content| content == volume.content))
        .filter(|(_, volume)| {
            let Some(vmid) = vmid else { return true };
            match volume.vmid {
                Some(owner) => i64::from(owner) == vmid,
                None => matches!(volume.content.as_str(), "import" | "snippets"),
            }
        })
        .filter(|(volid, _)| state.volume_access(&call.caller, None, volid, None).is_ok())
        .map(|(volid, volume)| volume_row(state.layout(name), volid, volume))
        .collect();
    Ok(json!(rows))
}

/// Returns the volume id. It may repeat the storage of the path.
fn volume_id(call: &Call) -> Outcome<String> {
    let storage = call.text("storage").unwrap_or_default();
    let volume = call.text("volume").unwrap_or_default();
    let Some((named, _)) = volume.split_once(':') else { return Ok(format!("{storage}:{volume}")) };
    if named != storage {
        return Err(Refusal::parameter("volume", format!("storage ID mismatch ({named} != {storage})\n")));
    }
    Ok(volume.to_owned())
}

pub(crate) fn volume(engine: &Engine, call: &Call) -> Outcome<Value> {
    let volid = volume_id(call)?;
    let state = engine.state();
    state.volume_access(&call.caller, None, &volid, None)?;
    let Some(volume) = state.volume(&call.node, &volid) else {
        return Err(Refusal::fault(format!("volume_size_info on '{volid}' failed - no format")));
    };
    let used = volume.size.div_ceil(512) * 512;
    let size = if volume.is_image() { used } else { disks::virtual_size(volume).div_ceil(512) * 512 };
    let format = if volume.is_image() || volume.content == "import" { volume.format.as_str() } else { "raw" };
    let mut out = json!({ "path": state.path_of(&volid), "size": size, "used": used, "format": format });
    if let Some(parent) = &volume.parent {
        out["parent"] = json!(parent);
    }
    Ok(out)
}

pub(crate) async fn allocate(engine: &Arc<Engine>, call: &Call) -> Outcome<Value> {
    let storage = call.text("storage").unwrap_or_default();
    let name = call.text("filename").unwrap_or_default();
    let size = call.text("size").unwrap_or_default();
    // A size without a unit is in KiB here.
    let whole = |text: &str| text.chars().all(|c| c.is_ascii_digit()).then(|| text.parse::<u64>().ok()).flatten();
    let bytes = match (whole(size), size.strip_suffix('M').and_then(whole), size.strip_suffix('G').and_then(whole)) {
        (Some(kib), ..) => kib << 10,
        (_, Some(mib), _) => mib << 20,
        (.., Some(gib)) => gib << 30,
        _ => return Err(Refusal::parameter("size", format!("unable to parse size '{size}'"))),
    };
    let suffix = ["raw", "qcow2", "vmdk"].into_iter().find(|suffix| name.ends_with(&format!(".{suffix}")));
    if let (Some(suffix), Some(format)) = (suffix, call.text("format").filter(|format| Some(*format) != suffix)) {
        return Err(Refusal::parameter("format", format!("different storage formats ({format} != {suffix})")));
    }
    let vmid = call.vmid();
    let layout = engine.state().usable(&call.node, storage).map_err(Refusal::fault)?.layout();
    let illegal = || Refusal::fault(format!("illegal name '{name}' - should be 'vm-{vmid}-*'"));
    let (full_name, format) = match layout {
        Layout::Files => (format!("{vmid}/{name}"), suffix.ok_or_else(illegal)?),
        Layout::Zfs if call.text("format") == Some("subvol") => (name.to_owned(), "subvol"),
        _ if !name.starts_with(&format!("vm-{vmid}-")) => return Err(illegal()),
        _ => (name.to_owned(), suffix.or(call.text("format")).unwrap_or("raw")),
    };
    let wanted = NewVolume {
        node: &call.node,
        storage,
        vmid,
        content: "images",
        format: Some(format),
        name: Some(&full_name),
        bytes,
    };
    let volid = allocation::allocate(engine, wanted, &messages::quiet).map_err(Refusal::fault)?;
    engine.backend.disk_create(&volid).await.map_err(|error| Refusal::fault(error.to_string()))?;
    Ok(json!(volid))
}

pub(crate) async fn delete(engine: &Arc<Engine>, call: &Call) -> Outcome<Value> {
    let volid = volume_id(call)?;
    let storage = storage_of(&volid).to_owned();
    let named = {
        let state = engine.state();
        state.usable(&call.node, &storage).map_err(Refusal::fault)?;
        state.named(&volid)?
    };
    let owner = named.owner;
    let path = format!("/storage/{storage}");
    match owner.filter(|_| named.content == "backup") {
        Some(vmid) => {
            engine.state().require(&call.caller, &path, &["Datastore.AllocateSpace"])?;
            engine.state().require(&call.caller, &format!("/vms/{vmid}"), &["VM.Backup"])?;
        }
        None => engine.state().require(&call.caller, &path, &["Datastore.Allocate"])?,
    }
    let id = owner.map_or_else(|| storage.clone(), |vmid| format!("{vmid}@{storage}"));
    let node = call.node.clone();
    let upid = engine.spawn(call, "imgdel", &id, move |worker| async move {
        disks::free(&worker.engine, &node, &volid, &|line| worker.log(line)).await?;
        worker.log(format!("Removed volume '{volid}'"));
        Ok(())
    });
    if let Some(delay) = call.params.number("delay").and_then(|n| u64::try_from(n).ok())
        && engine.ended_within(&upid, Duration::from_secs(delay.max(1))).await
    {
        return Ok(Value::Null);
    }
    Ok(json!(upid))
}
