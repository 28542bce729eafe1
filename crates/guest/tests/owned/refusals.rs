//! A guest that fails any condition of the proof is left alone.

use guest::Problem;
use ownership::{NotOurs, Owner};

use crate::lab::{CASES, Case, Differences, Lab, id};

/// Tries to stop and destroy a running guest with these differences, and to destroy it when it is off.
async fn refused(case: Case, differences: &Differences, is_expected: impl Fn(&Problem) -> bool) {
    let is_template = differences.options.contains(&("template", "1"));
    let lab = Lab::with(differences).await;
    if !is_template {
        lab.power_on(case).await;
    }
    for error in [lab.remove(case).await.unwrap_err(), lab.destroy(case).await.unwrap_err()] {
        assert!(is_expected(&error.problem), "{case:?} {differences:?}: {error:?}");
    }
    assert_eq!(lab.changes_of(case.vmid), [""; 0], "nothing was tried");
    assert!(lab.exists(case.vmid) && lab.pve.running().contains(&case.vmid) != is_template);
}

fn described(description: String) -> Differences {
    Differences { description: Some(description), ..Differences::default() }
}

#[tokio::test(start_paused = true)]
async fn a_guest_without_our_marker_is_left_alone() {
    for case in CASES {
        let is_expected = |problem: &Problem| matches!(problem, Problem::NotOurs(NotOurs::NoMarker(_)));
        refused(case, &described("Mine.".to_owned()), is_expected).await;
        let line = case.marker().to_string();
        let is_expected = |problem: &Problem| matches!(problem, Problem::NotOurs(NotOurs::Marker { .. }));
        refused(case, &described(format!("{line}\n{line}")), is_expected).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_guest_of_another_installation_or_owner_is_left_alone() {
    for case in CASES {
        let mut marker = case.marker();
        marker.installation = "home".parse().unwrap();
        let is_expected = |problem: &Problem| matches!(problem, Problem::NotOurs(NotOurs::Installation { .. }));
        refused(case, &described(marker.to_string()), is_expected).await;
        let mut marker = case.marker();
        marker.owner = Owner::Dispatcher;
        let is_expected = |problem: &Problem| matches!(problem, Problem::NotOurs(NotOurs::Owner { .. }));
        refused(case, &described(marker.to_string()), is_expected).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_copy_made_by_hand_is_left_alone() {
    for case in CASES {
        let mut marker = case.marker();
        marker.vmid = id(9150);
        let is_expected = |problem: &Problem| matches!(problem, Problem::NotOurs(NotOurs::Copy { marked, .. }) if *marked == id(9150));
        refused(case, &described(marker.to_string()), is_expected).await;
    }
}

#[tokio::test(start_paused = true)]
async fn another_incarnation_is_left_alone() {
    for case in CASES {
        let mut marker = case.marker();
        marker.nonce = "bbbbbb".parse().unwrap();
        let is_expected = |problem: &Problem| matches!(problem, Problem::OtherIncarnation);
        refused(case, &described(marker.to_string()), is_expected).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_guest_outside_of_the_resource_pool_is_left_alone() {
    for case in CASES {
        let differences = Differences { resource_pool: Some("other"), ..Differences::default() };
        let is_expected = |problem: &Problem| matches!(problem, Problem::NotOurs(NotOurs::ResourcePool { .. }));
        refused(case, &differences, is_expected).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_template_is_left_alone_without_the_proof_of_its_family() {
    for case in CASES {
        let differences = Differences { options: vec![("template", "1")], ..Differences::default() };
        let is_expected = |problem: &Problem| matches!(problem, Problem::NotOurs(NotOurs::Template(_)));
        refused(case, &differences, is_expected).await;
    }
}
