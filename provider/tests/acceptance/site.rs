//! A whole run against the services that the environment names: a real Proxmox VE, a real GitHub, both, or simulators.
//!
//! The tests use only the two APIs and the output of the core, so they mean the same with real services and simulators.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use farm::build::Build;
use farm::engines::{cores, preferred_core};
use farm::harness::{Core, WorkingDirectory};
use farm::simulation::{Farm, Guests, repository};
use serde_json::json;
use sim_guest::Namespaces;

use crate::administrator::Administrator;
use crate::cleaning::cleaned_up;
use crate::workflow_job::Queued;
use crate::working_directory::{self, install_tls};

/// Number of VMIDs that a run uses.
const VMIDS: u32 = 50;
const DEADLINE: Duration = Duration::from_secs(300);
const POLL_PAUSE: Duration = Duration::from_millis(500);

#[tokio::test]
async fn an_existing_template_can_be_used_with_every_core() {
    install_tls();
    let farm = Farm::simulated(Guests::Scripted).await.expect("a farm");
    let template = farm.pve.first_vmid;
    let administrator = Administrator::new(farm.simulated_pve.as_ref().expect("a simulated Proxmox VE"));
    administrator.make_template(template, "by-hand", "foreign", "").await;
    let before = farm.leftovers();
    for core in cores().expect("a core") {
        let directory = tempfile::tempdir().expect("directory");
        let mut work = working_directory(&farm, core, directory.path(), None);
        work.set("TF_VAR_template_vmid", &template.to_string());
        apply_and_destroy(&work, async || ()).await;
        assert_eq!(farm.leftovers(), before, "nothing is left");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_farm_is_built_runs_a_job_and_is_destroyed() {
    install_tls();
    let guests = Namespaces::start(&prepared("PXCI_GUEST_BASE")).await.expect("guests");
    let farm = Farm::start(Guests::Running(guests.clone())).await.expect("a site");
    assert_eq!(guests_of(&farm).await, [""; 0], "the run's VMIDs must be free");

    let directory = tempfile::tempdir().expect("directory");
    let appliance = prepared("PXCI_APPLIANCE");
    let mut work = working_directory(&farm, preferred_core().expect("a core"), directory.path(), Some(&appliance));
    match farm.pve.template_vmid {
        Some(template) => {
            work.set("TF_VAR_template_vmid", &template.to_string());
            work.set("TF_VAR_template_family", &family_of(&farm, template).await);
        }
        None => build(&farm, &mut work, directory.path(), &guests),
    }
    let run = apply_and_destroy(&work, async || runs_a_job(&farm).await);
    cleaned_up(&work, async || left_of(&farm).await, run).await;

    assert_eq!(left_of(&farm).await, [""; 0], "nothing is left");
    assert_eq!(farm.leftovers(), [""; 0], "nothing is left");
    guests.end().await;
}

/// Applies, checks that a second plan is empty, waits for `meanwhile`, and destroys.
async fn apply_and_destroy(work: &WorkingDirectory, meanwhile: impl AsyncFn()) {
    work.init().await.expect("init");
    work.apply().await.expect("apply");
    assert_eq!(work.plan().await.expect("plan").changes(), [""; 0], "the second plan is empty");
    meanwhile().await;
    work.destroy().await.expect("destroy");
}

/// Runs a job, which must succeed. Afterwards neither its VM nor its registration may exist.
async fn runs_a_job(farm: &Farm) {
    if farm.simulated_pve.is_some() && farm.simulated_github.is_none() {
        println!("not run: a job of the real GitHub (simulated guests run a substitute for its runner program)");
        return;
    }
    let Some(job) = Queued::start(farm).await else {
        println!("not run: a job of the real GitHub (PXCI_ACC_GITHUB_JOB)");
        return;
    };
    let runner = job.finish().await;
    job.deregistered(&runner).await;
    let started = Instant::now();
    while guests_of(farm).await.iter().any(|guest| guest.ends_with(runner.as_str())) {
        assert!(started.elapsed() < DEADLINE, "{runner} is not reaped");
        tokio::time::sleep(POLL_PAUSE).await;
    }
}

/// Returns the guests in the run's VMIDs, as `9020 name`.
async fn guests_of(farm: &Farm) -> Vec<String> {
    let guests = client(farm).guests().await.expect("guests");
    let first = farm.pve.first_vmid;
    let ours = guests.into_iter().filter(|guest| (first..first + VMIDS).contains(&guest.vmid.get()));
    ours.map(|guest| format!("{} {}", guest.vmid, guest.name.unwrap_or_default())).collect()
}

/// Returns everything of the run that still exists: guests in its VMIDs, and its files on the storage for images.
async fn left_of(farm: &Farm) -> Vec<String> {
    let images = client(farm).storage(&node(farm), &farm.pve.iso_storage).volumes("iso").await.expect("images");
    let ours = images.into_iter().map(|volume| volume.volid).filter(|volid| volid.contains("acceptance"));
    guests_of(farm).await.into_iter().chain(ours).collect()
}

/// Returns the family in the marker of an existing template, or else the template's name.
async fn family_of(farm: &Farm, template: u32) -> String {
    let template = ownership::Vmid::new(template).expect("a VMID");
    let config = client(farm).qemu(&node(farm), template).config().await.expect("the template");
    let marked = ownership::Marker::find(config.description()).expect("its marker").and_then(|marker| marker.family);
    marked.unwrap_or_else(|| config.get("name").unwrap_or_default().to_owned())
}

fn node(farm: &Farm) -> ownership::NodeName {
    farm.pve.node.parse().expect("the name of a node")
}

fn client(farm: &Farm) -> pve::Client {
    let pve = &farm.pve;
    let trust = match (&pve.ca_pem, &pve.fingerprint) {
        (Some(pem), _) => pve::Trust::CaPem(pem.clone()),
        (None, Some(fingerprint)) => pve::Trust::Fingerprint(fingerprint.parse().expect("a fingerprint")),
        (None, None) => pve::Trust::System,
    };
    let client = pve::Client::new(pve::ClientConfig {
        endpoints: vec![pve.endpoint.parse().expect("an endpoint")],
        token: pve::ApiToken::new(&pve.provider.id, &pve.provider.secret.as_str().into()).expect("a token"),
        trust,
        user_agent: "pxci-acceptance".to_owned(),
    });
    client.expect("a client")
}

/// Returns the path of a file that `cargo xtask test` prepares.
pub(crate) fn prepared(name: &str) -> PathBuf {
    std::env::var_os(name).unwrap_or_else(|| panic!("{name} is not set: run `cargo xtask test`")).into()
}

/// Configures the build of the template by the flavour's module.
fn build(farm: &Farm, work: &mut WorkingDirectory, directory: &Path, guests: &Namespaces) {
    let flavour = repository().join("runners/ubuntu-2204");
    let build = Build::prepare(farm, &flavour, directory, Some(guests.ssh_address())).expect("an image");
    work.set("TF_VAR_image_directory", &build.image.path().display().to_string());
    work.set("TF_VAR_image_variables", &build.variables.to_string());
    work.set("TF_VAR_image_secrets", &build.secrets.to_string());
    if let Some(plugins) = &build.plugin_path {
        work.set("PACKER_PLUGIN_PATH", &plugins.display().to_string());
    }
}

pub(crate) fn working_directory(
    farm: &Farm,
    core: Core,
    directory: &Path,
    appliance: Option<&Path>,
) -> WorkingDirectory {
    let fixtures = ["provider.tf", "site.tf"];
    let mut work = working_directory::with_fixtures(&fixtures, farm, core, directory, appliance);
    for part in ["modules", "runners"] {
        farm::image::copy(&repository().join(part), &work.path().join(part)).expect("modules");
    }
    for (name, value) in variables(farm, appliance) {
        work.set(&format!("TF_VAR_{name}"), &value);
    }
    work
}

fn variables(farm: &Farm, appliance: Option<&Path>) -> Vec<(&'static str, String)> {
    let (pve, github, dispatcher) = (&farm.pve, &farm.github, &farm.dispatcher);
    let range = |from: u32, to: u32| format!("{}-{}", pve.first_vmid + from, pve.first_vmid + to);
    let vmids = json!({
        "by_hand": range(1, 9), "dispatcher": range(10, 19), "runners": range(20, 39), "templates": range(40, VMIDS - 1),
    });
    let mut variables = vec![
        ("node", pve.node.clone()),
        ("vm_storage", pve.vm_storage.clone()),
        ("iso_storage", pve.iso_storage.clone()),
        ("bridge", pve.bridge.clone()),
        ("runners_pool", pve.runners_pool.clone()),
        ("control_pool", pve.control_pool.clone()),
        ("vmids", vmids.to_string()),
        ("repository", github.repository.clone()),
        ("github_api_url", github.api_url.clone()),
        ("dispatcher_pve_endpoint", dispatcher.pve_endpoint.clone()),
        ("dispatcher_github_api_url", dispatcher.github_api_url.clone()),
        ("github_token", github.token.clone()),
        ("poll_interval", if farm.simulated_github.is_some() { "1" } else { "15" }.to_owned()),
        ("dispatcher", appliance.is_some().to_string()),
        ("dispatcher_token_id", pve.dispatcher.id.clone()),
        ("dispatcher_token_secret", pve.dispatcher.secret.clone()),
    ];
    variables.extend(dispatcher.github_ca_pem.clone().map(|pem| ("github_ca_certificate", pem)));
    variables
}
