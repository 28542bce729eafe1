//! Versions of a template family, which have a proof of their own, and VMs that Packer is building.

use guest::{Candidate, Problem};
use ownership::{Build, Evidence, Kind, Marker, NotOurs, Owner};
use serde_json::{Value, json};

use crate::lab::{Lab, NONCE, TOKEN, id, installation, proof, volume, wait, world_of};

const VERSION: u32 = 9000;
const CLONE: u32 = 9110;
const BASE: &str = "dir:9000/base-9000-disk-0.raw";
const CLONED: &str = "dir:9000/base-9000-disk-0.raw/9110/vm-9110-disk-0.qcow2";

fn marker() -> Marker {
    let mut marker = Marker::new(installation(), Owner::Provider, Kind::Template, id(VERSION), NONCE.parse().unwrap());
    marker.family = Some("ubuntu".to_owned());
    marker.build = Some(Build::Ready);
    marker
}

fn version(lab: &Lab, family: &str) -> Candidate<pve::Qemu> {
    let evidence = Evidence::Marker { kind: Kind::Template, nonce: None, family: Some(family.to_owned()) };
    Candidate::new(lab.client(TOKEN), &"pve1".parse().unwrap(), id(VERSION), proof(evidence), wait())
}

fn template() -> Value {
    let config = json!({
        "name": "ubuntu-1", "memory": "512", "template": "1", "protection": "1", "scsi0": format!("{BASE},size=1G"),
        "description": format!("Version 1.\n{}", marker()),
    });
    json!({ "vmid": VERSION, "type": "qemu", "config": config })
}

#[tokio::test(start_paused = true)]
async fn a_version_that_clones_need_is_retired_and_goes_with_the_last_of_them() {
    let clone = json!({ "vmid": CLONE, "type": "qemu", "config": { "name": "vm", "memory": "512", "scsi0": format!("{CLONED},size=1G") } });
    let mut cloned = volume(CLONED, CLONE);
    cloned["parent"] = BASE.into();
    let world = world_of(vec![template(), clone], json!([volume(BASE, VERSION), cloned]), "ci");
    let lab = Lab::of(&world).await;
    let error = version(&lab, "ubuntu").remove().await.unwrap_err();
    assert!(matches!(error.problem, Problem::BaseInUse), "{error:?}");
    let description = lab.pve.description(VERSION).unwrap();
    let retired = Marker { build: Some(Build::Retired), ..marker() };
    assert_eq!(Marker::find(&description).unwrap(), Some(retired));
    assert!(description.starts_with("Version 1.\n"), "{description}");

    lab.call("DELETE", &format!("/nodes/pve1/qemu/{CLONE}"), &[]).await;
    version(&lab, "ubuntu").remove().await.unwrap();
    assert_eq!(lab.pve.guests(), [0; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_version_of_another_family_is_left_alone() {
    let lab = Lab::of(&world_of(vec![template()], json!([volume(BASE, VERSION)]), "ci")).await;
    let error = version(&lab, "debian").remove().await.unwrap_err();
    assert!(matches!(error.problem, Problem::NotOurs(NotOurs::Family { .. })), "{error:?}");
    assert_eq!(lab.changes_of(VERSION), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_half_built_version_is_stopped_and_destroyed() {
    let mut half_built = template();
    half_built["config"]["template"] = "0".into();
    half_built["config"]["scsi0"] = "lvm:vm-9000-disk-0,size=1G".into();
    let lab = Lab::of(&world_of(vec![half_built], json!([volume("lvm:vm-9000-disk-0", VERSION)]), "ci")).await;
    lab.call("POST", &format!("/nodes/pve1/qemu/{VERSION}/status/start"), &[]).await;
    version(&lab, "ubuntu").remove().await.unwrap();
    assert_eq!(lab.pve.guests(), [0; 0]);
}

#[tokio::test(start_paused = true)]
async fn the_vm_that_our_packer_builds_is_marked_and_one_that_others_build_is_not() {
    let mut building = template();
    building["config"] = json!({ "name": "ubuntu-1", "memory": "512", "description": "Packer ephemeral build VM" });
    let lab = Lab::of(&world_of(vec![building], json!([]), "ci")).await;
    let build = |name: &str| {
        let evidence = Evidence::PackersBuild {
            nonce: NONCE.parse().unwrap(),
            name: name.to_owned(),
            description: "Packer ephemeral build VM".to_owned(),
            is_reported: false,
        };
        Candidate::<pve::Qemu>::new(lab.client(TOKEN), &"pve1".parse().unwrap(), id(VERSION), proof(evidence), wait())
    };
    let error = build("debian-1").prove().await.unwrap_err();
    assert!(matches!(error.problem, Problem::NotOurs(NotOurs::NotPackers(_))), "{error:?}");
    let ours = build("ubuntu-1").prove().await.unwrap();
    assert_eq!(ours.marker(), None);
    ours.change(&[("description", &marker().to_string())]).await.unwrap();
    assert_eq!(build("ubuntu-1").prove().await.unwrap().marker(), Some(&marker()));
    version(&lab, "ubuntu").remove().await.unwrap();
    assert_eq!(lab.pve.guests(), [0; 0]);
}
