//! `POST …/download-url`: a node fetches a file.
//!
//! Source: `download_url` in pve-storage's `API2/Storage/Status.pm`, `download_file_from_url` in pve-common's `Tools.pm`.

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::NamedTempFile;

use super::files::{clean_name, import_is_valid, suffix_fits};
use super::upload;
use super::wget::Transfer;
use crate::engine::{Call, Engine, Worker};
use crate::refusal::{Outcome, Refusal};
use crate::world::volumes::Volume;

/// A download that has been checked.
struct Download {
    node: String,
    storage: String,
    content: String,
    /// Format of the volume, from its name.
    format: &'static str,
    volid: String,
    url: String,
    /// Checksum algorithm and expected digits.
    checksum: Option<(String, String)>,
    compression: Option<String>,
    verify_certificates: bool,
}

pub(crate) fn download(engine: &Arc<Engine>, call: &Call) -> Outcome<Value> {
    let text = |name: &str| call.text(name).unwrap_or_default().to_owned();
    let (storage, content) = (text("storage"), text("content"));
    takes(engine, &call.node, &storage, &content)?;
    let name = clean_name(&text("filename"));
    let format = suffix_fits(&content, &name).map_err(|text| Refusal::parameter("filename", text))?;
    if engine.state().options.contains_key("http_proxy") {
        return Err(Refusal::fault("not simulated: downloads through a proxy"));
    }
    let plan = Download {
        node: call.node.clone(),
        volid: format!("{storage}:{content}/{name}"),
        storage,
        content,
        format,
        url: text("url"),
        checksum: call.text("checksum").map(|digits| (text("checksum-algorithm"), digits.to_owned())),
        compression: call.text("compression").map(str::to_owned),
        verify_certificates: call.text("verify-certificates") != Some("0"),
    };
    Ok(json!(engine.spawn(call, "download", &name, move |worker| async move { plan.carry_out(&worker).await })))
}

/// Checks that the storage holds files and is configured for the content type.
fn takes(engine: &Engine, node: &str, storage: &str, content: &str) -> Outcome<()> {
    let state = engine.state();
    let found = state.usable(node, storage).map_err(Refusal::fault)?;
    if !found.has_path() {
        let text = format!("can't upload to storage type '{}', not a file based storage!", found.kind);
        return Err(Refusal::fault(text));
    }
    if found.holds(content) {
        return Ok(());
    }
    Err(Refusal::fault(format!("storage '{storage}' is not configured for content-type '{content}'")))
}

impl Download {
    async fn carry_out(&self, worker: &Worker) -> Result<(), String> {
        let engine = &worker.engine;
        self.decompression_is_possible()?;
        let target = engine.state().path_of(&self.volid);
        worker.log(format!("downloading {} to {target}", self.url));
        let existing = engine.state().volume(&self.node, &self.volid).cloned();
        if let Some(existing) = existing {
            return self.keep_existing(worker, &existing, &target);
        }
        let temporary = format!("{target}.tmp_dwnl.{}", worker.process());
        let file = NamedTempFile::new_in(&engine.files).map_err(|error| error.to_string())?;
        let transfer = Transfer {
            worker,
            url: &self.url,
            shown: &temporary,
            verify_certificates: self.verify_certificates,
            room: engine.state().usage(&self.node, &self.storage).free(),
        };
        let fetched = engine.clock.outside(transfer.fetch(file.as_file())).await;
        fetched.map_err(|text| format!("download failed: {text}"))?;
        self.verify_checksum(worker, file.path())?;
        let (file, temporary) = match &self.compression {
            Some(_) => decompress(worker, &file, &temporary, &target)?,
            None => (file, temporary),
        };
        if self.content == "import" {
            import_is_valid(worker, file.path(), self.format, &temporary)
                .map_err(|text| format!("failed to verify file: {text}"))?;
        }
        self.put(engine, file)?;
        worker.log(format!("download of '{}' to '{target}' finished", self.url));
        Ok(())
    }

    fn decompression_is_possible(&self) -> Result<(), String> {
        match self.compression.as_deref() {
            None => Ok(()),
            Some(_) if self.content != "iso" => Err(format!("decompression not supported for {}", self.content)),
            Some("gz") => Ok(()),
            Some(other) => Err(format!("not simulated: decompression of {other}")),
        }
    }

    /// Ends a download to an existing file, which is never replaced.
    fn keep_existing(&self, worker: &Worker, existing: &Volume, target: &str) -> Result<(), String> {
        let Some((algorithm, expected)) = &self.checksum else {
            return Err(format!("refusing to override existing file '{target}'"));
        };
        let Some(file) = &existing.file else {
            return Err("not simulated: the checksum of a file that came with the description of the world".to_owned());
        };
        let got = digits(algorithm, file)?;
        let begins = "calculating checksum of existing file...";
        if got.eq_ignore_ascii_case(expected) {
            worker.log(format!("{begins}OK, got correct file already, no need to download"));
            return Ok(());
        }
        worker.log(begins);
        Err(format!("checksum mismatch: got '{got}' != expect '{expected}', aborting"))
    }

    fn verify_checksum(&self, worker: &Worker, file: &Path) -> Result<(), String> {
        let Some((algorithm, expected)) = &self.checksum else { return Ok(()) };
        let got = digits(algorithm, file)?;
        if got.eq_ignore_ascii_case(expected) {
            worker.log("calculating checksum...OK, checksum verified");
            return Ok(());
        }
        worker.log("calculating checksum...");
        Err(format!("checksum mismatch: got '{got}' != expect '{expected}'"))
    }

    fn put(&self, engine: &Engine, file: NamedTempFile) -> Result<(), String> {
        let size = file.as_file().metadata().map_err(|error| error.to_string())?.len();
        let (_, path) = file.keep().map_err(|error| error.to_string())?;
        let volume = Volume::file(&self.content, self.format, size, engine.clock.seconds());
        engine.state().put_volume(&self.node, &self.volid, Volume { file: Some(path), ..volume });
        Ok(())
    }
}

fn digits(algorithm: &str, file: &Path) -> Result<String, String> {
    std::fs::read(file).map(|bytes| upload::checksum(algorithm, &bytes)).map_err(|error| error.to_string())
}

/// Unpacks a file as zcat does. Returns the unpacked file and its name on the node.
fn decompress(
    worker: &Worker,
    packed: &NamedTempFile,
    temporary: &str,
    target: &str,
) -> Result<(NamedTempFile, String), String> {
    let unpacked = format!("{target}.tmp_dcom.{}", worker.process());
    worker.log(format!("decompressing {temporary} to {unpacked}"));
    let mut file = NamedTempFile::new_in(&worker.engine.files).map_err(|error| error.to_string())?;
    let source = || packed.reopen().map_err(|error| error.to_string());
    let mut magic = [0; 2];
    let is_packed = source()?.read_exact(&mut magic).is_ok() && magic == [0x1f, 0x8b];
    if is_packed && std::io::copy(&mut flate2::read::MultiGzDecoder::new(source()?), &mut file).is_ok() {
        return Ok((file, unpacked));
    }
    let complaint = if is_packed { "unexpected end of file" } else { "not in gzip format" };
    worker.log(format!("gzip: {temporary}: {complaint}"));
    Err(format!("command 'zcat {temporary}' failed: exit code 1"))
}
