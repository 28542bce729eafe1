//! Files on storages, and their uploads.

use std::sync::Arc;

use serde_json::{Value, json};

use super::upload::{self, Upload};
use crate::engine::Worker;
use crate::engine::{Call, Engine};
use crate::refusal::{Outcome, Refusal};
use crate::world::volumes::Volume;

/// Returns the name under which a file is stored: without directories and unusual characters.
pub(crate) fn clean_name(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let bytes: String =
        last.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' }).collect();
    bytes.trim_start().to_owned()
}

pub(super) fn suffix_fits(content: &str, name: &str) -> Result<&'static str, &'static str> {
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
    let content = call.text("content").unwrap_or_default().to_owned();
    let name = clean_name(call.text("filename").unwrap_or_default());
    keeps_files(engine, call, &storage)?;
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
            let got = upload::checksum(&algorithm, &bytes);
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
        {
            let mut state = worker.engine.state();
            let before = state.volume(&node, &volid).map_or(0, |volume| volume.data);
            let fits = state.usage(&node, &storage).free() + before >= file.size;
            // The incomplete copy is removed, and a file that it has overwritten is lost.
            state.take_volume(&node, &volid);
            if !fits {
                drop(state);
                let _ = std::fs::remove_file(&file.file);
                return Err(format!("import failed: cp: error writing '{target}': No space left on device"));
            }
            let volume = Volume::file(&content, format, file.size, worker.engine.clock.seconds());
            state.put_volume(&node, &volid, Volume { file: Some(file.file.clone()), ..volume });
        }
        worker.log("finished file import successfully");
        Ok(())
    });
    Ok(json!(upid))
}

/// Checks that a storage stores files, because only those with a path do.
fn keeps_files(engine: &Engine, call: &Call, storage: &str) -> Outcome<()> {
    let state = engine.state();
    let found = state.usable(&call.node, storage).map_err(Refusal::fault)?;
    if found.has_path() {
        return Ok(());
    }
    Err(Refusal::fault(format!("can't upload to storage type '{}'", found.kind)))
}

fn takes(engine: &Engine, storage: &str, content: &str) -> Outcome<()> {
    let state = engine.state();
    let known = state.storages.get(storage).is_some_and(|found| found.holds(content));
    if known {
        Ok(())
    } else {
        Err(Refusal::fault(format!("storage '{storage}' does not support '{content}' content")))
    }
}

pub(super) fn import_is_valid(
    worker: &Worker,
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
            // A block of zeros is the end of an archive.
            if head.get(..512).is_some_and(|block| block.iter().all(|byte| *byte == 0)) {
                return Err("ova archive has no .ovf file inside".to_owned());
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
