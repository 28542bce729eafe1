//! The proof of ownership that every destruction needs: VMID range, resource pool, marker with the same VMID, not a template.
//!
//! [`prove`] checks the conditions for every guest. A [`Proof`] is the question about one guest as a value. It also
//! names the incarnation, the template family or the build of Packer.

use crate::{Installation, Kind, Marker, MarkerError, Nonce, Owner, Reap, Vmid, VmidRange};

/// The guests that the caller may destroy.
#[derive(Debug, Clone)]
pub struct Claim<'a> {
    /// Own installation.
    pub installation: &'a Installation,
    /// Program that asks.
    pub owner: Owner,
    /// Kind of the guest.
    pub kind: Kind,
    /// Range in which the program makes such guests.
    pub range: VmidRange,
    /// PVE resource pool in which the program makes them.
    pub resource_pool: &'a str,
}

/// A guest as PVE shows it now.
#[derive(Debug, Clone)]
pub struct Guest<'a> {
    /// Its VMID.
    pub vmid: Vmid,
    /// Resource pool that it is a member of.
    pub resource_pool: Option<&'a str>,
    /// Name from its configuration.
    pub name: &'a str,
    /// Description from its configuration.
    pub description: &'a str,
    /// True if the guest is a template at PVE.
    pub template: bool,
}

/// Reason why a guest must be left alone.
#[derive(Debug, thiserror::Error)]
pub enum NotOurs {
    /// The guest is outside the range.
    #[error("VMID {vmid} is outside the range {range}")]
    OutOfRange {
        /// VMID of the guest.
        vmid: Vmid,
        /// Range of the claim.
        range: VmidRange,
    },
    /// The guest is not a member of the resource pool.
    #[error("guest {vmid} is not a member of the resource pool \"{expected}\"{}", found.as_ref().map(|pool| format!(" but of \"{pool}\"")).unwrap_or_default())]
    ResourcePool {
        /// VMID of the guest.
        vmid: Vmid,
        /// Pool of the claim.
        expected: String,
        /// Pool of the guest.
        found: Option<String>,
    },
    /// The guest has no marker.
    #[error("guest {0} has no pxci marker in its description")]
    NoMarker(Vmid),
    /// The marker of the guest cannot be used.
    #[error("the pxci marker of guest {vmid} cannot be used")]
    Marker {
        /// VMID of the guest.
        vmid: Vmid,
        /// Why.
        #[source]
        source: MarkerError,
    },
    /// The marker names another VMID, so the guest is a copy.
    #[error("guest {vmid} has the marker of guest {marked}, so it is a copy that pxci did not make")]
    Copy {
        /// VMID of the guest.
        vmid: Vmid,
        /// VMID in the marker.
        marked: Vmid,
    },
    /// Another installation made the guest.
    #[error("guest {vmid} belongs to the installation \"{installation}\"")]
    Installation {
        /// VMID of the guest.
        vmid: Vmid,
        /// Installation in the marker.
        installation: Installation,
    },
    /// The other program made the guest.
    #[error("guest {vmid} belongs to the {owner}")]
    Owner {
        /// VMID of the guest.
        vmid: Vmid,
        /// Owner in the marker.
        owner: Owner,
    },
    /// The guest is of another kind than the claim.
    #[error("guest {vmid} is marked as a {found}, not as a {expected}")]
    Kind {
        /// VMID of the guest.
        vmid: Vmid,
        /// Kind of the claim.
        expected: Kind,
        /// Kind in the marker.
        found: Kind,
    },
    /// The guest is a template, but the claim is not to a template.
    #[error("guest {0} is a template")]
    Template(Vmid),
    /// The guest is another incarnation of the VMID. The expected guest no longer exists.
    #[error("guest {vmid} has the nonce \"{found}\", not \"{expected}\"")]
    Incarnation {
        /// VMID of the guest.
        vmid: Vmid,
        /// Nonce of the proof.
        expected: Nonce,
        /// Nonce in the marker.
        found: Nonce,
    },
    /// The guest is a version of another template family.
    #[error("guest {vmid} is not a version of the template family \"{expected}\"")]
    Family {
        /// VMID of the guest.
        vmid: Vmid,
        /// Family of the proof.
        expected: String,
    },
    /// The guest has neither our marker nor the marks of our build.
    #[error("guest {0} is not the VM that Packer builds")]
    NotPackers(Vmid),
}

/// Evidence by which a guest is recognised, beyond its VMID and its resource pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Evidence {
    /// Its marker.
    Marker {
        /// Kind in the marker.
        kind: Kind,
        /// Nonce in the marker. `None` accepts every incarnation.
        nonce: Option<Nonce>,
        /// Template family in the marker. `None` accepts every family.
        family: Option<String>,
    },
    /// The marks of a VM that our Packer builds, before the VM has our marker. The marker must have this nonce.
    PackersBuild {
        /// Nonce of the VM's future marker.
        nonce: Nonce,
        /// Name that Packer gives to the VM.
        name: String,
        /// Description that Packer gives to the VM.
        description: String,
        /// True once Packer has ended and reported this VMID.
        is_reported: bool,
    },
}

/// The conditions under which one guest is ours. They are compared with PVE's facts before each action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// Own installation.
    pub installation: Installation,
    /// Program that asks.
    pub claimant: Owner,
    /// Range in which the program makes such guests.
    pub range: VmidRange,
    /// PVE resource pool in which the program makes them.
    pub resource_pool: String,
    /// Evidence in the guest's configuration.
    pub evidence: Evidence,
}

impl Proof {
    /// Returns the kind of the guest.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self.evidence {
            Evidence::Marker { kind, .. } => kind,
            Evidence::PackersBuild { .. } => Kind::Template,
        }
    }

    /// Compares the proof with a guest. Returns the guest's marker, which only a build of Packer may lack.
    ///
    /// # Errors
    /// The first condition that does not hold. [`NotOurs::Incarnation`] comes last, so all other conditions hold.
    pub fn check(&self, guest: &Guest<'_>) -> Result<Option<Marker>, NotOurs> {
        match &self.evidence {
            Evidence::Marker { nonce, family, .. } => {
                let marker = self.prove(guest)?;
                check_family(&marker, family.as_deref())?;
                check_incarnation(&marker, nonce.as_ref())?;
                Ok(Some(marker))
            }
            Evidence::PackersBuild { nonce, name, description, is_reported } => {
                let is_built_by_packer = *is_reported || guest.description.trim() == description && guest.name == name;
                if matches!(Marker::find(guest.description), Ok(None)) {
                    if !is_built_by_packer {
                        return Err(NotOurs::NotPackers(guest.vmid));
                    }
                    return self.check_place(guest).map(|()| None);
                }
                let marker = self.prove(guest)?;
                check_incarnation(&marker, Some(nonce))?;
                Ok(Some(marker))
            }
        }
    }

    fn claim(&self) -> Claim<'_> {
        Claim {
            installation: &self.installation,
            owner: self.claimant,
            kind: self.kind(),
            range: self.range,
            resource_pool: &self.resource_pool,
        }
    }

    fn prove(&self, guest: &Guest<'_>) -> Result<Marker, NotOurs> {
        prove(&self.claim(), guest)
    }

    fn check_place(&self, guest: &Guest<'_>) -> Result<(), NotOurs> {
        check_place(&self.claim(), guest)
    }
}

fn check_family(marker: &Marker, expected: Option<&str>) -> Result<(), NotOurs> {
    match expected {
        Some(family) if marker.family.as_deref() != Some(family) => {
            Err(NotOurs::Family { vmid: marker.vmid, expected: family.to_owned() })
        }
        _ => Ok(()),
    }
}

fn check_incarnation(marker: &Marker, expected: Option<&Nonce>) -> Result<(), NotOurs> {
    match expected {
        Some(nonce) if marker.nonce != *nonce => {
            Err(NotOurs::Incarnation { vmid: marker.vmid, expected: nonce.clone(), found: marker.nonce.clone() })
        }
        _ => Ok(()),
    }
}

/// Proves that the guest may be destroyed under this claim, and returns its marker.
///
/// A template passes only under a claim to [`Kind::Template`]. The dispatcher may claim a runner VM of the provider
/// whose marker has `reap=finished`. The caller must know that the VM *has* finished.
///
/// # Errors
/// The first condition that does not hold.
pub fn prove(claim: &Claim<'_>, guest: &Guest<'_>) -> Result<Marker, NotOurs> {
    check_place(claim, guest)?;
    let vmid = guest.vmid;
    let marker = Marker::find(guest.description)
        .map_err(|source| NotOurs::Marker { vmid, source })?
        .ok_or(NotOurs::NoMarker(vmid))?;
    check_marker(claim, vmid, &marker)?;
    Ok(marker)
}

/// Checks the conditions that do not need a marker.
fn check_place(claim: &Claim<'_>, guest: &Guest<'_>) -> Result<(), NotOurs> {
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
    Ok(())
}

fn check_marker(claim: &Claim<'_>, vmid: Vmid, marker: &Marker) -> Result<(), NotOurs> {
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

    fn id(number: u32) -> Vmid {
        Vmid::new(number).unwrap()
    }

    fn installation() -> Installation {
        "lab".parse().unwrap()
    }

    fn marker() -> Marker {
        Marker::new(installation(), Owner::Dispatcher, Kind::Runner, id(9101), "k3x9ab".parse().unwrap())
    }

    /// Asks as the dispatcher for a runner in 9100-9199 of the resource pool "ci".
    fn ask(number: u32, pool: Option<&str>, description: &str, template: bool) -> Result<Marker, NotOurs> {
        let installation = installation();
        let claim = Claim {
            installation: &installation,
            owner: Owner::Dispatcher,
            kind: Kind::Runner,
            range: "9100-9199".parse().unwrap(),
            resource_pool: "ci",
        };
        prove(&claim, &Guest { vmid: id(number), resource_pool: pool, name: "", description, template })
    }

    #[test]
    fn all_four_conditions_together_are_a_proof() {
        assert_eq!(ask(9101, Some("ci"), &marker().to_string(), false).unwrap(), marker());
    }

    #[test]
    fn each_condition_alone_forbids_it() {
        let line = marker().to_string();
        let mut outside = marker();
        outside.vmid = id(9200);
        assert!(matches!(ask(9200, Some("ci"), &outside.to_string(), false), Err(NotOurs::OutOfRange { .. })));
        assert!(matches!(ask(9101, Some("other"), &line, false), Err(NotOurs::ResourcePool { .. })));
        assert!(matches!(ask(9101, None, &line, false), Err(NotOurs::ResourcePool { .. })));
        assert!(matches!(ask(9101, Some("ci"), "", false), Err(NotOurs::NoMarker(_))));
        assert!(matches!(ask(9101, Some("ci"), "pxci:v1 x", false), Err(NotOurs::Marker { .. })));
        assert!(matches!(ask(9101, Some("ci"), &line, true), Err(NotOurs::Template(_))));
    }

    #[test]
    fn a_copy_made_by_hand_is_not_ours() {
        let refused = ask(9102, Some("ci"), &marker().to_string(), false);
        assert!(matches!(refused, Err(NotOurs::Copy { vmid, marked }) if (vmid, marked) == (id(9102), id(9101))));
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

    fn proof(evidence: Evidence) -> Proof {
        let range = "9100-9199".parse().unwrap();
        Proof {
            installation: installation(),
            claimant: Owner::Dispatcher,
            range,
            resource_pool: "ci".to_owned(),
            evidence,
        }
    }

    fn guest<'a>(name: &'a str, description: &'a str) -> Guest<'a> {
        Guest { vmid: id(9101), resource_pool: Some("ci"), name, description, template: false }
    }

    #[test]
    fn another_incarnation_is_distinguished_from_a_foreign_guest() {
        let of = |nonce: &str| {
            let nonce = Some(nonce.parse().unwrap());
            proof(Evidence::Marker { kind: Kind::Runner, nonce, family: None })
        };
        let line = marker().to_string();
        assert_eq!(of("k3x9ab").check(&guest("", &line)).unwrap(), Some(marker()));
        assert!(matches!(of("aaaaaa").check(&guest("", &line)), Err(NotOurs::Incarnation { .. })));
        assert!(matches!(of("k3x9ab").check(&guest("", "")), Err(NotOurs::NoMarker(_))));
    }

    #[test]
    fn a_template_is_proved_only_as_a_version_of_its_family() {
        let of = |family: &str| Proof {
            claimant: Owner::Provider,
            ..proof(Evidence::Marker { kind: Kind::Template, nonce: None, family: Some(family.to_owned()) })
        };
        let mut version = marker();
        (version.owner, version.kind, version.family) = (Owner::Provider, Kind::Template, Some("ubuntu".to_owned()));
        let line = version.to_string();
        let template = Guest { template: true, ..guest("", &line) };
        assert_eq!(of("ubuntu").check(&template).unwrap(), Some(version.clone()));
        assert!(matches!(of("debian").check(&template), Err(NotOurs::Family { .. })));
        let any = proof(Evidence::Marker { kind: Kind::Runner, nonce: None, family: None });
        assert!(matches!(any.check(&template), Err(NotOurs::Template(_))));
    }

    #[test]
    fn a_build_of_packer_is_recognised_by_its_marks_until_it_has_a_marker() {
        let of = |is_reported| {
            let (name, description) = ("x-1".to_owned(), "Packer builds".to_owned());
            let nonce = "k3x9ab".parse().unwrap();
            let evidence = Evidence::PackersBuild { nonce, name, description, is_reported };
            Proof { claimant: Owner::Provider, ..proof(evidence) }
        };
        assert_eq!(of(false).check(&guest("x-1", "Packer builds\n")).unwrap(), None);
        for (name, description) in [("x-2", "Packer builds"), ("x-1", ""), ("x-1", "Mine")] {
            assert!(matches!(of(false).check(&guest(name, description)), Err(NotOurs::NotPackers(_))));
            assert_eq!(of(true).check(&guest(name, description)).unwrap(), None, "Packer said that it built it");
        }
        let outside = Guest { resource_pool: None, ..guest("x-1", "Packer builds") };
        assert!(matches!(of(true).check(&outside), Err(NotOurs::ResourcePool { .. })));
        let mut version = marker();
        (version.owner, version.kind) = (Owner::Provider, Kind::Template);
        assert_eq!(of(false).check(&guest("x-1", &version.to_string())).unwrap(), Some(version.clone()));
        version.nonce = "aaaaaa".parse().unwrap();
        assert!(matches!(of(true).check(&guest("x-1", &version.to_string())), Err(NotOurs::Incarnation { .. })));
    }
}
