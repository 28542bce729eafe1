//! What proves that a guest is a version of a family, or the VM that becomes one.

use guest::Candidate;
use ownership::{Evidence, Kind, Marker, Nonce, Owner, Proof, Vmid};
use pve::{Qemu, WaitOptions};
use template_family::Family;

use crate::provider::Clients;

/// Description of a VM that Packer's Proxmox builder is building (its source, both in 1.6.6 and in the plugin).
pub(super) const PACKERS_DESCRIPTION: &str = "Packer ephemeral build VM";

/// Returns a version of the family, finished or half-built. `nonce`: the incarnation that is meant, if it is known.
pub(super) fn version(
    clients: &Clients,
    family: &Family,
    vmid: Vmid,
    nonce: Option<&Nonce>,
    wait: WaitOptions,
) -> Candidate<Qemu> {
    let name = family.name.to_string();
    let evidence = Evidence::Marker { kind: Kind::Template, nonce: nonce.cloned(), family: Some(name) };
    Candidate::new(clients.pve.clone(), &family.node, vmid, proof(family, evidence), wait)
}

/// Returns the VM that our own Packer builds, on a VMID that was free when it began. It has this marker, or none yet.
/// `is_reported`: Packer has ended, and named the VMID as that of what it built.
pub(super) fn build(
    clients: &Clients,
    family: &Family,
    marker: &Marker,
    (name, is_reported): (&str, bool),
    wait: WaitOptions,
) -> Candidate<Qemu> {
    let evidence = Evidence::PackersBuild {
        nonce: marker.nonce.clone(),
        name: name.to_owned(),
        description: PACKERS_DESCRIPTION.to_owned(),
        is_reported,
    };
    Candidate::new(clients.pve.clone(), &family.node, marker.vmid, proof(family, evidence), wait)
}

fn proof(family: &Family, evidence: Evidence) -> Proof {
    Proof {
        installation: family.installation.clone(),
        claimant: Owner::Provider,
        range: family.range,
        resource_pool: family.resource_pool.clone(),
        evidence,
    }
}
