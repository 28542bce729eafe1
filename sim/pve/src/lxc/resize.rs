//! `PUT /nodes/{node}/lxc/{vmid}/resize`.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::engine::locks::Mode;
use crate::engine::{Call, Engine};
use crate::refusal::{Outcome, Refusal};
use crate::world::drives;
use crate::world::guest::Kind;
use crate::world::layout::Layout;
use crate::world::volumes::storage_of;

/// A volume that is to grow, with its configuration.
struct Growth {
    value: String,
    volid: String,
    format: String,
    old: u64,
    new: u64,
}

pub(crate) fn resize(engine: &Arc<Engine>, call: &Call) -> Outcome<Value> {
    growth(engine, call)?;
    let asked = call.clone();
    let upid = engine.spawn(call, "resize", &call.vmid().to_string(), move |worker| async move {
        let (engine, vmid) = (&worker.engine, asked.vmid());
        let _guard = worker.lock(Kind::Lxc, vmid, Mode::Exclusive, 10).await?;
        // The checks are repeated, because the configuration may have changed.
        let found = growth(engine, &asked).map_err(Refusal::into_text)?;
        let path = engine.state().path_of(&found.volid);
        let running = engine.with_guest(vmid, |guest| guest.run.is_some()) == Some(true);
        if engine.state().layout(storage_of(&found.volid)) == Layout::Files {
            worker.log("Image resized.");
        }
        engine.state().change_volume(&asked.node, &found.volid, |volume| volume.size = found.new);
        let (old, new) = (drives::print_size(found.old), drives::print_size(found.new));
        let printed = found.value.replace(&format!("size={old}"), &format!("size={new}"));
        let disk = asked.text("disk").unwrap_or_default();
        engine.with_guest(vmid, |guest| guest.set(disk, &printed));
        if found.format == "raw" && !running {
            file_system_grows(&path, found.old >> 10, found.new >> 10).for_each(|line| worker.log(line));
        }
        Ok(())
    });
    Ok(json!(upid))
}

/// Checks a request to grow a volume, in PVE's order.
fn growth(engine: &Engine, call: &Call) -> Outcome<Growth> {
    let vmid = call.vmid();
    let (disk, size) = (call.text("disk").unwrap_or_default(), call.text("size").unwrap_or_default());
    let guest = engine.guest(Kind::Lxc, vmid, &call.node)?;
    guest.unlocked()?;
    if call.text("digest").is_some_and(|digest| digest != guest.digest()) {
        return Err(Refusal::fault("detected modified configuration - file changed by other user? Try again."));
    }
    let Some(value) = guest.get(disk).map(str::to_owned) else {
        let text = "property is missing and it is not optional".to_owned();
        let mut refusal = Refusal::fault("format error");
        refusal.errors = [("mp".to_owned(), text.clone()), ("volume".to_owned(), text)].into();
        return Err(refusal);
    };
    let volid = drives::file(&value);
    let storage = storage_of(&volid);
    let state = engine.state();
    let named = state.named(&volid)?;
    if let Some(owner) = named.owner.filter(|owner| *owner != vmid) {
        return Err(Refusal::fault(format!(
            "can't resize mount point owned by another container ({owner}) at /usr/share/perl5/PVE/API2/LXC.pm line 2386."
        )));
    }
    state.require(&call.caller, &format!("/storage/{storage}"), &["Datastore.AllocateSpace"])?;
    state.usable(&call.node, storage).map_err(Refusal::fault)?;
    let old = state.volume(&call.node, &volid).map_or(0, |volume| volume.size);
    let new = match size.strip_prefix('+') {
        Some(more) => old + drives::parse_size(more).unwrap_or(0),
        None => drives::parse_size(size).unwrap_or(0),
    };
    if new < old {
        return Err(Refusal::fault("unable to shrink disk size"));
    }
    if new == old {
        return Err(Refusal::fault("disk is already at specified size"));
    }
    Ok(Growth { value, volid, format: named.format, old, new })
}

/// Returns the lines of e2fsck and resize2fs. Sizes are in KiB.
fn file_system_grows(path: &str, before: u64, after: u64) -> impl Iterator<Item = String> {
    [
        "e2fsck 1.47.2 (1-Jan-2025)".to_owned(),
        "Pass 1: Checking inodes, blocks, and sizes".to_owned(),
        "Pass 2: Checking directory structure".to_owned(),
        "Pass 3: Checking directory connectivity".to_owned(),
        "Pass 4: Checking reference counts".to_owned(),
        "Pass 5: Checking group summary information".to_owned(),
        format!("{path}: 12/{} files (0.0% non-contiguous), {}/{before} blocks", before / 4, before / 6),
        "resize2fs 1.47.2 (1-Jan-2025)".to_owned(),
        format!("Resizing the filesystem on {path} to {after} (1k) blocks."),
        format!("The filesystem on {path} is now {after} (1k) blocks long."),
        String::new(),
    ]
    .into_iter()
}
