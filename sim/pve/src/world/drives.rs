//! Names and values of drives and network cards in configurations, and sizes.

use crate::schema::propstring::Parsed;

/// Returns all drive names in the order in which PVE looks for boot devices.
pub(crate) fn names() -> Vec<String> {
    let groups = [("ide", 4), ("scsi", 31), ("virtio", 16), ("sata", 6)];
    groups.iter().flat_map(|(stem, count)| (0..*count).map(move |n| format!("{stem}{n}"))).collect()
}

fn numbered(name: &str, stem: &str) -> bool {
    name.strip_prefix(stem).is_some_and(|n| !n.is_empty() && n.chars().all(|c| c.is_ascii_digit()))
}

pub(crate) fn is_drive(name: &str) -> bool {
    ["ide", "scsi", "virtio", "sata"].iter().any(|stem| numbered(name, stem))
        || matches!(name, "efidisk0" | "tpmstate0")
}

pub(crate) fn is_net(name: &str) -> bool {
    numbered(name, "net")
}

pub(crate) fn is_unused(name: &str) -> bool {
    numbered(name, "unused")
}

pub(crate) fn is_mount(name: &str) -> bool {
    name == "rootfs" || numbered(name, "mp")
}

/// Returns the parts of a property string that are not blank, because PVE skips blank ones.
///
/// Source: `parse_property_string` in PVE's `JSONSchema.pm`.
pub(crate) fn parts(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').filter(|part| !part.trim().is_empty())
}

/// Returns keys and values. The part without `=` has the key `file`.
pub(crate) fn parse(value: &str) -> Parsed {
    let mut out = Parsed::new();
    for part in parts(value) {
        match part.split_once('=') {
            Some((key, value)) => out.insert(key.to_owned(), value.to_owned()),
            None => out.insert("file".to_owned(), part.to_owned()),
        };
    }
    if let Some(volume) = out.remove("volume") {
        out.insert("file".to_owned(), volume);
    }
    out
}

pub(crate) fn file(value: &str) -> String {
    parse(value).remove("file").unwrap_or_default()
}

pub(crate) fn is_cdrom(value: &str) -> bool {
    value.split(',').any(|part| part == "media=cdrom")
}

pub(crate) fn is_cloudinit(value: &str) -> bool {
    let file = file(value);
    file.ends_with(":cloudinit") || file.contains("-cloudinit.") || file.ends_with("-cloudinit")
}

/// Returns the devices of a boot order such as `order=a;b`.
pub(crate) fn boot_order(boot: Option<&str>) -> Vec<String> {
    let Some(order) = boot.and_then(|b| b.split(',').find_map(|part| part.strip_prefix("order="))) else {
        return Vec::new();
    };
    order.split(';').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

pub(crate) fn print_boot(order: &[String]) -> String {
    if order.is_empty() { " ".to_owned() } else { format!("order={}", order.join(";")) }
}

/// Returns the bytes of a size such as `32M`. A number without a unit is in bytes.
pub(crate) fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = match text.char_indices().last()? {
        (at, 'K') => (&text[..at], 1 << 10),
        (at, 'M') => (&text[..at], 1 << 20),
        (at, 'G') => (&text[..at], 1 << 30),
        (at, 'T') => (&text[..at], 1_u64 << 40),
        _ => (text, 1),
    };
    let number: f64 = number.parse().ok()?;
    (number >= 0.0).then_some(round(number * to_float(unit)))
}

fn to_float(number: u64) -> f64 {
    number as f64
}

fn round(number: f64) -> u64 {
    number as u64
}

/// Returns the bytes of a size in GiB as in `storage:0.5`, rounded to KiB.
pub(crate) fn gigabytes(text: &str) -> Option<u64> {
    let number: f64 = text.parse().ok()?;
    (number >= 0.0).then_some(round(number * 1024.0 * 1024.0) << 10)
}

/// Returns the shortest exact form of a size. Zero is `0T`, as in PVE.
pub(crate) fn print_size(bytes: u64) -> String {
    let mut number = bytes;
    let mut unit = "";
    for next in ["K", "M", "G", "T"] {
        if !number.is_multiple_of(1024) {
            break;
        }
        number /= 1024;
        unit = next;
    }
    format!("{number}{unit}")
}

pub(crate) fn size_of(value: &str) -> Option<u64> {
    parse_size(&parse(value).remove("size")?)
}

/// Returns true if the agent is enabled by a value such as `1` or `enabled=1,…`.
pub(crate) fn agent_enabled(value: Option<&str>) -> bool {
    value.is_some_and(|v| v.split(',').any(|part| part == "1" || part == "enabled=1"))
}

/// Returns the bridge of a network card.
pub(crate) fn bridge(value: &str) -> Option<String> {
    parse(value).remove("bridge")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_print_as_pve_prints_them() {
        assert_eq!(print_size(473_088), "462K");
        assert_eq!(print_size(540_672), "528K");
        assert_eq!(print_size(1 << 30), "1G");
        assert_eq!(print_size(600), "600");
        assert_eq!(print_size(0), "0T");
        assert_eq!(gigabytes("0.03125"), Some(32 << 20));
        assert_eq!(parse_size("65536K"), Some(64 << 20));
    }

    #[test]
    fn blank_parts_are_skipped() {
        assert_eq!(parse("local-lvm:cloudinit,"), parse("local-lvm:cloudinit"));
        assert_eq!(parse(" ,thin:1,,size=1G, "), parse("thin:1,size=1G"));
    }

    #[test]
    fn a_cloud_init_drive_is_known_by_its_volume() {
        assert!(is_cloudinit("store:9000/vm-9000-cloudinit.qcow2,media=cdrom"));
        assert!(is_cloudinit("store:cloudinit"));
        assert!(!is_cloudinit("local:iso/seed.iso,media=cdrom"));
    }
}
