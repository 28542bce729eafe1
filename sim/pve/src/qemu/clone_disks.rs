//! The disks of a clone: copied, or linked to the source's disks.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::engine::Worker;
use crate::schema;
use crate::storage::allocation::{self, NewVolume};
use crate::storage::disks;
use crate::storage::messages;
use crate::world::drives;
use crate::world::guest::Guest;
use crate::world::snapshot::snapshot_volume_name;
use crate::world::volumes::{Volume, storage_of};

/// The parts of a clone's plan that its disks depend on.
#[derive(Debug, Clone)]
pub(crate) struct DiskPlan {
    pub(crate) target: u32,
    /// Name of the source's node.
    pub(crate) node: String,
    /// Name of the snapshot that is cloned.
    pub(crate) snapshot: Option<String>,
    pub(crate) storage: Option<String>,
    pub(crate) format: Option<String>,
    pub(crate) full: bool,
    /// Bandwidth limit in KiB per second.
    pub(crate) limit: Option<u64>,
}

/// Makes the drives of the clone. Returns their values by name.
pub(crate) async fn copy_drives(
    worker: &Worker,
    plan: &DiskPlan,
    source: &Guest,
) -> Result<BTreeMap<String, String>, String> {
    let mut out = BTreeMap::new();
    for (key, value) in source.config.iter().filter(|(key, _)| drives::is_drive(key)) {
        let copy = if drives::is_cloudinit(value) {
            cloudinit(worker, plan, key, value)?
        } else if drives::is_cdrom(value) {
            value.clone()
        } else if plan.full {
            full(worker, plan, key, value).await?
        } else {
            linked(worker, plan, key, value).await?
        };
        out.insert(key.clone(), copy);
    }
    Ok(out)
}

fn cloudinit(worker: &Worker, plan: &DiskPlan, key: &str, value: &str) -> Result<String, String> {
    let engine = &worker.engine;
    let print = |line: String| worker.log(line);
    let from = drives::file(value);
    let storage = plan.storage.clone().unwrap_or_else(|| storage_of(&from).to_owned());
    worker.log(format!("create full clone of drive {key} ({from})"));
    let (format, name) = {
        let state = engine.state();
        let hint = state.named(&from).map(|named| named.format).unwrap_or_default();
        let format = state.format_for(&storage, &hint);
        let name = state.layout(&storage).cloudinit_name(plan.target, &format);
        (format, name)
    };
    let wanted = NewVolume {
        node: &plan.node,
        storage: &storage,
        vmid: plan.target,
        content: "images",
        format: Some(&format),
        name: Some(&name),
        bytes: disks::CLOUDINIT_SIZE,
    };
    let volid = allocation::allocate(engine, wanted, &print)?;
    worker.log(format!("allocated target volume '{volid}'"));
    let mut drive = drives::parse(value);
    drive.insert("file".into(), volid);
    drive.insert("size".into(), "4M".into());
    Ok(schema::propstring::print(&drive, "file", &[]))
}

async fn full(worker: &Worker, plan: &DiskPlan, key: &str, value: &str) -> Result<String, String> {
    let engine = &worker.engine;
    let print = |line: String| worker.log(line);
    let from = drives::file(value);
    let storage = plan.storage.clone().unwrap_or_else(|| storage_of(&from).to_owned());
    worker.log(format!("create full clone of drive {key} ({from})"));
    engine.state().usable(&plan.node, storage_of(&from))?;
    let Some(volume) = engine.state().volume(&plan.node, &from).cloned() else {
        return Err(format!("volume '{from}' does not exist"));
    };
    let wanted_format = plan.format.as_ref().unwrap_or(&volume.format);
    let format = engine.state().format_for(&storage, wanted_format);
    if plan.format.as_ref().is_some_and(|wanted| *wanted != format) {
        worker.log(format!(
            "format '{wanted_format}' is not supported by the target storage '{storage}' - using '{format}' instead"
        ));
    }
    let wanted = NewVolume {
        node: &plan.node,
        storage: &storage,
        vmid: plan.target,
        content: "images",
        format: Some(&format),
        name: None,
        bytes: volume.size,
    };
    let volid = allocation::allocate(engine, wanted, &print)?;
    worker.log(format!("allocated target volume '{volid}'"));
    allocation::copied(engine, &plan.node, &from, &volid, &print)?;
    let held = plan.snapshot.as_ref().map_or_else(|| from.clone(), |snapshot| snapshot_volume_name(&from, snapshot));
    engine.backend.disk_clone(&held, &volid, false).await.map_err(|error| error.to_string())?;
    copy_slowly(worker, plan, &from, &volid, &volume, &format).await;
    let size = engine.state().volume(&plan.node, &volid).map_or(volume.size, |made| made.size);
    let mut drive = drives::parse(value);
    drive.insert("file".into(), volid);
    drive.insert("size".into(), drives::print_size(size));
    Ok(schema::propstring::print(&drive, "file", &["format"]))
}

/// Copies at the bandwidth limit, and logs one line for each step.
async fn copy_slowly(worker: &Worker, plan: &DiskPlan, from: &str, to: &str, volume: &Volume, format: &str) {
    let engine = &worker.engine;
    let seconds = plan.limit.map_or(0, |limit| (volume.data >> 10) / limit);
    if let Some(limit) = plan.limit {
        let from = engine.state().path_of(from);
        let to = engine.state().path_of(to);
        worker.set_interrupt_text(format!(
            "clone failed: copy failed: command '/usr/bin/qemu-img convert -p -n -r {limit}K -f {} -O {format} {from} zeroinit:{to}' failed: interrupted by signal",
            volume.format
        ));
    }
    if seconds == 0 {
        messages::transferred(volume.size, 100, &|line| worker.log(line));
        return;
    }
    let steps = 90;
    for at in 0..=steps {
        let text = format!(
            "transferred {} of {} ({})",
            messages::human(volume.size / steps * at),
            messages::human(volume.size),
            percent(at, steps)
        );
        worker.log(text);
        engine.wait(Duration::from_millis(seconds * 1000 / steps)).await;
    }
    worker.set_interrupt_text("received interrupt".to_owned());
}

fn percent(at: u64, of: u64) -> String {
    format!("{:.2}%", at as f64 * 100.0 / of as f64)
}

async fn linked(worker: &Worker, plan: &DiskPlan, key: &str, value: &str) -> Result<String, String> {
    let engine = &worker.engine;
    let base = drives::file(value);
    worker.log(format!("create linked clone of drive {key} ({base})"));
    let volid =
        allocation::link(engine, &plan.node, &base, plan.target, plan.snapshot.as_deref(), &|line| worker.log(line))
            .await?;
    let size = engine.state().volume(&plan.node, &volid).map_or(0, |made| made.size);
    let mut drive = drives::parse(value);
    drive.insert("file".into(), volid);
    drive.insert("size".into(), drives::print_size(size));
    Ok(schema::propstring::print(&drive, "file", &[]))
}
