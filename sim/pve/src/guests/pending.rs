//! Pending changes of guests: those that wait until the guest stops, and those that a running guest accepts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::status;
use crate::engine::Engine;
use crate::storage::disks;
use crate::storage::messages;
use crate::world::drives;
use crate::world::guest::{Guest, Kind, Pending};
use crate::{lxc, qemu};

/// Options that a running VM accepts immediately.
const HOTPLUGGED: [&str; 15] = [
    "autostart",
    "description",
    "lock",
    "name",
    "onboot",
    "shares",
    "startup",
    "tags",
    "vmstatestorage",
    "protection",
    "migrate_downtime",
    "migrate_speed",
    "hookscript",
    "digest",
    "template",
];

/// Returns true for options of cloud-init, which a VM accepts immediately.
pub(crate) fn is_cloudinit_option(key: &str) -> bool {
    matches!(
        key,
        "ciuser" | "cipassword" | "citype" | "ciupgrade" | "cicustom" | "sshkeys" | "nameserver" | "searchdomain"
    ) || key.strip_prefix("ipconfig").is_some_and(|n| n.chars().all(|c| c.is_ascii_digit()))
}

/// Applies all pending changes of a stopped guest.
pub(crate) async fn apply_pending(engine: &Arc<Engine>, vmid: u32) {
    let Some(guest) = engine.with_guest(vmid, |guest| guest.clone()) else { return };
    if guest.run.is_some() || !engine.state().is_online(&guest.node) {
        return;
    }
    for (key, change) in guest.pending {
        apply(engine, vmid, &key, &change).await;
    }
}

/// Applies one change and removes it from the pending ones.
pub(crate) async fn apply(engine: &Arc<Engine>, vmid: u32, key: &str, change: &Pending) {
    let old = engine.with_guest(vmid, |guest| guest.config.get(key).cloned()).flatten();
    let is_volume = drives::is_drive(key) || drives::is_mount(key) || drives::is_unused(key);
    let mut to_free = None;
    if let Some(old) = old.filter(|_| is_volume)
        && disks::owns(engine, vmid, &old)
    {
        let volid = drives::file(&old);
        let replaced = !matches!(change, Pending::Set(new) if drives::file(new) == volid);
        let forced = matches!(change, Pending::Delete(true)) || drives::is_unused(key);
        if replaced && (forced || drives::is_cloudinit(&old)) {
            to_free = Some(volid);
        } else if replaced {
            engine.with_guest(vmid, |guest| {
                guest.config.remove(key);
                disks::keep_unused(guest, &volid);
            });
        }
    }
    engine.with_guest(vmid, |guest| {
        guest.pending.remove(key);
        match change {
            Pending::Set(value) => {
                if is_volume {
                    let volid = drives::file(value);
                    guest.config.retain(|name, held| !(drives::is_unused(name) && drives::file(held) == volid));
                }
                guest.set(key, value);
                limits(guest, key, value);
            }
            Pending::Delete(_) => {
                guest.config.remove(key);
            }
        }
    });
    if let Some(volid) = to_free {
        let node = engine.with_guest(vmid, |guest| guest.node.clone()).unwrap_or_default();
        let _ = disks::free(engine, &node, &volid, &messages::quiet).await;
    }
}

/// Applies new limits of the control group to a running container. VMs get processors and memory by hotplug instead.
///
/// Source: `vmconfig_hotplug_pending` in pve-container's `LXC/Config.pm`.
fn limits(guest: &mut Guest, key: &str, value: &str) {
    if guest.kind != Kind::Lxc {
        return;
    }
    let memory = status::memory(guest);
    let Some(run) = &mut guest.run else { return };
    match key {
        "memory" => run.memory = memory,
        "cores" => run.cores = value.parse().unwrap_or(run.cores),
        _ => {}
    }
}

/// Applies those changes that a running guest accepts. The others stay pending. Returns the errors by option.
pub(crate) async fn hotplug(engine: &Arc<Engine>, vmid: u32, changed: &[String]) -> BTreeMap<String, String> {
    let mut errors = BTreeMap::new();
    let Some(guest) = engine.with_guest(vmid, |guest| guest.clone()) else { return errors };
    for key in changed {
        let Some(change) = guest.pending.get(key) else { continue };
        match hotplug_of(&guest, key, change) {
            Hotplug::Now => apply(engine, vmid, key, change).await,
            Hotplug::Later => {}
            Hotplug::Fails(text, seconds) => {
                engine.wait(Duration::from_secs(seconds)).await;
                errors.insert(key.clone(), text);
            }
        }
    }
    if changed.iter().any(|key| drives::is_net(key)) {
        let cards = engine.with_guest(vmid, |guest| match guest.kind {
            Kind::Qemu => qemu::cards::of(&guest.config),
            Kind::Lxc => lxc::setup::cards(&guest.config),
        });
        engine.backend.cards_changed(vmid, cards.unwrap_or_default());
    }
    errors
}

enum Hotplug {
    Now,
    Later,
    Fails(String, u64),
}

fn hotplug_of(guest: &Guest, key: &str, change: &Pending) -> Hotplug {
    if guest.kind == Kind::Lxc {
        return container_hotplug(guest, key, change);
    }
    if HOTPLUGGED.contains(&key) || is_cloudinit_option(key) || drives::is_unused(key) {
        return Hotplug::Now;
    }
    let has_system = guest.run.as_ref().is_some_and(|run| run.agent);
    if drives::is_net(key) {
        let same_card = matches!((guest.get(key), change), (Some(old), Pending::Set(new)) if card(old) == card(new));
        if guest.get(key).is_none() || same_card || has_system {
            return Hotplug::Now;
        }
        return Hotplug::Fails(
            format!("hotplug problem - error on hot-unplugging device '{key}' - still busy in guest?\n"),
            5,
        );
    }
    if !drives::is_drive(key) {
        return Hotplug::Later;
    }
    drive_hotplug(guest, key, change, has_system)
}

fn drive_hotplug(guest: &Guest, key: &str, change: &Pending, has_system: bool) -> Hotplug {
    let old = guest.get(key);
    let hot = key.starts_with("scsi") || key.starts_with("virtio");
    match change {
        Pending::Set(new) => match old {
            Some(old) if drives::is_cdrom(old) && drives::is_cdrom(new) => Hotplug::Now,
            Some(old) if drives::file(old) == drives::file(new) => Hotplug::Now,
            None if hot => Hotplug::Now,
            _ => Hotplug::Later,
        },
        Pending::Delete(_) if !hot => Hotplug::Later,
        Pending::Delete(_) => {
            let boot = drives::boot_order(guest.get("boot"));
            if boot.iter().find(|name| drives::is_drive(name)).is_some_and(|name| name == key) {
                return Hotplug::Fails(format!("hotplug problem - can't unplug bootdisk '{key}'\n"), 0);
            }
            if has_system {
                return Hotplug::Now;
            }
            Hotplug::Fails(
                format!("hotplug problem - error on hot-unplugging device '{key}' - still busy in guest?\n"),
                5,
            )
        }
    }
}

/// Returns the part of a network card that cannot change without unplugging the card.
fn card(value: &str) -> Option<String> {
    drives::parts(value).next().map(str::to_ascii_lowercase)
}

fn container_hotplug(guest: &Guest, key: &str, change: &Pending) -> Hotplug {
    match key {
        "cmode" | "features" | "arch" | "console" | "tty" | "unprivileged" | "ostype" | "env" | "entrypoint"
        | "nameserver" | "searchdomain" | "timezone" => Hotplug::Later,
        key if drives::is_mount(key) && matches!(change, Pending::Delete(_)) => Hotplug::Later,
        key if drives::is_mount(key) && guest.get(key).is_none() => {
            Hotplug::Fails(format!("unable to hotplug {key}: failed to change apparmor profile: Invalid argument\n"), 0)
        }
        key if drives::is_mount(key) => Hotplug::Later,
        _ => Hotplug::Now,
    }
}
