//! Finishes the VM that Packer built: checks that it is a template with a disk and a guest agent, and removes its
//! drives with images.

use guest::Candidate;
use ownership::Marker;
use pve::{Properties, Qemu};
use tf_provider::Diagnostic;

use super::model::THING;
use crate::diagnostics::{self, Unable as _};
use crate::holders::is_drive;

/// Returns the description of a version: a line for people, and the marker.
pub(super) fn description(marker: &Marker) -> String {
    let family = marker.family.as_deref().unwrap_or_default();
    let number = marker.version.unwrap_or_default();
    format!("Version {number} of the template family {family}. Managed by pxci; do not change it by hand.\n{marker}")
}

/// Removes drives with images from the built template, and sets name, tags and description.
pub(super) async fn finish(built: &Candidate<Qemu>, marker: &Marker, name: &str, tags: &str) -> Result<(), Diagnostic> {
    let found = built.prove().await.unable("finish", THING, name)?;
    if let Some(problem) = problem(found.config()) {
        return Err(diagnostics::impossible("use", "the VM that Packer built as a template", name, problem));
    }
    let finished = built.change(|found| {
        let mut options =
            vec![("name", name.to_owned()), ("tags", tags.to_owned()), ("description", description(marker))];
        let drives = drives(found.config()).join(",");
        if !drives.is_empty() {
            options.push(("delete", drives));
        }
        options
    });
    finished.await.unable("finish", THING, name)?;

    let finished = built.prove().await.unable("finish", THING, name)?;
    let left = drives(finished.config());
    if left.is_empty() {
        return Ok(());
    }
    let detail = format!(
        "These drives still hold an image: {}. Clones would boot from the image, or could not be made on another node.",
        left.join(", ")
    );
    Err(diagnostics::impossible("finish", THING, name, detail))
}

/// Returns the reason why a guest cannot be a template version, or `None` if it can.
fn problem(config: &pve::Config) -> Option<String> {
    if !config.is_template() {
        return Some("It is a VM, not a template. The Packer template must not set `skip_convert_to_template`, and must use a Proxmox builder.".to_owned());
    }
    if !config.iter().any(|(option, value)| is_drive(option) && !is_removable(value)) {
        return Some("It has no disk.".to_owned());
    }
    let agent = config.get("agent").unwrap_or_default();
    if Properties::parse(agent).lone_or("enabled") == Some("1") {
        return None;
    }
    Some("The QEMU guest agent is not enabled in its configuration. Set `qemu_agent = true` in the Packer template, and install qemu-guest-agent in the image.".to_owned())
}

/// Returns the drives that are CD drives or hold PVE's own cloud-init data. Clones get their own drives.
fn drives(config: &pve::Config) -> Vec<&str> {
    config.iter().filter(|(option, value)| is_drive(option) && is_removable(value)).map(|(option, _)| option).collect()
}

fn is_removable(value: &str) -> bool {
    let drive = Properties::parse(value);
    drive.get("media") == Some("cdrom")
        || drive.lone_or("file").is_some_and(|volume| volume.ends_with("cloudinit") || volume.contains("-cloudinit."))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn config(json: serde_json::Value) -> pve::Config {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn drives_with_images_are_found_and_disks_are_not() {
        let config = config(json!({
            "ide0": "local:iso/packer123.iso,media=cdrom,size=368K", "ide2": "none,media=cdrom", "scsi1": "local-lvm:vm-9000-cloudinit,media=cdrom",
            "scsi0": "local-lvm:base-9000-disk-0,size=40G", "scsihw": "virtio-scsi-single"
        }));
        assert_eq!(drives(&config), ["ide0", "ide2", "scsi1"]);
    }

    #[test]
    fn a_vm_that_cannot_be_a_version_is_refused() {
        let good = json!({"template": 1, "agent": "enabled=1,fstrim_cloned_disks=1", "scsi0": "a:base-1-disk-0"});
        assert_eq!(problem(&config(good.clone())), None);
        for (option, value) in [("template", json!(0)), ("agent", json!("0")), ("scsi0", json!("none,media=cdrom"))] {
            let mut bad = good.clone();
            bad[option] = value;
            assert!(problem(&config(bad)).is_some(), "{option}");
        }
    }
}
