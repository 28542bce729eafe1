//! Privileges that setting or deleting an option of a container needs.

use crate::engine::Engine;
use crate::guests::tags;
use crate::qemu;
use crate::refusal::{Outcome, Refusal};
use crate::world::drives;
use crate::world::guest::Guest;

/// A request to change the options of a container, or to create one with them.
pub(crate) struct Applicant<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) caller: &'a str,
    pub(crate) vmid: u32,
    pub(crate) pool: Option<&'a str>,
    pub(crate) before: Option<&'a Guest>,
    pub(crate) unprivileged: bool,
}

impl Applicant<'_> {
    /// Checks the privileges for one option. `value` is `None` if the option is deleted or reverted.
    pub(crate) fn option(&self, key: &str, value: Option<&str>) -> Outcome<()> {
        let applicant =
            qemu::checks::Applicant { engine: self.engine, caller: self.caller, vmid: self.vmid, pool: self.pool };
        let need = |privilege: &str| applicant.require(&[privilege]);
        if self.caller == "root@pam" {
            return Ok(());
        }
        match key {
            "cores" | "cpuunits" | "cpulimit" => need("VM.Config.CPU"),
            "memory" | "swap" => need("VM.Config.Memory"),
            "nameserver" | "searchdomain" | "hostname" => need("VM.Config.Network"),
            "features" => self.features(value, need),
            "tags" => {
                let old = self.before.and_then(|guest| guest.get("tags"));
                tags::require(&self.engine.state(), self.caller, self.vmid, old, value)
            }
            "hookscript" => Err(Refusal::permission("changing the hookscript is only allowed for root@pam")),
            key if key.strip_prefix("dev").is_some_and(|n| n.parse::<u32>().is_ok()) => {
                Err(Refusal::permission("configuring device passthrough is only allowed for root@pam"))
            }
            key if drives::is_mount(key) => {
                need("VM.Config.Disk")?;
                let Some(value) = value else { return Ok(()) };
                let file = drives::file(value);
                if file.starts_with('/') {
                    let kind = if file.starts_with("/dev/") { "device" } else { "bind" };
                    return Err(Refusal::permission(&format!("mount point type {kind} is only allowed for root@pam")));
                }
                mount_privilege(self.engine, self.caller, self.vmid, &file)
            }
            key if drives::is_net(key) => {
                need("VM.Config.Network")?;
                let old = self.before.and_then(|guest| guest.get(key));
                applicant.bridges(old.into_iter().chain(value))
            }
            _ => need("VM.Config.Options"),
        }
    }

    fn features(&self, value: Option<&str>, need: impl Fn(&str) -> Outcome<()>) -> Outcome<()> {
        if !self.unprivileged {
            let text = "changing feature flags for privileged container is only allowed for root@pam";
            return Err(Refusal::permission(text));
        }
        let parse = |text: Option<&str>| drives::parse(text.unwrap_or_default());
        let (mut old, mut new) = (parse(self.before.and_then(|guest| guest.get("features"))), parse(value));
        old.remove("file");
        new.remove("file");
        let changed = |key: &&String| old.get(*key) != new.get(*key);
        let keys: Vec<&String> = old.keys().chain(new.keys()).filter(changed).collect();
        if keys.iter().any(|key| *key != "nesting") {
            let text = "changing feature flags (except nesting) is only allowed for root@pam";
            return Err(Refusal::permission(text));
        }
        if keys.is_empty() { Ok(()) } else { need("VM.Allocate") }
    }
}

/// Checks the privilege for a mount point: space for a new volume, access to an existing one.
fn mount_privilege(engine: &Engine, caller: &str, vmid: u32, file: &str) -> Outcome<()> {
    let Some((storage, name)) = file.split_once(':') else { return Ok(()) };
    let path = format!("/storage/{storage}");
    let state = engine.state();
    if name.parse::<f64>().is_ok() {
        return state.require(caller, &path, &["Datastore.AllocateSpace"]);
    }
    state.volume_access(caller, Some(vmid), file, Some("rootdir"))
}

pub(crate) fn mount_access(engine: &Engine, node: &str, caller: &str, value: &str) -> Outcome<()> {
    let file = drives::file(value);
    let Some((storage, _)) = file.split_once(':') else { return Ok(()) };
    let state = engine.state();
    let found = state.usable(node, storage).map_err(Refusal::fault)?;
    state.require(caller, &format!("/storage/{storage}"), &["Datastore.AllocateSpace"])?;
    if found.holds("rootdir") {
        return Ok(());
    }
    Err(Refusal::parameter("storage", format!("storage '{storage}' does not support container directories")))
}
