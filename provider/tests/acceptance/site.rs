//! The way through on whichever site the environment names: a real Proxmox VE, a real GitHub, both, or neither.
//!
//! It looks only at what a core sees, so it means the same everywhere. On a real Proxmox VE the dispatcher's container is
//! part of it; simulated, that takes guests that run, and `dispatcher_life` has them.

use std::path::Path;

use acceptance::engines::Core;
use acceptance::farm::{Farm, Guests};
use acceptance::mirror::Mirror;
use acceptance::working_directory::WorkingDirectory;
use serde_json::json;

use crate::administrator::Administrator;
use crate::lab;

#[tokio::test]
async fn a_farm_stands_and_goes_on_the_site_that_the_environment_names() {
    // Another test may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let farm = Farm::start(Guests::Scripted).await.expect("a site");
    let template = template(&farm).await;
    let before = farm.leftovers();
    for core in Core::all().expect("a core") {
        let directory = tempfile::tempdir().expect("directory");
        let work = working_directory(&farm, core, directory.path(), template);
        work.init().await.expect("init");
        work.apply().await.expect("apply");
        assert_eq!(work.plan().await.expect("plan").changes(), [""; 0], "the second plan is empty");
        work.destroy().await.expect("destroy");
        assert_eq!(farm.leftovers(), before, "nothing is left");
    }
}

/// The template that the environment names; a simulated Proxmox VE gets one made by hand.
async fn template(farm: &Farm) -> u32 {
    let Some(simulated) = &farm.simulated_pve else {
        return farm
            .pve
            .template_vmid
            .expect("a real Proxmox VE needs PXCI_ACC_PVE_TEMPLATE_VMID, an existing template");
    };
    let vmid = farm.pve.first_vmid;
    Administrator::new(simulated).make_template(vmid, "by-hand", "somebody's", "").await;
    vmid
}

fn working_directory(farm: &Farm, core: Core, directory: &Path, template: u32) -> WorkingDirectory {
    let path = directory.join("work");
    std::fs::create_dir(&path).expect("directory");
    let mirror = Mirror::lay_out(directory, &lab::provider(), None).expect("mirror");
    let mut work = WorkingDirectory::new(core, path, &mirror);
    for name in ["provider.tf", "site.tf"] {
        let text = std::fs::read_to_string(Path::new(lab::FIXTURES).join(name)).expect("fixture");
        work.write(name, &text).expect("fixture");
    }
    for (name, value) in farm.provider_environment(directory).expect("environment") {
        work.set(&name, &value);
    }
    for (name, value) in variables(farm, template) {
        work.set(&format!("TF_VAR_{name}"), &value);
    }
    work
}

fn variables(farm: &Farm, template: u32) -> Vec<(&'static str, String)> {
    let (pve, github) = (&farm.pve, &farm.github);
    let range = |from: u32, to: u32| format!("{}-{}", pve.first_vmid + from, pve.first_vmid + to);
    let vmids = json!({ "by_hand": range(1, 9), "dispatcher": range(10, 19), "runners": range(20, 39) });
    let mut variables = vec![
        ("vm_storage", pve.vm_storage.clone()),
        ("iso_storage", pve.iso_storage.clone()),
        ("bridge", pve.bridge.clone()),
        ("runners_pool", pve.runners_pool.clone()),
        ("control_pool", pve.control_pool.clone()),
        ("template_vmid", template.to_string()),
        ("vmids", vmids.to_string()),
        ("repository", github.repository.clone()),
        ("github_api_url", github.api_url.clone()),
        ("github_token", github.token.clone()),
        ("dispatcher_token_id", pve.dispatcher.id.clone()),
        ("dispatcher_token_secret", pve.dispatcher.secret.clone()),
    ];
    variables.extend(github.ca_pem.clone().map(|pem| ("github_ca_certificate", pem)));
    if farm.simulated_pve.is_none() {
        let appliance = std::env::var("PXCI_APPLIANCE").expect("PXCI_APPLIANCE is set by `cargo xtask test`");
        variables.push(("appliance_file", appliance));
    }
    variables
}
