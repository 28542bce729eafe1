//! Proofs that a step passes on to the next one, and proofs that share the read of their resource pool.

use std::sync::Arc;
use std::time::Duration;

use guest::{OwnedVm, Place, Problem, RunnerVm, Shape};
use ownership::{Kind, Marker, NotOurs, Owner};
use serde_json::{Value, json};
use sim_pve::Fault;
use tokio_util::sync::CancellationToken;

use crate::lab::{CASES, Case, Lab, TOKEN, VM, id, installation, world_of};

const CASE: Case = CASES[0];

fn vm_of(client: &pve::Client, marker: Marker) -> RunnerVm {
    let place = Place {
        claimant: marker.owner,
        node: "pve1".parse().unwrap(),
        range: "9000-9199".parse().unwrap(),
        resource_pool: "ci".into(),
    };
    RunnerVm::new(client.clone(), "lab-p-9100-aaaaaa".parse().unwrap(), marker, place, CancellationToken::new())
}

fn shape() -> Shape {
    Shape { cores: Some(2), ..Shape::default() }
}

/// Number of reads of the resource pool so far. Each stands for one proof, or for several that shared it.
fn reads_of_pool(lab: &Lab) -> usize {
    let entries = lab.pve.requests().entries();
    entries.iter().filter(|entry| entry.method == "GET" && entry.path.ends_with("/pools/ci")).count()
}

async fn proved(vm: &RunnerVm) -> Option<OwnedVm> {
    Some(vm.prove().await.unwrap())
}

async fn leave_pool(lab: &Lab) {
    lab.call("PUT", "/pools/ci", &[("vms", &VM.to_string()), ("delete", "1")]).await;
}

#[tokio::test(start_paused = true)]
async fn one_proof_serves_configuration_and_start() {
    let lab = Lab::start().await;
    let vm = vm_of(&lab.client(TOKEN), CASE.marker());
    let proved = proved(&vm).await;
    let configured = vm.configure(&shape(), proved).await.unwrap();
    vm.power_on(Some(configured)).await.unwrap();
    assert_eq!(reads_of_pool(&lab), 1);
    assert_eq!(lab.changes_of(VM).len(), 2, "{:?}", lab.changes_of(VM));
    assert!(lab.pve.running().contains(&VM));
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_changes_before_its_configuration_is_left_alone() {
    let lab = Lab::start().await;
    let vm = vm_of(&lab.client(TOKEN), CASE.marker());
    let proved = proved(&vm).await;
    let mut other = CASE.marker();
    other.nonce = "bbbbbb".parse().unwrap();
    lab.call("PUT", &CASE.path("/config"), &[("description", &other.to_string())]).await;
    let error = vm.configure(&shape(), proved).await.unwrap_err();
    assert!(matches!(error.problem, Problem::OtherIncarnation), "{error:?}");
    let config = lab.call("GET", &CASE.path("/config"), &[]).await;
    assert_eq!(config["cores"], Value::Null, "the digest of the proof no longer fits");
}

#[tokio::test(start_paused = true)]
async fn a_proof_that_waited_too_long_for_its_step_is_read_again() {
    let lab = Lab::start().await;
    let vm = vm_of(&lab.client(TOKEN), CASE.marker());
    let proved = proved(&vm).await;
    leave_pool(&lab).await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    let error = vm.start(proved).await.unwrap_err();
    assert!(matches!(error.problem, Problem::NotOurs(NotOurs::ResourcePool { .. })), "{error:?}");
    assert_eq!(lab.changes_of(VM), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn only_the_first_attempt_uses_the_proof_of_the_step_before() {
    let lab = Arc::new(Lab::start().await);
    let vm = vm_of(&lab.client(TOKEN), CASE.marker());
    let proved = proved(&vm).await;
    let text = "can't lock file '/var/lock/lock.conf' - got timeout".to_owned();
    lab.pve.inject("POST", &CASE.path("/status/start"), Fault::Refuse { status: 500, text }, 1);
    let start = tokio::spawn(async move { vm.start(proved).await });
    lab.until("the first attempt", || !lab.pve.fired().is_empty()).await;
    leave_pool(&lab).await;
    let error = start.await.unwrap().unwrap_err();
    assert!(matches!(error.problem, Problem::NotOurs(NotOurs::ResourcePool { .. })), "{error:?}");
    assert_eq!(lab.changes_of(VM).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_proof_by_other_conditions_is_not_taken_over() {
    let lab = Lab::start().await;
    let client = lab.client(TOKEN);
    let proved = proved(&vm_of(&client, CASE.marker())).await;
    let mut other = CASE.marker();
    other.nonce = "bbbbbb".parse().unwrap();
    let error = vm_of(&client, other).start(proved).await.unwrap_err();
    assert!(matches!(error.problem, Problem::OtherIncarnation), "{error:?}");
    assert_eq!(lab.changes_of(VM), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn arming_and_destruction_never_use_an_earlier_proof() {
    let lab = Lab::start().await;
    let vm = vm_of(&lab.client(TOKEN), CASE.marker());
    let proved = proved(&vm).await;
    let configured = vm.configure(&shape(), proved).await.unwrap();
    vm.power_on(Some(configured)).await.unwrap();
    leave_pool(&lab).await;
    let secret = "secret".to_owned().into();
    for outcome in [vm.arm(&secret).await, vm.stop().await, vm.destroy().await] {
        let error = outcome.unwrap_err();
        assert!(matches!(error.problem, Problem::NotOurs(NotOurs::ResourcePool { .. })), "{error:?}");
    }
    assert_eq!(lab.changes_of(VM).len(), 2, "configuration and start: {:?}", lab.changes_of(VM));
}

fn runner(vmid: u32) -> Marker {
    Marker::new(installation(), Owner::Dispatcher, Kind::Runner, id(vmid), "aaaaaa".parse().unwrap())
}

#[tokio::test(start_paused = true)]
async fn vms_that_end_together_share_the_read_of_their_resource_pool_and_one_that_left_it_is_left_alone() {
    let guest = |vmid: u32| {
        let config = json!({ "name": "vm", "memory": "512", "description": runner(vmid).to_string() });
        json!({ "vmid": vmid, "type": "qemu", "config": config })
    };
    let lab = Lab::of(&world_of((9100..9104).map(guest).collect(), json!([]), "ci")).await;
    let client = lab.client(TOKEN);
    let vms: Vec<RunnerVm> = (9100..9104).map(|vmid| vm_of(&client, runner(vmid))).collect();
    for vm in &vms {
        vm.prove().await.unwrap();
    }
    assert_eq!(reads_of_pool(&lab), 4, "an answer serves no question that comes after it");
    leave_pool(&lab).await;
    let (first, second, third, fourth) =
        tokio::join!(vms[0].destroy(), vms[1].destroy(), vms[2].destroy(), vms[3].destroy());
    let error = first.unwrap_err();
    assert!(matches!(error.problem, Problem::NotOurs(NotOurs::ResourcePool { .. })), "{error:?}");
    for outcome in [second, third, fourth] {
        outcome.unwrap();
    }
    assert_eq!((lab.pve.guests(), reads_of_pool(&lab)), (vec![VM], 5));
}
