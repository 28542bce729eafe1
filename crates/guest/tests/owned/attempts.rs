//! Each attempt proves for itself: locks, lost replies, and guests that change between two attempts.

use std::sync::Arc;

use guest::{Problem, RunnerVm};
use ownership::NotOurs;
use serde_json::json;
use sim_pve::Fault;

use crate::lab::{CASES, CONTAINER, Case, Differences, Lab, VM, volume, world_of};

fn locked() -> Fault {
    Fault::Refuse { status: 500, text: "can't lock file '/var/lock/lock.conf' - got timeout".to_owned() }
}

#[tokio::test(start_paused = true)]
async fn a_running_guest_of_ours_is_stopped_and_destroyed_with_its_disk() {
    for case in CASES {
        let lab = Lab::start().await;
        lab.power_on(case).await;
        lab.remove(case).await.unwrap();
        assert!(!lab.exists(case.vmid));
        let volumes = lab.call("GET", "/nodes/pve1/storage/lvm/content", &[]).await;
        assert_eq!(volumes.as_array().unwrap().len(), 1, "only the disk of the other guest is left: {volumes}");
        lab.remove(case).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_running_guest_is_not_destroyed_unasked() {
    for case in CASES {
        let lab = Lab::start().await;
        lab.power_on(case).await;
        let error = lab.destroy(case).await.unwrap_err();
        assert!(matches!(error.problem, Problem::StillRunning), "{error:?}");
        assert!(lab.exists(case.vmid));
    }
}

#[tokio::test(start_paused = true)]
async fn protection_is_removed_before_the_destruction() {
    for case in CASES {
        let lab = Lab::with(&Differences { options: vec![("protection", "1")], ..Differences::default() }).await;
        lab.remove(case).await.unwrap();
        assert!(!lab.exists(case.vmid));
    }
}

#[tokio::test(start_paused = true)]
async fn a_locked_guest_is_destroyed_once_the_lock_is_gone() {
    for case in CASES {
        let lab = Arc::new(Lab::start().await);
        lab.pve.set_lock(case.vmid, Some("backup"));
        let removal = tokio::spawn({
            let lab = Arc::clone(&lab);
            async move { lab.remove(case).await }
        });
        lab.until("three attempts", || lab.changes_of(case.vmid).len() >= 3).await;
        assert!(lab.exists(case.vmid));
        lab.pve.set_lock(case.vmid, None);
        removal.await.unwrap().unwrap();
        assert!(!lab.exists(case.vmid));
    }
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_stays_is_the_error() {
    for case in CASES {
        let lab = Lab::start().await;
        lab.pve.set_lock(case.vmid, Some("backup"));
        let error = lab.remove(case).await.unwrap_err();
        assert!(matches!(&error.problem, Problem::Pve(error) if error.is_locked()), "{error:?}");
        assert!(error.is_transient() && lab.exists(case.vmid));
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_reply_is_not_the_end() {
    for case in CASES {
        for fault in [Fault::DropReply, Fault::DropRequest, Fault::DaemonDies] {
            let lab = Lab::start().await;
            lab.power_on(case).await;
            lab.pve.inject("POST", &case.path("/status/stop"), fault.clone(), 1);
            lab.pve.inject("DELETE", &case.path(""), fault.clone(), 1);
            lab.remove(case).await.unwrap_or_else(|error| panic!("{case:?} {fault:?}: {error:?}"));
            assert!(!lab.exists(case.vmid));
            assert_eq!(lab.pve.fired().len(), 2);
        }
    }
}

/// Lets the first request to destroy the guest fail on a lock, changes the guest in the pause, and returns the error.
async fn changed_between_two_attempts(case: Case, options: &[(&str, &str)]) -> (Arc<Lab>, guest::Error) {
    let lab = Arc::new(Lab::start().await);
    lab.pve.inject("DELETE", &case.path(""), locked(), 1);
    let removal = tokio::spawn({
        let lab = Arc::clone(&lab);
        async move { lab.remove(case).await }
    });
    lab.until("the first attempt", || !lab.pve.fired().is_empty()).await;
    lab.call("PUT", &case.path("/config"), options).await;
    let error = removal.await.unwrap().unwrap_err();
    (lab, error)
}

#[tokio::test(start_paused = true)]
async fn a_marker_that_changes_between_two_attempts_ends_them() {
    for case in CASES {
        let mut other = case.marker();
        other.nonce = "bbbbbb".parse().unwrap();
        let (lab, error) = changed_between_two_attempts(case, &[("description", &other.to_string())]).await;
        assert!(matches!(error.problem, Problem::OtherIncarnation), "{error:?}");
        assert!(lab.exists(case.vmid));
        assert_eq!(lab.changes_of(case.vmid).len(), 1, "there was no second request to destroy it");

        let (lab, error) = changed_between_two_attempts(case, &[("description", "Mine now.")]).await;
        assert!(matches!(error.problem, Problem::NotOurs(NotOurs::NoMarker(_))), "{error:?}");
        assert!(lab.exists(case.vmid));
    }
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_leaves_the_resource_pool_between_stop_and_destruction_is_left_alone() {
    for case in CASES {
        let lab = Arc::new(Lab::start().await);
        lab.power_on(case).await;
        lab.pve.inject("DELETE", &case.path(""), locked(), 1);
        let removal = tokio::spawn({
            let lab = Arc::clone(&lab);
            async move { lab.remove(case).await }
        });
        lab.until("the first attempt", || !lab.pve.fired().is_empty()).await;
        lab.call("PUT", "/pools/ci", &[("vms", &case.vmid.to_string()), ("delete", "1")]).await;
        let error = removal.await.unwrap().unwrap_err();
        assert!(matches!(error.problem, Problem::NotOurs(NotOurs::ResourcePool { .. })), "{error:?}");
        assert!(lab.exists(case.vmid) && lab.pve.running().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn protection_that_a_person_sets_again_is_removed_only_with_the_proof() {
    for case in CASES {
        let lab = Lab::with(&Differences { options: vec![("protection", "1")], ..Differences::default() }).await;
        let conflict = Fault::Refuse { status: 500, text: "file change by other user".to_owned() };
        lab.pve.inject("PUT", &case.path("/config"), conflict, 1);
        lab.remove(case).await.unwrap();
        assert!(!lab.exists(case.vmid));
        let requests = lab.pve.requests().entries();
        let proofs = requests.iter().filter(|entry| entry.method == "GET" && entry.path.ends_with("/pools/ci")).count();
        assert_eq!(proofs, 3, "one for the stop, and one for each attempt to destroy");
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_fails_if_the_guest_changed_since_the_proof() {
    let lab = Lab::start().await;
    let owned = lab.candidate_on::<pve::Qemu>("pve1", CASES[0]).prove().await.unwrap();
    lab.call("PUT", &CASES[0].path("/config"), &[("description", "Mine now.")]).await;
    let error = owned.change(&[("tags", "x")]).await.unwrap_err();
    assert!(error.is_digest_conflict(), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_no_configuration_names_survives_on_other_storages() {
    let guests = CASES.map(|case| {
        let config = if case.word == "qemu" {
            json!({ "name": "vm", "memory": "512", "scsi0": "lvm:vm-9100-disk-0,size=1G", "description": case.marker().to_string() })
        } else {
            json!({ "hostname": "ct", "memory": "64", "arch": "amd64", "ostype": "alpine",
                "rootfs": "lvm:vm-9101-disk-0,size=1G", "description": case.marker().to_string() })
        };
        json!({ "vmid": case.vmid, "type": case.word, "config": config })
    });
    let volumes = json!([
        volume("lvm:vm-9100-disk-0", VM),
        volume("elsewhere:vm-9100-disk-7", VM),
        volume("lvm:vm-9101-disk-0", CONTAINER),
        volume("elsewhere:vm-9101-disk-7", CONTAINER),
    ]);
    let lab = Lab::of(&world_of(guests.into(), volumes, "ci")).await;
    for case in CASES {
        lab.remove(case).await.unwrap();
    }
    assert_eq!(lab.pve.guests(), [0; 0]);
    let left = async |storage: &str| {
        let content = lab.call("GET", &format!("/nodes/pve1/storage/{storage}/content"), &[]).await;
        let volids = content.as_array().unwrap().iter().map(|volume| volume["volid"].as_str().unwrap().to_owned());
        volids.collect::<Vec<_>>()
    };
    assert_eq!(left("lvm").await, [""; 0]);
    assert_eq!(left("elsewhere").await, ["elsewhere:vm-9100-disk-7", "elsewhere:vm-9101-disk-7"]);
}

#[tokio::test(start_paused = true)]
async fn a_vm_that_is_not_ours_is_neither_configured_nor_started_nor_armed() {
    let mut marker = CASES[0].marker();
    marker.nonce = "bbbbbb".parse().unwrap();
    let lab = Lab::with(&Differences { description: Some(marker.to_string()), ..Differences::default() }).await;
    lab.power_on(CASES[0]).await;
    let place = guest::Place {
        claimant: ownership::Owner::Provider,
        node: "pve1".parse().unwrap(),
        range: "9000-9199".parse().unwrap(),
        resource_pool: "ci".into(),
    };
    let client = lab.client(crate::lab::TOKEN);
    let vm = RunnerVm::new(
        client,
        "lab-ubuntu-9101-abcdef".parse().unwrap(),
        CASES[0].marker(),
        place,
        tokio_util::sync::CancellationToken::new(),
    );
    let outcomes = [
        vm.configure(&guest::Shape { cores: Some(2), ..guest::Shape::default() }, None).await.map(drop),
        vm.start(None).await.map(drop),
        vm.power_on(None).await,
        vm.arm(&"secret".to_owned().into()).await,
        vm.guest_state().await.map(drop),
        vm.mark(|marker| marker.reap = None).await,
    ];
    for outcome in outcomes {
        let error = outcome.unwrap_err();
        assert!(matches!(error.problem, Problem::OtherIncarnation), "{error:?}");
    }
    assert_eq!(lab.changes_of(VM), [""; 0]);
    assert_eq!(lab.guests.file(VM, "/run/pxci/jitconfig"), None);
}
