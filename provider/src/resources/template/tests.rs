use std::collections::BTreeMap;
use std::path::Path;

use tf_provider::{Attr, Diagnostics, Resource as _};

use super::model::{KnownTemplate, Template, is_of};
use super::source::{Source, changed};
use super::{Templates, refuse_changes, secret_names};

const DECLARATIONS: &str = "variable \"vm_id\" {}\nvariable \"proxmox_token\" {}\nvariable \"disk_size\" {\n  default = \"40G\"\n}\nvariable \"license\" {}\n";

fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("image.pkr.hcl"), DECLARATIONS).unwrap();
    std::fs::write(directory.path().join("install.sh"), "true\n").unwrap();
    directory
}

fn template(directory: &Path) -> KnownTemplate {
    KnownTemplate {
        family: "ubuntu-2204".into(),
        resource_pool: "ci".into(),
        vmid_range: "9000-9049".into(),
        directory: directory.to_str().unwrap().into(),
        vm_storage: "local-lvm".into(),
        iso_storage: "local".into(),
        bridge: "vmbr0".into(),
        runner_version: "latest".into(),
        ..KnownTemplate::default()
    }
}

fn problems(source: &Source, plan: &KnownTemplate, config: &Template) -> Vec<String> {
    let refused = source.check_variables(plan, secret_names(config).as_ref()).err().unwrap_or_default();
    refused.iter().map(|diagnostic| format!("{}: {}", diagnostic.path, diagnostic.detail)).collect()
}

#[test]
fn the_inputs_list_the_files_and_the_fingerprint_covers_every_argument_of_the_build() {
    let directory = directory();
    let plan = template(directory.path());
    let source = Source::read(&plan).unwrap();
    assert_eq!(source.inputs.shown().into_keys().collect::<Vec<_>>(), ["image.pkr.hcl", "install.sh"]);
    let fingerprint = |plan: KnownTemplate| Source::read(&plan).unwrap().fingerprint;
    assert_eq!(
        fingerprint(KnownTemplate { keep_versions: 9, github_api_url: "https://x".into(), ..plan.clone() }),
        source.fingerprint
    );
    for other in [
        KnownTemplate { vm_storage: "nvme".into(), ..plan.clone() },
        KnownTemplate { runner_version: "2.336.0".into(), ..plan.clone() },
        KnownTemplate { secret_variables_wo_version: Some(2), ..plan.clone() },
        KnownTemplate {
            variables: BTreeMap::from([("disk_size".to_owned(), "80G".to_owned())]).into(),
            ..plan.clone()
        },
        KnownTemplate { ignore: vec!["install.sh".to_owned()].into(), ..plan.clone() },
    ] {
        assert_ne!(fingerprint(other), source.fingerprint);
    }
}

#[test]
fn secrets_do_not_reach_the_fingerprint() {
    let directory = directory();
    let plan = template(directory.path());
    let secret = |text: &str| KnownTemplate {
        secret_variables_wo: BTreeMap::from([("license".to_owned(), tf_provider::Secret::new(text))]).into(),
        ..plan.clone()
    };
    assert_eq!(Source::read(&secret("a")).unwrap().fingerprint, Source::read(&secret("b")).unwrap().fingerprint);
}

#[test]
fn variables_are_checked_against_the_packer_template() {
    let directory = directory();
    let plan = template(directory.path());
    let source = Source::read(&plan).unwrap();
    let config = Template::from(plan.clone());
    let missing = problems(&source, &plan, &config);
    assert!(missing.len() == 1 && missing[0].contains("license"), "{missing:?}");

    let given =
        |name: &str| BTreeMap::from([("license".to_owned(), "x".to_owned()), (name.to_owned(), "y".to_owned())]);
    let unknown = KnownTemplate { variables: given("disk_sice").into(), ..plan.clone() };
    assert!(problems(&source, &unknown, &config)[0].contains("disk_size"));
    let ours = KnownTemplate { variables: given("proxmox_token").into(), ..plan.clone() };
    assert!(problems(&source, &ours, &config)[0].contains("sets this variable itself"));

    let unknown_secrets = Template { secret_variables_wo: Attr::Unknown, ..config };
    assert_eq!(problems(&source, &plan, &unknown_secrets), Vec::<String>::new());
}

#[test]
fn files_that_changed_since_the_plan_are_refused_by_name() {
    let directory = directory();
    let mut plan = template(directory.path());
    let planned = Source::read(&plan).unwrap();
    plan.inputs = planned.inputs.shown().into();
    plan.fingerprint = planned.fingerprint.clone().into();
    assert!(refuse_changes(&plan, &Source::read(&plan).unwrap()).is_ok());
    std::fs::write(directory.path().join("install.sh"), "false\n").unwrap();
    std::fs::write(directory.path().join("new.sh"), "").unwrap();
    let refused = refuse_changes(&plan, &Source::read(&plan).unwrap()).unwrap_err();
    assert!(refused.detail.contains("install.sh, new.sh"), "{}", refused.detail);
}

#[test]
fn a_file_that_no_longer_exists_is_a_change() {
    let planned = BTreeMap::from([("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())]);
    let now = BTreeMap::from([("a".to_owned(), "1".to_owned())]);
    assert_eq!(changed(&planned, &now), ["b"]);
}

#[test]
fn another_url_of_the_runner_program_needs_a_digest() {
    let mut diagnostics = Diagnostics::new();
    let config =
        Template { runner_url: "https://mirror/r.tgz".into(), runner_version: "2.336.0".into(), ..Template::default() };
    Templates.validate(&config, &mut diagnostics);
    let paths: Vec<String> = diagnostics.iter().map(|diagnostic| diagnostic.path.to_string()).collect();
    assert_eq!(paths, ["runner_sha256"]);
}

#[test]
fn a_family_of_another_installation_is_refused() {
    let installation: ownership::Installation = "lab".parse().unwrap();
    let of = |own: Attr<String>| is_of("ubuntu", &own, &installation);
    assert!(of("lab".into()).is_ok() && of(Attr::Unknown).is_ok());
    let refused = of("farm".into()).unwrap_err();
    assert!(refused.summary.contains("\"ubuntu\""), "{}", refused.summary);
    assert!(refused.detail.contains("\"farm\", but the provider's installation is \"lab\""), "{}", refused.detail);
}
