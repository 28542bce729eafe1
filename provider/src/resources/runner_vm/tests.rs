use tf_provider::{Attr, Diagnostics, Model as _, Resource as _};

use super::RunnerVms;
use super::model::{ImportId, RunnerVm};

fn runner_vm() -> RunnerVm {
    RunnerVm {
        name: "by-hand".into(),
        resource_pool: "ci".into(),
        vmid_range: "9090-9099".into(),
        template_vmid: 9000.into(),
        reap: "never".into(),
        ..RunnerVm::default()
    }
}

fn problems(config: &RunnerVm) -> Vec<String> {
    let mut diagnostics = Diagnostics::new();
    RunnerVms.validate(config, &mut diagnostics);
    diagnostics.iter().map(|diagnostic| diagnostic.path.to_string()).collect()
}

fn config(json: serde_json::Value) -> pve::Config {
    serde_json::from_value(json).unwrap()
}

#[test]
fn a_vmid_or_a_range_is_needed_and_they_must_agree() {
    assert_eq!(problems(&runner_vm()), Vec::<String>::new());
    assert_eq!(problems(&RunnerVm { vmid_range: Attr::Null, ..runner_vm() }), ["vmid_range"]);
    assert_eq!(problems(&RunnerVm { vmid_range: Attr::Null, vmid: 9090.into(), ..runner_vm() }), Vec::<String>::new());
    assert_eq!(problems(&RunnerVm { vmid: 9100.into(), ..runner_vm() }), ["vmid"]);
    assert_eq!(problems(&RunnerVm { vmid_range: Attr::Unknown, ..runner_vm() }), Vec::<String>::new());
}

#[test]
fn a_jit_configuration_needs_a_vm_that_is_started_and_waited_for() {
    let with_job = RunnerVm { jit_config_wo: Attr::Known(tf_provider::Secret::new("x")), ..runner_vm() };
    assert_eq!(problems(&with_job), Vec::<String>::new());
    assert_eq!(problems(&RunnerVm { started: false.into(), ..with_job.clone() }), ["jit_config_wo"]);
    assert_eq!(problems(&RunnerVm { ready_when: "none".into(), ..with_job }), ["jit_config_wo"]);
}

#[test]
fn without_a_range_the_vmid_is_the_range() {
    let alone = RunnerVm { vmid_range: Attr::Null, vmid: 9090.into(), ..runner_vm() };
    assert_eq!(alone.range().unwrap().to_string(), "9090-9090");
    assert_eq!(RunnerVm { vmid: 9091.into(), ..runner_vm() }.range().unwrap().to_string(), "9090-9099");
}

#[test]
fn the_state_is_read_from_marker_and_configuration() {
    let nonce = "k3x9ab".parse().unwrap();
    let marker = RunnerVm { reap: "finished".into(), ..runner_vm() }
        .known()
        .unwrap()
        .marker(&"lab".parse().unwrap(), ownership::Vmid::new(9091).unwrap(), nonce)
        .unwrap();
    let mut state = RunnerVm::default();
    state.observe(
        &marker,
        &config(serde_json::json!({
            "cores": 2, "memory": "2048", "net0": "virtio=BC:24:11:00:00:01,bridge=vmbr0,firewall=1",
            "ide2": "local:iso/pxci-lab_a_k3x9ab_0123456789abcdef.iso,media=cdrom,size=376K",
        })),
    );
    assert_eq!(state.runner_name.text(), Some("lab-by-hand-9091-k3x9ab"));
    assert_eq!((state.name.text(), state.reap.text()), (Some("by-hand"), Some("finished")));
    assert_eq!((state.template_vmid.known(), state.vmid.known()), (Some(&9000), Some(&9091)));
    assert_eq!((state.cores.known(), state.memory.known()), (Some(&2), Some(&2048)));
    assert_eq!(state.bridge.text(), Some("vmbr0"));
    assert_eq!(state.seed_iso.text(), Some("local:iso/pxci-lab_a_k3x9ab_0123456789abcdef.iso"));
}

#[test]
fn an_option_without_a_value_at_pve_is_null_or_its_default() {
    let mut state = RunnerVm::default();
    state.observe_shape(&config(serde_json::json!({ "memory": "current=512", "ide2": "none,media=cdrom" })));
    assert_eq!((state.cores.known(), state.memory.known()), (Some(&1), Some(&512)));
    assert!(state.bridge.is_null() && state.seed_iso.is_null());
}

/// Returns `started` and `finished` after a read of a VM that runs or is off.
fn power(before: &RunnerVm, is_running: bool) -> (Option<bool>, Option<bool>) {
    let mut state = before.clone();
    state.observe_power(is_running);
    (state.started.into_known(), state.finished.into_known())
}

#[test]
fn a_vm_that_was_started_and_is_off_has_finished() {
    let started = RunnerVm { started: true.into(), finished: false.into(), ..runner_vm() };
    assert_eq!(power(&started, true), (Some(true), Some(false)));
    assert_eq!(power(&started, false), (Some(true), Some(true)));
    let finished = RunnerVm { finished: true.into(), started: false.into(), ..runner_vm() };
    assert_eq!(power(&finished, false), (Some(false), Some(true)), "it stays finished");
}

#[test]
fn a_vm_that_was_never_started_has_not_finished() {
    let waiting = RunnerVm { started: false.into(), finished: false.into(), ..runner_vm() };
    assert_eq!(power(&waiting, false), (Some(false), Some(false)));
    assert_eq!(power(&waiting, true), (Some(true), Some(false)), "it was started by hand");
}

#[test]
fn a_state_of_release_0_1_shows_by_its_address_that_the_vm_ran() {
    let stopped = RunnerVm { started: false.into(), ip_address: "10.0.0.7".into(), ..runner_vm() };
    assert_eq!(power(&stopped, false), (Some(false), Some(true)));
    assert_eq!(power(&RunnerVm { started: false.into(), ..runner_vm() }, false), (Some(false), Some(false)));
}

#[test]
fn an_imported_vm_that_is_off_is_not_to_be_started() {
    assert_eq!(power(&runner_vm(), false), (Some(true), Some(true)));
    assert_eq!(power(&runner_vm(), true), (Some(true), Some(false)));
}

#[test]
fn import_ids_name_a_vm_and_perhaps_its_range() {
    let id = ImportId::parse("pve1/9091").unwrap();
    assert_eq!((id.node.as_str(), id.vmid.get(), id.range), ("pve1", 9091, None));
    assert_eq!(ImportId::parse("pve1/9091/9090-9099").unwrap().range.as_deref(), Some("9090-9099"));
    for wrong in ["", "pve1", "/9091", "pve1/x", "pve1/9091/100-200", "pve1/9091/9090-9099/x"] {
        assert_eq!(ImportId::parse(wrong), None, "{wrong}");
    }
}
