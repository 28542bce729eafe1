//! Naming of volumes, formats and features by storage type.
//!
//! Source: `parse_volname`, `get_formats`, `volume_has_feature`, `create_base`, `clone_image` of the plugins of
//! pve-storage.

use serde_json::{Map, Value};

/// The way in which a storage type keeps volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Files below a path: `dir`, `nfs`, `cifs`, `cephfs`, `btrfs`.
    Files,
    /// Logical volumes with all their space allocated: `lvm`.
    Lvm,
    /// Logical volumes in a thin pool: `lvmthin`.
    LvmThin,
    /// ZFS datasets: `zfspool`.
    Zfs,
    /// Ceph block devices: `rbd`.
    Rbd,
}

/// An operation that a storage type may support for a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Feature {
    /// Linked clone.
    Clone,
    /// Full copy.
    Copy,
    /// Conversion to a base image.
    Template,
}

/// The parts of a volume's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    /// Content type: `images`, `iso`, `vztmpl`, `backup`, `snippets` or `import`.
    pub(crate) content: &'static str,
    pub(crate) owner: Option<u32>,
    /// Name of the file or volume, without the owner's directory and the base image.
    pub(crate) name: String,
    /// True for a base image.
    pub(crate) is_base: bool,
    /// Format by the name's suffix: `raw`, `qcow2`, `vmdk` or `subvol`.
    pub(crate) format: String,
}

impl Named {
    fn image(name: &str, owner: Option<u32>, format: &str) -> Self {
        let is_base = name.starts_with("base-") || name.starts_with("basevol-");
        Self { content: "images", owner, name: name.to_owned(), is_base, format: format.to_owned() }
    }
}

/// Returns true for types that are always shared, regardless of the definition.
pub(crate) fn always_shared(kind: &str) -> bool {
    matches!(kind, "iscsi" | "nfs" | "cifs" | "rbd" | "cephfs" | "iscsidirect" | "zfs" | "drbd" | "pbs")
}

impl Layout {
    /// Returns the layout of a storage type. Unknown types are treated as files.
    pub(crate) fn of(kind: &str) -> Self {
        match kind {
            "lvm" => Self::Lvm,
            "lvmthin" => Self::LvmThin,
            "zfspool" => Self::Zfs,
            "rbd" => Self::Rbd,
            _ => Self::Files,
        }
    }

    /// Returns the possible formats, sorted, and the default format.
    pub(crate) fn formats(self, kind: &str) -> (&'static [&'static str], &'static str) {
        match self {
            Self::Files if kind == "dir" => (&["qcow2", "raw", "subvol", "vmdk"], "raw"),
            Self::Files => (&["qcow2", "raw", "vmdk"], "raw"),
            Self::Lvm => (&["qcow2", "raw"], "raw"),
            Self::LvmThin | Self::Rbd => (&["raw"], "raw"),
            Self::Zfs => (&["raw", "subvol"], "raw"),
        }
    }

    /// Returns the name of a guest's disk.
    pub(crate) fn disk_name(self, vmid: u32, number: u32, format: &str) -> String {
        let stem = if format == "subvol" { "subvol" } else { "vm" };
        match self {
            Self::Files => format!("{vmid}/{stem}-{vmid}-disk-{number}.{format}"),
            Self::Lvm if format == "qcow2" => format!("{stem}-{vmid}-disk-{number}.qcow2"),
            _ => format!("{stem}-{vmid}-disk-{number}"),
        }
    }

    /// Returns the name of a guest's cloud-init drive.
    pub(crate) fn cloudinit_name(self, vmid: u32, format: &str) -> String {
        match self {
            Self::Files => format!("{vmid}/vm-{vmid}-cloudinit.{format}"),
            _ => format!("vm-{vmid}-cloudinit"),
        }
    }

    /// Returns the name of a linked clone of `base`. `own` is the name without the base image.
    pub(crate) fn clone_name(self, base: &str, own: &str) -> String {
        match self {
            Self::LvmThin | Self::Lvm => own.to_owned(),
            _ => format!("{base}/{own}"),
        }
    }

    /// Returns true if a linked clone can be distinguished from other volumes. Otherwise its base can be deleted.
    pub(crate) fn knows_bases(self) -> bool {
        !matches!(self, Self::LvmThin | Self::Lvm)
    }

    /// Returns the bytes that a new volume of this size gets, because some types round up.
    pub(crate) fn rounded(self, bytes: u64) -> u64 {
        let unit = match self {
            Self::Files => 1,
            Self::Lvm | Self::LvmThin => 4 << 20,
            Self::Zfs | Self::Rbd => 1 << 20,
        };
        bytes.div_ceil(unit) * unit
    }

    /// Parses the part of a volume id after the storage's name. The error is PVE's text.
    pub(crate) fn parse(self, name: &str) -> Result<Named, String> {
        let unknown = match self {
            Self::Files => return files(name),
            Self::Lvm | Self::LvmThin => format!("unable to parse lvm volume name '{name}'"),
            Self::Zfs => format!("unable to parse zfs volume name '{name}'"),
            Self::Rbd => format!("unable to parse rbd volume name '{name}'"),
        };
        let stems: &[&str] = match self {
            Self::Lvm => &["vm"],
            Self::Zfs => &["base", "basevol", "vm", "subvol"],
            _ => &["base", "vm"],
        };
        if matches!(self, Self::Lvm | Self::LvmThin) && !is_lvm_name(name) {
            return Err(format!("lvm name '{name}' contains illegal characters"));
        }
        let (base, own) = match name.split_once('/') {
            Some((base, own)) if self.knows_bases() => (Some(base), own),
            Some(_) => return Err(unknown),
            None => (None, name),
        };
        if base.is_some_and(|base| numbered(base, &["base", "basevol"]).is_none()) {
            return Err(unknown);
        }
        let Some(owner) = numbered(own, stems) else { return Err(unknown) };
        let format = match own.split('-').next() {
            Some("subvol" | "basevol") => "subvol",
            _ if self == Self::Lvm && own.rsplit('.').next() == Some("qcow2") => "qcow2",
            _ => "raw",
        };
        Ok(Named::image(own, Some(owner), format))
    }

    /// Returns the name of a volume after its conversion to a base image.
    pub(crate) fn base_name(self, name: &str) -> Option<String> {
        let (head, own) = name.rsplit_once('/').map_or((None, name), |(head, own)| (Some(head), own));
        let renamed = match own.strip_prefix("subvol-") {
            Some(rest) if self == Self::Zfs => format!("basevol-{rest}"),
            _ => format!("base-{}", own.strip_prefix("vm-")?),
        };
        Some(head.map_or_else(|| renamed.clone(), |head| format!("{head}/{renamed}")))
    }

    /// Returns true if the storage type supports an operation on a volume, or on a snapshot of it.
    pub(crate) fn can(self, feature: Feature, named: &Named, snapshot: bool) -> bool {
        let current = !snapshot && !named.is_base;
        let qcow2 = named.format == "qcow2";
        match (self, feature) {
            (Self::Files, Feature::Clone) => named.is_base && !snapshot && named.format != "subvol",
            (Self::Files, Feature::Copy) if snapshot => qcow2,
            (Self::Files, Feature::Copy) => named.format != "subvol",
            (Self::Lvm, Feature::Clone | Feature::Template) => false,
            (Self::Lvm, Feature::Copy) => !snapshot || qcow2,
            (Self::LvmThin | Self::Rbd, Feature::Clone) => named.is_base || snapshot,
            (Self::LvmThin | Self::Rbd, Feature::Copy) => true,
            (Self::Zfs, Feature::Clone) => named.is_base && !snapshot,
            (Self::Zfs, Feature::Copy) => !snapshot,
            (_, Feature::Template) => current,
        }
    }

    /// Returns the reason why a new volume cannot have a format, or `None` if it can.
    pub(crate) fn refuses_format(self, format: &str) -> Option<String> {
        let at = match self {
            Self::LvmThin if format != "raw" => "LvmThinPlugin.pm line 102",
            Self::Zfs if !matches!(format, "raw" | "subvol") => "ZFSPoolPlugin.pm line 292",
            Self::Lvm if format == "qcow2" => {
                return Some(
                    "snapshot-as-volume-chain option need to be enabled to use qcow2 format at /usr/share/perl5/PVE/Storage/LVMPlugin.pm line 698."
                        .to_owned(),
                );
            }
            _ => return None,
        };
        Some(format!("unsupported format '{format}' at /usr/share/perl5/PVE/Storage/{at}."))
    }

    /// Returns the path of a volume on a node.
    pub(crate) fn path(self, storage: &str, definition: &Map<String, Value>, name: &str) -> String {
        let text =
            |key: &str, otherwise: &str| definition.get(key).and_then(Value::as_str).unwrap_or(otherwise).to_owned();
        let own = name.rsplit('/').next().unwrap_or(name);
        match self {
            Self::Files => file_path(&text("path", ""), name),
            Self::Lvm | Self::LvmThin => format!("/dev/{}/{own}", text("vgname", "")),
            Self::Zfs if own.starts_with("subvol-") || own.starts_with("basevol-") => {
                let pool = text("pool", "");
                format!("{}/{own}", text("mountpoint", &format!("/{pool}")))
            }
            Self::Zfs => format!("/dev/zvol/{}/{own}", text("pool", "")),
            Self::Rbd => format!(
                "rbd:{}/{own}:conf=/etc/pve/ceph.conf:id={}:keyring=/etc/pve/priv/ceph/{storage}.keyring",
                text("pool", "rbd"),
                text("username", "admin")
            ),
        }
    }
}

/// Returns the VMID in a name such as `vm-<vmid>-…`, for one of these stems.
fn numbered(name: &str, stems: &[&str]) -> Option<u32> {
    stems.iter().find_map(|stem| {
        let (vmid, rest) = name.strip_prefix(stem)?.strip_prefix('-')?.split_once('-')?;
        (!rest.is_empty() && !rest.contains(char::is_whitespace)).then(|| vmid.parse().ok())?
    })
}

fn is_lvm_name(name: &str) -> bool {
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    name.len() > 1
        && ends(name.chars().next())
        && ends(name.chars().last())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

/// Returns `n` of a volume id that ends with `vm-<vmid>-disk-<n>`.
pub(crate) fn disk_number(volid: &str, vmid: u32) -> Option<u32> {
    let own = volid.rsplit(['/', ':']).next()?;
    let rest = ["vm", "base", "subvol", "basevol"]
        .iter()
        .find_map(|stem| own.strip_prefix(&format!("{stem}-{vmid}-disk-")))?;
    rest.split('.').next()?.parse().ok()
}

fn file_path(root: &str, name: &str) -> String {
    let mut parts = name.rsplitn(3, '/');
    let (file, directory) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    match name.split_once('/') {
        Some(("iso", file)) => format!("{root}/template/iso/{file}"),
        Some(("vztmpl", file)) => format!("{root}/template/cache/{file}"),
        Some(("import", file)) => format!("{root}/import/{file}"),
        Some(("snippets", file)) => format!("{root}/snippets/{file}"),
        Some(_) => format!("{root}/images/{directory}/{file}"),
        None => format!("{root}/{name}"),
    }
}

fn files(name: &str) -> Result<Named, String> {
    let unknown = || format!("unable to parse directory volume name '{name}'");
    let (head, rest) = name.split_once('/').ok_or_else(unknown)?;
    let ends = |suffixes: &[&str]| suffixes.iter().any(|suffix| rest.len() > suffix.len() && rest.ends_with(suffix));
    let flat = !rest.is_empty() && !rest.contains('/');
    let of =
        |content, owner| Ok(Named { content, owner, name: rest.to_owned(), is_base: false, format: "raw".to_owned() });
    match head {
        "iso" if flat && [".iso", ".img"].iter().any(|end| rest.to_lowercase().ends_with(end)) => of("iso", None),
        "vztmpl" if flat && ends(&[".tar", ".tar.gz", ".tar.xz", ".tar.zst", ".tar.bz2"]) => of("vztmpl", None),
        "snippets" if flat => of("snippets", None),
        "import"
            if (flat || rest.contains(".ova/") && !rest.contains(".."))
                && ends(&[".qcow2", ".raw", ".vmdk", ".ova"]) =>
        {
            of("import", None)
        }
        "backup" if flat => {
            let number = |stem: &str| rest.strip_prefix(stem)?.split('-').next()?.parse().ok();
            of("backup", ["vzdump-qemu-", "vzdump-lxc-", "vzdump-openvz-"].iter().find_map(|stem| number(stem)))
        }
        _ if head.chars().all(|c| c.is_ascii_digit()) && !rest.is_empty() => {
            // The name of a linked clone begins with that of its base image.
            let parts: Vec<&str> = name.split('/').collect();
            let (owner, own) = if parts.len() == 4 { (parts[2], parts[3]) } else { (head, rest) };
            let format = own.rsplit_once('.').map_or("", |(_, format)| format);
            Ok(Named::image(own, owner.parse().ok(), format))
        }
        _ => Err(unknown()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_on_a_directory_contains_content_type_and_owner() {
        let content = |name| Layout::Files.parse(name).map(|named| (named.content, named.owner)).ok();
        assert_eq!(content("iso/x.iso"), Some(("iso", None)));
        assert_eq!(content("9000/base-9000-disk-0.qcow2/9100/vm-9100-disk-0.qcow2"), Some(("images", Some(9100))));
        assert_eq!(content("9000/vm-9000-disk-0.raw"), Some(("images", Some(9000))));
        assert_eq!(content("backup/vzdump-qemu-7-x.vma"), Some(("backup", Some(7))));
        assert_eq!(content("iso/x.txt"), None);
        assert_eq!(content("nothing"), None);
    }

    #[test]
    fn names_on_other_types_have_directories_only_for_base_images() {
        let owner = |layout: Layout, name| layout.parse(name).map(|named| (named.owner, named.is_base, named.format));
        assert_eq!(owner(Layout::LvmThin, "base-9000-disk-0"), Ok((Some(9000), true, "raw".into())));
        assert_eq!(owner(Layout::Zfs, "base-9000-disk-0/vm-9100-disk-0"), Ok((Some(9100), false, "raw".into())));
        assert_eq!(owner(Layout::Zfs, "subvol-7-disk-0"), Ok((Some(7), false, "subvol".into())));
        let refused = |layout: Layout, name| layout.parse(name).err().unwrap_or_default();
        assert_eq!(refused(Layout::Rbd, "subvol-7-disk-0"), "unable to parse rbd volume name 'subvol-7-disk-0'");
        assert_eq!(refused(Layout::Lvm, "base-7-disk-0"), "unable to parse lvm volume name 'base-7-disk-0'");
        assert_eq!(refused(Layout::LvmThin, "7/vm-7-disk-0"), "lvm name '7/vm-7-disk-0' contains illegal characters");
    }

    #[test]
    fn a_base_keeps_the_base_that_it_was_cloned_from() {
        let base = |layout: Layout, name| layout.base_name(name);
        assert_eq!(
            base(Layout::Files, "8/base-8-disk-0.raw/9/vm-9-disk-0.qcow2").as_deref(),
            Some("8/base-8-disk-0.raw/9/base-9-disk-0.qcow2")
        );
        assert_eq!(base(Layout::Zfs, "subvol-7-disk-1").as_deref(), Some("basevol-7-disk-1"));
        assert_eq!(base(Layout::Rbd, "base-8-disk-0/vm-9-disk-0").as_deref(), Some("base-8-disk-0/base-9-disk-0"));
        assert_eq!(base(Layout::Rbd, "base-9-disk-0"), None);
    }

    #[test]
    fn linked_clones_come_from_bases_and_from_snapshots_of_some_types() {
        let can = |layout: Layout, name: &str, snapshot| {
            layout.parse(name).is_ok_and(|named| layout.can(Feature::Clone, &named, snapshot))
        };
        assert!(can(Layout::Files, "8/base-8-disk-0.raw", false));
        assert!(!can(Layout::Files, "8/vm-8-disk-0.qcow2", true));
        assert!(can(Layout::LvmThin, "vm-8-disk-0", true));
        assert!(can(Layout::Rbd, "vm-8-disk-0", true));
        assert!(!can(Layout::Zfs, "vm-8-disk-0", true));
        assert!(!can(Layout::Lvm, "vm-8-disk-0", false));
    }
}
