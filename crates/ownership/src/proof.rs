//! The proof of ownership that every destruction needs: VMID range, resource pool, marker with the same VMID, not a template.

use crate::{Installation, Kind, Marker, MarkerError, Owner, Reap, VmidRange};

/// The guests that the caller may destroy.
#[derive(Debug, Clone)]
pub struct Claim<'a> {
    /// Own installation.
    pub installation: &'a Installation,
    /// Program that asks.
    pub owner: Owner,
    /// Kind of guest that it is about to destroy.
    pub kind: Kind,
    /// Range in which it makes such guests.
    pub range: VmidRange,
    /// PVE resource pool in which it makes them.
    pub resource_pool: &'a str,
}

/// PVE's present facts about a guest.
#[derive(Debug, Clone)]
pub struct Guest<'a> {
    /// Its VMID.
    pub vmid: u32,
    /// Resource pool that it is a member of.
    pub resource_pool: Option<&'a str>,
    /// Description from its configuration.
    pub description: &'a str,
    /// True if PVE calls it a template.
    pub template: bool,
}

/// Why a guest must be left alone.
#[derive(Debug, thiserror::Error)]
pub enum NotOurs {
    /// Outside the range.
    #[error("VMID {vmid} is outside the range {range}")]
    OutOfRange {
        /// VMID of the guest.
        vmid: u32,
        /// Range of the claim.
        range: VmidRange,
    },
    /// Not a member of the resource pool.
    #[error("guest {vmid} is not a member of the resource pool \"{expected}\"{}", found.as_ref().map(|pool| format!(" but of \"{pool}\"")).unwrap_or_default())]
    ResourcePool {
        /// VMID of the guest.
        vmid: u32,
        /// Pool of the claim.
        expected: String,
        /// Pool of the guest.
        found: Option<String>,
    },
    /// No marker line.
    #[error("guest {0} carries no pxci marker in its description")]
    NoMarker(u32),
    /// A marker line that cannot be used.
    #[error("the pxci marker of guest {vmid} cannot be used")]
    Marker {
        /// VMID of the guest.
        vmid: u32,
        /// Why.
        #[source]
        source: MarkerError,
    },
    /// The marker names another VMID: the guest is a copy that somebody made.
    #[error("guest {vmid} carries the marker of guest {marked}: it is a copy made by somebody else")]
    Copy {
        /// VMID of the guest.
        vmid: u32,
        /// VMID in the marker.
        marked: u32,
    },
    /// Made by another installation.
    #[error("guest {vmid} belongs to the installation \"{installation}\"")]
    Installation {
        /// VMID of the guest.
        vmid: u32,
        /// Installation in the marker.
        installation: Installation,
    },
    /// Made by the other program.
    #[error("guest {vmid} belongs to the {owner}")]
    Owner {
        /// VMID of the guest.
        vmid: u32,
        /// Owner in the marker.
        owner: Owner,
    },
    /// The guest is of another kind than the claim.
    #[error("guest {vmid} is marked as a {found}, not as a {expected}")]
    Kind {
        /// VMID of the guest.
        vmid: u32,
        /// Kind of the claim.
        expected: Kind,
        /// Kind in the marker.
        found: Kind,
    },
    /// The guest is a template, and the claim is not to a template.
    #[error("guest {0} is a template")]
    Template(u32),
}

/// Proves that the guest may be destroyed under this claim, and returns its marker.
///
/// A template passes only under a claim to [`Kind::Template`]. The dispatcher may claim a runner of the provider when its marker
/// says `reap=finished`. The caller must know that it *has* finished.
///
/// # Errors
/// The first condition that does not hold.
pub fn prove(claim: &Claim<'_>, guest: &Guest<'_>) -> Result<Marker, NotOurs> {
    let vmid = guest.vmid;
    if !claim.range.contains(vmid) {
        return Err(NotOurs::OutOfRange { vmid, range: claim.range });
    }
    if guest.resource_pool != Some(claim.resource_pool) {
        let found = guest.resource_pool.map(str::to_owned);
        return Err(NotOurs::ResourcePool { vmid, expected: claim.resource_pool.to_owned(), found });
    }
    if guest.template && claim.kind != Kind::Template {
        return Err(NotOurs::Template(vmid));
    }
    let marker = Marker::find(guest.description)
        .map_err(|source| NotOurs::Marker { vmid, source })?
        .ok_or(NotOurs::NoMarker(vmid))?;
    check_marker(claim, vmid, &marker)?;
    Ok(marker)
}

fn check_marker(claim: &Claim<'_>, vmid: u32, marker: &Marker) -> Result<(), NotOurs> {
    if marker.vmid != vmid {
        return Err(NotOurs::Copy { vmid, marked: marker.vmid });
    }
    if marker.installation != *claim.installation {
        return Err(NotOurs::Installation { vmid, installation: marker.installation.clone() });
    }
    if marker.kind != claim.kind {
        return Err(NotOurs::Kind { vmid, expected: claim.kind, found: marker.kind });
    }
    if !may_destroy(claim.owner, marker) {
        return Err(NotOurs::Owner { vmid, owner: marker.owner });
    }
    Ok(())
}

fn may_destroy(owner: Owner, marker: &Marker) -> bool {
    let lent = owner == Owner::Dispatcher && marker.kind == Kind::Runner && marker.reap == Some(Reap::Finished);
    marker.owner == owner || lent
}

#[cfg(test)]
mod tests {
    use super::*;

    fn installation() -> Installation {
        "lab".parse().unwrap()
    }

    fn marker() -> Marker {
        Marker::new(installation(), Owner::Dispatcher, Kind::Runner, 9101, "k3x9ab".parse().unwrap())
    }

    /// Asks as the dispatcher for a runner in 9100-9199 of the resource pool "ci".
    fn ask(vmid: u32, pool: Option<&str>, description: &str, template: bool) -> Result<Marker, NotOurs> {
        let installation = installation();
        let claim = Claim {
            installation: &installation,
            owner: Owner::Dispatcher,
            kind: Kind::Runner,
            range: "9100-9199".parse().unwrap(),
            resource_pool: "ci",
        };
        prove(&claim, &Guest { vmid, resource_pool: pool, description, template })
    }

    #[test]
    fn all_four_conditions_together_are_a_proof() {
        assert_eq!(ask(9101, Some("ci"), &marker().to_string(), false).unwrap(), marker());
    }

    #[test]
    fn each_condition_alone_forbids_it() {
        let line = marker().to_string();
        let mut outside = marker();
        outside.vmid = 9200;
        assert!(matches!(ask(9200, Some("ci"), &outside.to_string(), false), Err(NotOurs::OutOfRange { .. })));
        assert!(matches!(ask(9101, Some("other"), &line, false), Err(NotOurs::ResourcePool { .. })));
        assert!(matches!(ask(9101, None, &line, false), Err(NotOurs::ResourcePool { .. })));
        assert!(matches!(ask(9101, Some("ci"), "", false), Err(NotOurs::NoMarker(9101))));
        assert!(matches!(ask(9101, Some("ci"), "pxci:v1 x", false), Err(NotOurs::Marker { .. })));
        assert!(matches!(ask(9101, Some("ci"), &line, true), Err(NotOurs::Template(9101))));
    }

    #[test]
    fn a_copy_made_by_hand_is_not_ours() {
        let refused = ask(9102, Some("ci"), &marker().to_string(), false);
        assert!(matches!(refused, Err(NotOurs::Copy { vmid: 9102, marked: 9101 })));
    }

    #[test]
    fn other_installations_kinds_and_owners_are_refused() {
        let mut other = marker();
        other.installation = "prod".parse().unwrap();
        assert!(matches!(ask(9101, Some("ci"), &other.to_string(), false), Err(NotOurs::Installation { .. })));
        let mut other = marker();
        other.kind = Kind::Verify;
        assert!(matches!(ask(9101, Some("ci"), &other.to_string(), false), Err(NotOurs::Kind { .. })));
        let mut other = marker();
        other.owner = Owner::Provider;
        assert!(matches!(ask(9101, Some("ci"), &other.to_string(), false), Err(NotOurs::Owner { .. })));
    }

    #[test]
    fn the_dispatcher_may_take_a_runner_that_the_provider_lends_it() {
        let mut lent = marker();
        lent.owner = Owner::Provider;
        lent.reap = Some(Reap::Finished);
        assert!(ask(9101, Some("ci"), &lent.to_string(), false).is_ok());
    }
}
