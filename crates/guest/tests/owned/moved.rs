//! A guest is gone when the whole cluster does not know its VMID. Absent from one node, it may have been moved.

use guest::{Candidate, Problem};
use ownership::Evidence;
use serde_json::json;

use crate::lab::{CASES, Lab, NARROW, id, proof, wait, world_of};

#[tokio::test(start_paused = true)]
async fn a_guest_that_was_moved_is_destroyed_where_it_is() {
    for case in CASES {
        let lab = Lab::start().await;
        lab.power_on(case).await;
        lab.remove_from("pve2", case).await.unwrap();
        assert!(!lab.exists(case.vmid));
    }
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_was_moved_is_proved_where_it_is() {
    let lab = Lab::start().await;
    let owned = lab.candidate_on::<pve::Lxc>("pve2", CASES[1]).prove().await.unwrap();
    assert_eq!(owned.node().as_str(), "pve1");
    assert_eq!(
        guest::locate::<pve::Lxc>(&lab.client(crate::lab::TOKEN), &"pve2".parse().unwrap(), CASES[1].id())
            .await
            .unwrap()
            .unwrap()
            .0
            .node()
            .as_str(),
        "pve1"
    );
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_no_node_has_is_gone_for_every_token() {
    let lab = Lab::of(&world_of(Vec::new(), json!([]), "ci")).await;
    for case in CASES {
        lab.remove(case).await.unwrap();
        let evidence = Evidence::Marker { kind: case.kind, nonce: None, family: None };
        for token in [crate::lab::TOKEN, NARROW] {
            let candidate = Candidate::<pve::Qemu>::new(
                lab.client(token),
                &"pve1".parse().unwrap(),
                case.id(),
                proof(evidence.clone()),
                wait(),
            );
            assert!(candidate.prove().await.unwrap_err().is_gone());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_vmid_that_a_guest_of_the_other_kind_has_now_is_gone_and_that_guest_is_left_alone() {
    let lab = Lab::start().await;
    let evidence = Evidence::Marker { kind: CASES[1].kind, nonce: None, family: None };
    let of_other_kind = Candidate::<pve::Qemu>::new(
        lab.client(crate::lab::TOKEN),
        &"pve1".parse().unwrap(),
        CASES[1].id(),
        proof(evidence),
        wait(),
    );
    of_other_kind.remove().await.unwrap();
    assert!(lab.exists(CASES[1].vmid));
    assert_eq!(lab.changes_of(CASES[1].vmid), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_guest_of_others_that_a_narrow_token_may_not_see_is_not_taken_for_gone() {
    let lab = Lab::of(&world_of(
        vec![json!({ "vmid": 9100, "type": "qemu", "config": { "name": "vm" } })],
        json!([]),
        "other",
    ))
    .await;
    let evidence = Evidence::Marker { kind: CASES[0].kind, nonce: None, family: None };
    let hidden =
        Candidate::<pve::Qemu>::new(lab.client(NARROW), &"pve1".parse().unwrap(), id(9100), proof(evidence), wait());
    let error = hidden.remove().await.unwrap_err();
    assert!(matches!(&error.problem, Problem::Pve(error) if error.is_permission_denied()), "{error:?}");
    assert!(lab.exists(9100));
}
