//! Privileges to use a volume.

use crate::refusal::{Outcome, Refusal};
use crate::world::state::State;

impl State {
    /// Checks that `caller` may use a volume, for the guest `vmid` if there is one, and that it has the content type
    /// `wanted` if that is given.
    pub(crate) fn volume_access(
        &self,
        caller: &str,
        vmid: Option<u32>,
        volid: &str,
        wanted: Option<&str>,
    ) -> Outcome<()> {
        let Some((storage, _)) = volid.split_once(':') else {
            if caller == "root@pam" {
                return Ok(());
            }
            return Err(Refusal::fault(
                "Only root can pass arbitrary filesystem paths. at /usr/share/perl5/PVE/Storage.pm line 651.",
            ));
        };
        let named = self.named(volid)?;
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
