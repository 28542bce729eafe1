//! Names of volumes on a directory, and who may use them.

use super::refusal::{Outcome, Refusal};
use super::state::State;

/// What a volume's name says about it.
pub(crate) struct Named {
    /// `images`, `iso`, `vztmpl`, `backup`, `snippets` or `import`.
    pub(crate) content: &'static str,
    pub(crate) owner: Option<u32>,
}

/// Takes the part of a volume id behind the storage's name apart; the error is PVE's text.
pub(crate) fn parse(name: &str) -> Result<Named, String> {
    let unknown = || format!("unable to parse directory volume name '{name}'");
    let (head, rest) = name.split_once('/').ok_or_else(unknown)?;
    let ends = |suffixes: &[&str]| suffixes.iter().any(|suffix| rest.len() > suffix.len() && rest.ends_with(suffix));
    let flat = !rest.is_empty() && !rest.contains('/');
    let of = |content| Ok(Named { content, owner: None });
    match head {
        "iso" if flat && [".iso", ".img"].iter().any(|end| rest.to_lowercase().ends_with(end)) => of("iso"),
        "vztmpl" if flat && ends(&[".tar", ".tar.gz", ".tar.xz", ".tar.zst", ".tar.bz2"]) => of("vztmpl"),
        "snippets" if flat => of("snippets"),
        "import" if ends(&[".qcow2", ".raw", ".vmdk", ".ova"]) => of("import"),
        "backup" if flat => {
            let number = |stem: &str| rest.strip_prefix(stem)?.split('-').next()?.parse().ok();
            let owner = ["vzdump-qemu-", "vzdump-lxc-", "vzdump-openvz-"].iter().find_map(|stem| number(stem));
            Ok(Named { content: "backup", owner })
        }
        _ if head.chars().all(|c| c.is_ascii_digit()) && !rest.is_empty() => {
            // A linked clone's name begins with its base image's.
            let parts: Vec<&str> = name.split('/').collect();
            let owner = if parts.len() == 4 { parts[2] } else { head };
            Ok(Named { content: "images", owner: owner.parse().ok() })
        }
        _ => Err(unknown()),
    }
}

impl State {
    /// Whether `caller` may use a volume, for the guest `vmid` if there is one, as `wanted` content if that is fixed.
    pub(crate) fn volume_access(
        &self,
        caller: &str,
        vmid: Option<u32>,
        volid: &str,
        wanted: Option<&str>,
    ) -> Outcome<()> {
        let Some((storage, name)) = volid.split_once(':') else {
            if caller == "root@pam" {
                return Ok(());
            }
            return Err(Refusal::fault(
                "Only root can pass arbitrary filesystem paths. at /usr/share/perl5/PVE/Storage.pm line 651.",
            ));
        };
        if !self.storages.contains_key(storage) {
            return Err(Refusal::fault(format!("storage '{storage}' does not exist")));
        }
        let named = parse(name).map_err(Refusal::fault)?;
        let fits =
            wanted.is_none_or(|wanted| named.content == wanted || (wanted == "rootdir" && named.content == "images"));
        if !fits {
            let wanted = wanted.unwrap_or_default();
            return Err(Refusal::fault(format!("unable to use volume {volid} - content type needs to be '{wanted}'")));
        }
        let path = format!("/storage/{storage}");
        if self.may(caller, &path, "Datastore.Allocate") {
            return Ok(());
        }
        match (named.content, named.owner) {
            ("iso" | "vztmpl" | "import", _) => {
                self.require_any(caller, &path, &["Datastore.AllocateSpace", "Datastore.Audit"])
            }
            (_, Some(owner)) if Some(owner) == vmid => Ok(()),
            ("backup", Some(owner)) => {
                self.require(caller, &path, &["Datastore.AllocateSpace"])?;
                self.require(caller, &format!("/vms/{owner}"), &["VM.Backup"])
            }
            ("images", Some(owner)) => {
                self.require(caller, &path, &["Datastore.Audit"])?;
                self.require(caller, &format!("/vms/{owner}"), &["VM.Config.Disk"])
            }
            _ => Err(Refusal::fault(format!("missing privileges to access {volid}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_content_and_owner() {
        let content = |name| parse(name).map(|named| (named.content, named.owner)).ok();
        assert_eq!(content("iso/x.iso"), Some(("iso", None)));
        assert_eq!(content("9000/base-9000-disk-0.qcow2/9100/vm-9100-disk-0.qcow2"), Some(("images", Some(9100))));
        assert_eq!(content("9000/vm-9000-disk-0.raw"), Some(("images", Some(9000))));
        assert_eq!(content("backup/vzdump-qemu-7-x.vma"), Some(("backup", Some(7))));
        assert_eq!(content("iso/x.txt"), None);
        assert_eq!(content("nothing"), None);
    }
}
