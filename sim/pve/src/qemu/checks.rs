//! Privileges that setting or deleting options of a VM needs; and values that PVE refuses before it starts a task.

use crate::engine::Engine;
use crate::guests;
use crate::guests::config::Change;
use crate::guests::tags;
use crate::params;
use crate::params::Params;
use crate::refusal::{Outcome, Refusal};
use crate::schema;
use crate::world::drives;
use crate::world::guest::Guest;
use crate::world::volumes::storage_of;

const CPU: [&str; 9] = ["cores", "cpu", "cpulimit", "cpuunits", "numa", "smp", "sockets", "vcpus", "affinity"];
const MEMORY: [&str; 4] = ["memory", "balloon", "shares", "allow-ksm"];
const HARDWARE: [&str; 14] = [
    "acpi",
    "hotplug",
    "kvm",
    "machine",
    "scsihw",
    "smbios1",
    "tablet",
    "vga",
    "watchdog",
    "audio0",
    "rng0",
    "keephugepages",
    "arch",
    "ivshmem_",
];
const GENERAL: [&str; 17] = [
    "agent",
    "autostart",
    "bios",
    "description",
    "keyboard",
    "localtime",
    "migrate_downtime",
    "migrate_speed",
    "name",
    "onboot",
    "ostype",
    "protection",
    "reboot",
    "startdate",
    "startup",
    "tdf",
    "template",
];
const DISK: [&str; 3] = ["boot", "bootdisk", "vmstatestorage"];

/// A caller who wants to change a VM, possibly one that is being created in a pool.
pub(crate) struct Applicant<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) caller: &'a str,
    pub(crate) vmid: u32,
    pub(crate) pool: Option<&'a str>,
}

impl Applicant<'_> {
    pub(crate) fn require(&self, privileges: &[&str]) -> Outcome<()> {
        let state = self.engine.state();
        if let Some(pool) = self.pool
            && state.may_any(self.caller, &format!("/pool/{pool}"), privileges)
        {
            return Ok(());
        }
        state.require_any(self.caller, &format!("/vms/{}", self.vmid), privileges)
    }

    /// Checks the privileges for options by their names. Drives, serial ports and tags are checked with their values.
    pub(crate) fn options<'k>(&self, keys: impl Iterator<Item = &'k String>) -> Outcome<()> {
        for key in keys {
            let numbered = |stem: &str| {
                key.strip_prefix(stem).is_some_and(|n| !n.is_empty() && n.chars().all(|c| c.is_ascii_digit()))
            };
            if drives::is_drive(key)
                || ["unused", "serial", "usb", "hostpci", "virtiofs"].iter().any(|stem| numbered(stem))
                || key == "tags"
            {
                continue;
            }
            let name = key.as_str();
            if CPU.contains(&name) || (numbered("numa")) {
                self.require(&["VM.Config.CPU"])?;
            } else if MEMORY.contains(&name) {
                self.require(&["VM.Config.Memory"])?;
            } else if HARDWARE.contains(&name) {
                self.require(&["VM.Config.HWType"])?;
            } else if GENERAL.contains(&name) {
                self.require(&["VM.Config.Options"])?;
                if name == "startup" {
                    self.engine.state().require(self.caller, "/", &["Sys.Modify"])?;
                }
            } else if name == "freeze" {
                self.require(&["VM.PowerMgmt"])?;
            } else if DISK.contains(&name) {
                self.require(&["VM.Config.Disk"])?;
            } else if drives::is_net(name) {
                self.require(&["VM.Config.Network"])?;
            } else if guests::pending::is_cloudinit_option(name) {
                self.require(&["VM.Config.Cloudinit", "VM.Config.Network"])?;
            } else if name == "vmstate" {
                self.require_all(&["VM.Config.Disk", "VM.PowerMgmt"])?;
            } else {
                return Err(Refusal::fault(format!("only root can set '{name}' config")));
            }
        }
        Ok(())
    }

    fn require_all(&self, privileges: &[&str]) -> Outcome<()> {
        privileges.iter().try_for_each(|privilege| self.require(&[privilege]))
    }

    /// Checks the privileges for a drive. The kind of drive decides, so `value` is the current or the new value.
    pub(crate) fn drive(&self, value: &str) -> Outcome<()> {
        if drives::is_cloudinit(value) {
            return self.require_all(&["VM.Config.Cloudinit", "VM.Config.CDROM"]);
        }
        let cdrom = drives::is_cdrom(value) || matches!(drives::file(value).as_str(), "none" | "cdrom");
        self.require(&[if cdrom { "VM.Config.CDROM" } else { "VM.Config.Disk" }])
    }

    /// Checks the privileges for devices of the node and their mappings. `verb` is PVE's word in the refusal.
    pub(crate) fn device(&self, key: &str, value: &str, verb: &str) -> Outcome<()> {
        let numbered =
            |stem: &str| key.strip_prefix(stem).is_some_and(|n| !n.is_empty() && n.chars().all(|c| c.is_ascii_digit()));
        let only_root =
            |verb: &str, what: &str| Refusal::fault(format!("only root can {verb} '{key}' config for {what}"));
        let mapped = |path: String| self.engine.state().require(self.caller, &path, &["Mapping.Use"]);
        let parts = drives::parse(value);
        let host = parts.get("host").or_else(|| parts.get("file"));
        if numbered("serial") {
            if value != "socket" {
                return Err(only_root(verb, "real devices"));
            }
            return self.require(&["VM.Config.HWType"]);
        }
        if numbered("usb") {
            self.require(&["VM.Config.HWType"])?;
            return match (host, parts.get("mapping")) {
                (Some(host), _) if host.eq_ignore_ascii_case("spice") => Ok(()),
                (Some(_), _) => Err(only_root("set", "real devices")),
                (None, Some(mapping)) => mapped(format!("/mapping/usb/{mapping}")),
                (None, None) => Err(Refusal::fault("either 'host' or 'mapping' must be set.")),
            };
        }
        if numbered("hostpci") {
            return match (host, parts.get("mapping")) {
                (Some(_), _) => Err(only_root("set", "non-mapped devices")),
                (None, Some(mapping)) => {
                    mapped(format!("/mapping/pci/{mapping}"))?;
                    self.require(&["VM.Config.HWType"])
                }
                (None, None) => Err(Refusal::fault("either 'host' or 'mapping' must be set.")),
            };
        }
        if numbered("rng") {
            self.require(&["VM.Config.HWType"])?;
            let hardware = parts.get("source").or_else(|| parts.get("file")).is_some_and(|from| from == "/dev/hwrng");
            return if hardware { mapped("/mapping/hwrng".to_owned()) } else { Ok(()) };
        }
        if numbered("virtiofs") {
            self.require(&["VM.Config.Disk"])?;
            let directory = parts.get("dirid").or_else(|| parts.get("file")).cloned().unwrap_or_default();
            return mapped(format!("/mapping/dir/{directory}"));
        }
        Ok(())
    }

    /// Checks the devices and tags of a change, including the existing values.
    pub(crate) fn values(&self, guest: &Guest, change: &Change) -> Outcome<()> {
        for key in change.options.0.keys() {
            let value = change.options.text(key).unwrap_or_default();
            if let Some(old) = guest.get(key) {
                self.device(key, old, "modify")?;
            }
            self.device(key, value, "modify")?;
            if key == "tags" {
                tags::require(&self.engine.state(), self.caller, self.vmid, guest.get("tags"), Some(value))?;
            }
        }
        Ok(())
    }

    /// Checks the devices of a VM that is being created.
    pub(crate) fn valued(&self, params: &Params) -> Outcome<()> {
        params.0.keys().try_for_each(|key| self.device(key, params.text(key).unwrap_or_default(), "set"))
    }

    /// Checks the privileges for the storages that drives use.
    pub(crate) fn storages(&self, params: &Params) -> Outcome<()> {
        for (key, _) in params.0.iter().filter(|(key, _)| drives::is_drive(key)) {
            let value = params.text(key).unwrap_or_default();
            let drive = drives::parse(value);
            let file = drive.get("file").map(String::as_str).unwrap_or_default();
            if file == "cdrom" {
                self.engine.state().require(self.caller, "/", &["Sys.Console"])?;
                continue;
            }
            let (storage, name) = file.split_once(':').unwrap_or(("", file));
            if matches!(file, "none" | "cloudinit") || name == "cloudinit" {
                continue;
            }
            if name.parse::<f64>().is_ok() && !drives::is_cdrom(value) {
                self.new_volume(storage)?;
            } else {
                self.existing(key, file)?;
            }
            if let Some(source) = drive.get("import-from") {
                self.source(key, source)?;
            }
        }
        Ok(())
    }

    fn new_volume(&self, storage: &str) -> Outcome<()> {
        let state = self.engine.state();
        state.require(self.caller, &format!("/storage/{storage}"), &["Datastore.AllocateSpace"])?;
        let Some(found) = state.storages.get(storage) else {
            return Err(Refusal::fault(format!("storage '{storage}' does not exist")));
        };
        if found.holds("images") {
            return Ok(());
        }
        Err(Refusal::parameter("storage", format!("storage '{storage}' does not support vm images")))
    }

    fn source(&self, key: &str, source: &str) -> Outcome<()> {
        let state = self.engine.state();
        if !source.contains(':') {
            return state.volume_access(self.caller, Some(self.vmid), source, None);
        }
        let named = state.named(source)?;
        if !matches!(named.content, "images" | "import") {
            let text = format!("{source} has wrong type '{}' - needs to be 'images' or 'import'", named.content);
            return Err(Refusal::parameter(key, text));
        }
        match named.owner {
            // The volume may be in use. It is copied as in a clone.
            Some(owner) => state.require(self.caller, &format!("/vms/{owner}"), &["VM.Clone"]),
            None => state.volume_access(self.caller, Some(self.vmid), source, None),
        }
    }

    fn existing(&self, key: &str, volid: &str) -> Outcome<()> {
        self.engine.state().volume_access(self.caller, Some(self.vmid), volid, None)?;
        let content = self.engine.state().named(volid).ok();
        if content.is_some_and(|named| !matches!(named.content, "images" | "iso")) {
            return Err(Refusal::parameter(key, "content type needs to be 'images' or 'iso'"));
        }
        Ok(())
    }

    /// Checks the privileges for the bridges that network cards use.
    pub(crate) fn bridges<'v>(&self, values: impl Iterator<Item = &'v str>) -> Outcome<()> {
        for value in values {
            let Some(bridge) = drives::bridge(value) else { continue };
            let mut path = format!("/sdn/zones/localnetwork/{bridge}");
            if let Some(tag) = drives::parse(value).get("tag") {
                path = format!("{path}/{tag}");
            }
            self.engine.state().require(self.caller, &path, &["SDN.Use"])?;
        }
        Ok(())
    }
}

/// Refuses wrong drive values with `400`.
pub(crate) fn drive_values(engine: &Engine, params: &Params) -> Outcome<()> {
    for (key, _) in params.0.iter().filter(|(key, _)| drives::is_drive(key)) {
        let value = params.text(key).unwrap_or_default();
        let drive = drives::parse(value);
        let file = drive.get("file").map(String::as_str).unwrap_or_default();
        if drive.contains_key("import-from") && !file.ends_with(":0") {
            return Err(Refusal::parameter(
                key,
                "'import-from' requires special syntax - use <storage ID>:0,import-from=<source>",
            ));
        }
        for (device, wanted) in [("efidisk0", "efitype"), ("efidisk0", "pre-enrolled-keys"), ("tpmstate0", "version")] {
            if key == device && drive.contains_key("import-from") && !drive.contains_key(wanted) {
                let text = if device == "efidisk0" {
                    format!("need to specify '{wanted}' when using 'import-from'")
                } else {
                    "need to specify 'version' when using 'import-from'".to_owned()
                };
                return Err(Refusal::parameter(key, text));
            }
        }
        if let Some((storage, name)) = file.split_once(':')
            && name != "cloudinit"
            && name.parse::<f64>().is_err()
            && !engine.state().storages.contains_key(storage)
        {
            return Err(Refusal::fault(format!("storage '{storage}' does not exist")));
        }
        if file.contains(":iso/") && !drives::is_cdrom(value) {
            return Err(Refusal::parameter(key, "explicit 'media=cdrom' is required for iso images"));
        }
    }
    Ok(())
}

/// Brings all values into their stored form.
pub(crate) fn normalise(engine: &Engine, params: &mut Params) {
    let keys: Vec<String> = params.0.keys().cloned().collect();
    for key in keys {
        let Some(value) = params.text(&key).map(str::to_owned) else { continue };
        if drives::is_net(&key) {
            let printed = network(engine, &value);
            params.insert_text(&key, printed);
        } else if key == "tags" {
            params.insert_text(&key, unique_tags(&value));
        } else if drives::is_drive(&key) {
            let mut drive = drives::parse(&value);
            for flag in ["iothread", "ssd", "replicate", "backup", "ro", "detect_zeroes"] {
                if let Some(word) = drive.get_mut(flag) {
                    *word = word.replace("true", "1").replace("false", "0");
                }
            }
            if drive.get("media").map(String::as_str) == Some("disk") {
                drive.remove("media");
            }
            if drive.get("file").is_some_and(|file| file.ends_with(":cloudinit")) {
                drive.insert("media".into(), "cdrom".into());
            }
            let printed = schema::propstring::print(&drive, "file", &[]);
            params.insert_text(&key, printed);
        }
    }
}

/// Returns the stored form of a network card, `model=MAC,…`. A card without a MAC address gets one with PVE's prefix.
pub(crate) fn network(engine: &Engine, value: &str) -> String {
    let mut parts = drives::parts(value);
    let first = parts.next().unwrap_or_default();
    let mut fields = drives::parse(&parts.collect::<Vec<_>>().join(","));
    fields.remove("file");
    let (mut model, mut mac) = match first.split_once('=') {
        Some(("model", model)) => (model.to_owned(), None),
        Some((model, mac)) => (model.to_owned(), Some(mac.to_owned())),
        None => (first.to_owned(), None),
    };
    if model == "bridge" || model == "macaddr" {
        // The model is not the first part.
        let all = drives::parse(value);
        model = all.get("model").cloned().unwrap_or_else(|| "virtio".to_owned());
        mac = None;
        fields = all;
        fields.remove("file");
    }
    fields.remove("model");
    let mac = fields.remove("macaddr").or(mac).unwrap_or_else(|| engine.state().mac());
    if let Some(flag) = fields.get_mut("firewall") {
        *flag = flag.replace("true", "1").replace("false", "0");
    }
    let mut out = format!("{model}={}", mac.to_uppercase());
    for (key, value) in fields {
        out.push_str(&format!(",{key}={value}"));
    }
    out
}

/// Returns tags in lower case, sorted, without duplicates.
pub(crate) fn unique_tags(value: &str) -> String {
    let mut all: Vec<String> = params::split_list(value).iter().map(|tag| tag.to_lowercase()).collect();
    all.sort();
    all.dedup();
    all.join(";")
}

/// Checks that the snippets of `cicustom` exist, because an image is made from them.
pub(crate) fn snippets_exist(engine: &Engine, guest: &Guest) -> Result<(), String> {
    let Some(text) = guest.get("cicustom") else { return Ok(()) };
    for (_, volid) in drives::parse(text) {
        let state = engine.state();
        state.usable(&guest.node, storage_of(&volid))?;
        if state.volume(&guest.node, &volid).is_none() {
            return Err(format!("volume '{volid}' does not exist"));
        }
    }
    Ok(())
}
