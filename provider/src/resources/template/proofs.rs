//! The proof of ownership of a version, and of the VM that Packer builds.

use guest::Candidate;
use ownership::{Evidence, Kind, Marker, Nonce, Owner, Proof, Vmid};
use pve::{Qemu, WaitOptions};
use template_family::Family;

use crate::clients::Clients;

/// Description that Packer's Proxmox builder gives to a build VM, according to the source of Packer 1.6.6 and of the
/// plugin.
pub(super) const PACKERS_DESCRIPTION: &str = "Packer ephemeral build VM";

/// Returns a finished or half-built version of the family. If `nonce` is given, only that incarnation is accepted.
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

/// Returns the VM that our Packer builds at a VMID that was free when Packer started. The VM has this marker, or no
/// marker yet. `is_reported` is true if Packer has ended and reported the VMID as that of the template.
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
