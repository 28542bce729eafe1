//! Storages and what is on them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::disks;
use super::engine::{Call, Engine};
use super::params::split_list;
use super::refusal::{Body, Outcome, Refusal};
use super::state::{State, Storage, Volume};

const TOTAL: u64 = 100 << 30;
const USED: u64 = 8 << 30;

fn definition(state: &State, name: &str) -> Option<Map<String, Value>> {
    let storage = state.storages.get(name)?;
    let mut row = storage.extra.clone();
    row.insert("storage".into(), json!(name));
    row.insert("type".into(), json!(storage.kind));
    row.insert("path".into(), json!(storage.path));
    row.insert("content".into(), json!(storage.content.join(",")));
    row.insert("digest".into(), json!("5ba93c9db0cff93f52b521d7420e43f6eda2784f"));
    if storage.shared {
        row.insert("shared".into(), json!(1));
    }
    if storage.disabled {
        row.insert("disable".into(), json!(1));
    }
    Some(row)
}

pub(crate) fn definitions(engine: &Engine, call: &Call) -> Value {
    let state = engine.state();
    let rows: Vec<Value> = state
        .storages
        .iter()
        .filter(|(name, storage)| {
            let seen = state.may_any(
                &call.caller,
                &format!("/storage/{name}"),
                &["Datastore.Audit", "Datastore.AllocateSpace"],
            );
            seen && call.text("type").is_none_or(|kind| kind == storage.kind)
        })
        .filter_map(|(name, _)| definition(&state, name).map(Value::Object))
        .collect();
    json!(rows)
}

pub(crate) fn one_definition(engine: &Engine, call: &Call) -> Outcome<Value> {
    let name = call.text("storage").unwrap_or_default();
    definition(&engine.state(), name).map(Value::Object).ok_or_else(|| no_storage(name))
}

fn no_storage(name: &str) -> Refusal {
    Refusal::fault(format!("storage '{name}' does not exist"))
}

fn usage(storage: &Storage, row: &mut Map<String, Value>) {
    let active = !storage.disabled;
    row.insert("active".into(), json!(u8::from(active)));
    row.insert("enabled".into(), json!(u8::from(active)));
    row.insert("shared".into(), json!(u8::from(storage.shared)));
    row.insert("content".into(), json!(storage.content.join(",")));
    row.insert("type".into(), json!(storage.kind));
    let (total, used) = if active { (TOTAL, USED) } else { (0, 0) };
    row.insert("total".into(), json!(total));
    row.insert("used".into(), json!(used));
    row.insert("avail".into(), json!(total - used));
}

pub(crate) fn on_node(engine: &Engine, call: &Call) -> Outcome<Value> {
    let state = engine.state();
    let wanted = split_list(call.text("content").unwrap_or_default());
    let mut rows = Vec::new();
    for (name, storage) in &state.storages {
        if !state.may_any(&call.caller, &format!("/storage/{name}"), &["Datastore.Audit", "Datastore.AllocateSpace"]) {
            continue;
        }
        if call.text("storage").is_some_and(|only| only != name) {
            continue;
        }
        let holds = wanted.is_empty() || wanted.iter().any(|content| storage.content.contains(content));
        let filtered = !wanted.is_empty() || call.params.flag("enabled");
        if !holds || (filtered && storage.disabled) {
            continue;
        }
        let mut row = Map::new();
        row.insert("storage".into(), json!(name));
        usage(storage, &mut row);
        if !storage.disabled {
            row.insert("used_fraction".into(), json!(0.08));
        }
        if call.params.flag("format") && !storage.disabled {
            row.insert("format".into(), json!([{ "qcow2": 1, "raw": 1, "subvol": 1, "vmdk": 1 }, "raw"]));
            row.insert("formats".into(), json!({ "default": "raw", "supported": ["qcow2", "raw", "subvol", "vmdk"] }));
        }
        rows.push(Value::Object(row));
    }
    Ok(json!(rows))
}

pub(crate) fn status(engine: &Engine, call: &Call) -> Outcome<Value> {
    let name = call.text("storage").unwrap_or_default();
    let state = engine.state();
    let Some(storage) = state.storages.get(name) else { return Err(Refusal::parameter("storage", "No such storage.")) };
    let mut row = Map::new();
    usage(storage, &mut row);
    Ok(Value::Object(row))
}

fn usable(engine: &Engine, name: &str) -> Outcome<()> {
    disks::usable(engine, name).map_err(Refusal::fault)
}

fn volume_row(volid: &str, volume: &Volume) -> Value {
    let mut row = json!({ "volid": volid, "content": volume.content, "format": volume.format, "size": volume.size, "ctime": volume.ctime });
    if let Some(vmid) = volume.vmid {
        row["vmid"] = json!(vmid);
        row["used"] = json!(volume.size.clamp(4096, 1 << 20));
        row["parent"] = volume
            .parent
            .as_ref()
            .map_or(Value::Null, |parent| json!(format!("../{}", parent.split_once(':').map_or("", |(_, name)| name))));
    }
    row
}

pub(crate) fn content(engine: &Engine, call: &Call) -> Outcome<Value> {
    let name = call.text("storage").unwrap_or_default();
    usable(engine, name)?;
    let state = engine.state();
    let wanted = call.text("content");
    let vmid = call.params.number("vmid");
    let rows: Vec<Value> = state
        .volumes
        .iter()
        .filter(|(volid, _)| volid.split(':').next() == Some(name))
        .filter(|(_, volume)| wanted.is_none_or(|content| content == volume.content))
        .filter(|(_, volume)| {
            let Some(vmid) = vmid else { return true };
            match volume.vmid {
                Some(owner) => i64::from(owner) == vmid,
                None => matches!(volume.content.as_str(), "import" | "snippets"),
            }
        })
        .filter(|(volid, _)| state.volume_access(&call.caller, None, volid, None).is_ok())
        .map(|(volid, volume)| volume_row(volid, volume))
        .collect();
    Ok(json!(rows))
}

/// The storage in the path and the volume id, which may name it again.
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
    let Some(volume) = state.volumes.get(&volid) else {
        return Err(Refusal::fault(format!("volume_size_info on '{volid}' failed - no format")));
    };
    let size = volume.size.div_ceil(512) * 512;
    let mut out = json!({ "path": state.path_of(&volid), "size": size, "used": size, "format": if volume.content == "images" || volume.content == "rootdir" { volume.format.as_str() } else { "raw" } });
    if let Some(parent) = &volume.parent {
        out["parent"] = json!(parent);
    }
    Ok(out)
}

pub(crate) async fn allocate(engine: &Arc<Engine>, call: &Call) -> Outcome<Value> {
    let storage = call.text("storage").unwrap_or_default();
    usable(engine, storage)?;
    let name = call.text("filename").unwrap_or_default();
    let size = call.text("size").unwrap_or_default();
    // Sizes without a unit are KiB here.
    let whole = |text: &str| text.chars().all(|c| c.is_ascii_digit()).then(|| text.parse::<u64>().ok()).flatten();
    let bytes = match (whole(size), size.strip_suffix('M').and_then(whole), size.strip_suffix('G').and_then(whole)) {
        (Some(kib), ..) => kib << 10,
        (_, Some(mib), _) => mib << 20,
        (.., Some(gib)) => gib << 30,
        _ => return Err(Refusal::parameter("size", format!("unable to parse size '{size}'"))),
    };
    let suffix = ["raw", "qcow2", "vmdk"].into_iter().find(|suffix| name.ends_with(&format!(".{suffix}")));
    let Some(suffix) = suffix else {
        return Err(Refusal::fault(format!("illegal name '{name}' - should be 'vm-{}-*'", call.vmid())));
    };
    if call.text("format").is_some_and(|format| format != suffix) {
        return Err(Refusal::parameter(
            "format",
            format!("different storage formats ({} != {suffix})", call.text("format").unwrap_or_default()),
        ));
    }
    let volid = format!("{storage}:{}/{name}", call.vmid());
    if engine.state().volumes.contains_key(&volid) {
        let path = engine.state().path_of(&volid);
        return Err(Refusal::fault(format!("disk image '{path}' already exists")));
    }
    disks::put(engine, &volid, "images", suffix, bytes, Some(call.vmid()));
    engine.backend.disk_create(&volid).await.map_err(|error| Refusal::fault(error.to_string()))?;
    Ok(json!(volid))
}

pub(crate) async fn delete(engine: &Arc<Engine>, call: &Call) -> Outcome<Value> {
    let volid = volume_id(call)?;
    let storage = volid.split(':').next().unwrap_or_default().to_owned();
    usable(engine, &storage)?;
    let named =
        super::volume_access::parse(volid.split_once(':').map_or("", |(_, name)| name)).map_err(Refusal::fault)?;
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
    let upid = engine.spawn(call, "imgdel", &id, move |worker| async move {
        disks::free(&worker.engine, &volid).await?;
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

/// A file that came with an upload.
pub(crate) struct Upload {
    pub(crate) file: PathBuf,
    pub(crate) size: u64,
}

/// The name under which a file is kept: no directories, no odd characters.
pub(crate) fn clean_name(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let bytes: String =
        last.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' }).collect();
    bytes.trim_start().to_owned()
}

fn suffix_fits(content: &str, name: &str) -> Result<&'static str, &'static str> {
    let lower = name.to_ascii_lowercase();
    let stem = |suffix: &str| name.len() > suffix.len();
    match content {
        "iso" => [".iso", ".img"]
            .iter()
            .find(|s| lower.ends_with(**s) && stem(s))
            .map(|_| "iso")
            .ok_or("wrong file extension"),
        "vztmpl" => {
            [(".tar", "tar"), (".tar.gz", "tgz"), (".tar.xz", "txz"), (".tar.zst", "tzst"), (".tar.bz2", "tbz2")]
                .iter()
                .find(|(s, _)| name.ends_with(*s) && stem(s))
                .map(|(_, format)| *format)
                .ok_or("wrong file extension")
        }
        _ => [(".qcow2", "qcow2"), (".raw", "raw"), (".vmdk", "vmdk"), (".ova", "ova")]
            .iter()
            .find(|(s, _)| name.ends_with(*s) && stem(s))
            .map(|(_, format)| *format)
            .ok_or("invalid filename or wrong extension"),
    }
}

pub(crate) fn upload(engine: &Arc<Engine>, call: &Call, file: Upload) -> Outcome<Value> {
    let storage = call.text("storage").unwrap_or_default().to_owned();
    usable(engine, &storage)?;
    let content = call.text("content").unwrap_or_default().to_owned();
    let name = clean_name(call.text("filename").unwrap_or_default());
    takes(engine, &storage, &content)?;
    let format = suffix_fits(&content, &name).map_err(|text| Refusal::parameter("filename", text))?;
    let checksum = call.text("checksum").map(str::to_owned);
    let algorithm = call.text("checksum-algorithm").unwrap_or("sha256").to_owned();
    let node = call.node.clone();
    let upid = engine.spawn(call, "imgcopy", "", move |worker| async move {
        let temporary = format!("/var/tmp/pveupload-{}", hex::encode(rand::random::<[u8; 16]>()));
        worker.log(format!("starting file import from: {temporary}"));
        if let Some(expected) = checksum {
            let bytes = std::fs::read(&file.file).map_err(|error| error.to_string())?;
            let got = super::upload::checksum(&algorithm, &bytes);
            if !got.eq_ignore_ascii_case(&expected) {
                worker.log("calculating checksum...");
                return Err(format!("checksum mismatch: got '{got}' != expect '{expected}'"));
            }
            worker.log("calculating checksum...OK, checksum verified");
        }
        if content == "import" {
            import_is_valid(&worker, &file.file, format, &temporary)?;
        }
        let directory = if content == "vztmpl" { "vztmpl" } else { content.as_str() };
        let volid = format!("{storage}:{directory}/{name}");
        let target = worker.engine.state().path_of(&volid);
        worker.log(format!("target node: {node}"));
        worker.log(format!("target file: {target}"));
        worker.log(format!("file size is: {}", file.size));
        worker.log(format!("command: cp -- {temporary} {target}"));
        disks::put(&worker.engine, &volid, &content, format, file.size, None);
        if let Some(volume) = worker.engine.state().volumes.get_mut(&volid) {
            volume.file = Some(file.file.clone());
        }
        worker.log("finished file import successfully");
        Ok(())
    });
    Ok(json!(upid))
}

pub(crate) fn takes(engine: &Engine, storage: &str, content: &str) -> Outcome<()> {
    let state = engine.state();
    let known = state.storages.get(storage).is_some_and(|s| s.content.iter().any(|c| c == content));
    if known {
        Ok(())
    } else {
        Err(Refusal::fault(format!("storage '{storage}' does not support '{content}' content")))
    }
}

fn import_is_valid(
    worker: &super::engine::Worker,
    file: &std::path::Path,
    format: &str,
    temporary: &str,
) -> Result<(), String> {
    let head = std::fs::read(file).unwrap_or_default();
    let (good, complaint) = match format {
        "qcow2" => (head.starts_with(b"QFI\xfb"), "Image is not in qcow2 format"),
        "vmdk" => {
            (head.starts_with(b"KDMV") || head.starts_with(b"# Disk DescriptorFile"), "invalid VMDK image descriptor")
        }
        "ova" => {
            if head.get(257..262) == Some(b"ustar") {
                return Ok(());
            }
            for line in [
                "tar: This does not look like a tar archive",
                "tar: Skipping to next header",
                "tar: Exiting with failure status due to previous errors",
            ] {
                worker.log(line);
            }
            return Err(format!("command 'tar -t -f {temporary}' failed: exit code 2"));
        }
        _ => (true, ""),
    };
    if good {
        return Ok(());
    }
    worker.log(format!("command '/usr/bin/qemu-img info '--output=json' {temporary} -f {format}' failed: exit code 1"));
    Err(format!("qemu-img: Could not open '{temporary}': {complaint}"))
}

/// The node itself would fetch the file; a simulated one has no network.
pub(crate) fn download(engine: &Arc<Engine>, call: &Call) -> Outcome<Value> {
    let storage = call.text("storage").unwrap_or_default().to_owned();
    usable(engine, &storage)?;
    let content = call.text("content").unwrap_or_default().to_owned();
    takes(engine, &storage, &content)?;
    let name = clean_name(call.text("filename").unwrap_or_default());
    suffix_fits(&content, &name).map_err(|text| Refusal::parameter("filename", text))?;
    let url = call.text("url").unwrap_or_default().to_owned();
    let upid = engine.spawn(call, "download", &name.clone(), move |worker| async move {
        let volid = format!("{storage}:{content}/{name}");
        let target = worker.engine.state().path_of(&volid);
        if worker.engine.state().volumes.contains_key(&volid) {
            return Err(format!("refusing to override existing file '{target}'"));
        }
        worker.log(format!("downloading {url} to {target}"));
        let host = url.split("://").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default().to_owned();
        let host = if host.contains(':') {
            host
        } else {
            format!("{host}:{}", if url.starts_with("https") { 443 } else { 80 })
        };
        worker.log(format!(
            "--{}--  {url}",
            jiff::Timestamp::from_second(i64::try_from(worker.engine.clock.seconds()).unwrap_or(0))
                .map_or_else(|_| String::new(), |t| t.strftime("%Y-%m-%d %H:%M:%S").to_string())
        ));
        Err(format!("download failed: Connecting to {host}... failed: Connection refused."))
    });
    Ok(json!(upid))
}

pub(crate) fn bad_request() -> Refusal {
    Refusal::new(400, "Bad Request", Body::Empty)
}
