use ownership::Installation;
use tf_provider::{Attr, Diagnostics, Model as _, Resource as _};

use super::Snippets;
use super::model::{ImportId, KnownSnippet, Snippet, volid_with};

fn snippet(user_data: &str) -> Snippet {
    Snippet { name: "runner".into(), storage: "local".into(), user_data: user_data.into(), ..Snippet::default() }
}

fn problems(snippet: &Snippet) -> Vec<String> {
    let mut diagnostics = Diagnostics::new();
    Snippets.validate(snippet, &mut diagnostics);
    diagnostics.iter().map(|diagnostic| format!("{}: {}", diagnostic.path, diagnostic.detail)).collect()
}

#[test]
fn a_misspelt_key_is_refused_at_its_attribute() {
    let found = problems(&snippet("#cloud-config\npakages: [git]\n"));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("user_data: ") && found[0].contains("pakages"), "{found:?}");
}

#[test]
fn valid_data_and_unknown_data_are_accepted() {
    assert_eq!(problems(&snippet("#cloud-config\npackages: [git]\n")), Vec::<String>::new());
    assert_eq!(problems(&Snippet { user_data: Attr::Unknown, ..snippet("") }), Vec::<String>::new());
}

fn lab() -> Installation {
    "lab".parse().unwrap()
}

fn known(user_data: &str) -> KnownSnippet {
    snippet(user_data).known().unwrap()
}

#[test]
fn each_resource_has_its_own_file() {
    let one = known("#cloud-config\n{}\n");
    let image = one.image();
    let volid = || one.new_volid(&image, &lab());
    assert!(volid().starts_with("local:iso/pxci-lab_runner_"), "{}", volid());
    assert_ne!(volid(), volid());
}

#[test]
fn changed_content_is_another_file_of_the_same_resource() {
    let before = "local:iso/pxci-lab_runner_k3x9ab_0123456789abcdef.iso";
    let image = known("#cloud-config\nhostname: a\n").image();
    let after = volid_with(before, &image, &lab()).unwrap();
    assert_eq!(after, format!("local:iso/pxci-lab_runner_k3x9ab_{}.iso", &image.sha256[..16]));
    assert_eq!(volid_with(before, &image, &"prod".parse().unwrap()), None, "another installation gets another id");
}

#[test]
fn a_file_of_release_0_1_is_kept_until_the_data_changes() {
    let data = "#cloud-config\n{}\n";
    let image = known(data).image();
    let before = format!("local:iso/pxci-runner-{}.iso", &image.sha256[..16]);
    assert_eq!(volid_with(&before, &image, &lab()).as_ref(), Some(&before));
    let other = known("#cloud-config\nhostname: a\n").image();
    assert_eq!(volid_with(&before, &other, &lab()), None);
    let snippet = KnownSnippet { volid: before.into(), ..known(data) };
    assert_eq!(snippet.owned_file(&lab()), None, "its owner is unknown");
}

#[test]
fn the_seed_iso_is_unknown_while_a_part_of_the_data_is_unknown() {
    assert!(Snippet { network_config: Attr::Unknown, ..snippet("#cloud-config\n{}\n") }.known().is_none());
}

#[test]
fn import_ids_name_a_file_that_pxci_made() {
    let id = ImportId::parse("pve1/local:iso/pxci-lab_ubuntu-2204_k3x9ab_0123456789abcdef.iso").unwrap();
    assert_eq!((id.node.as_str(), id.storage.as_str(), id.name.as_str()), ("pve1", "local", "ubuntu-2204"));
    assert_eq!(id.installation, Some(lab()));
    let old = ImportId::parse("pve1/local:iso/pxci-ubuntu-2204-0123456789abcdef.iso").unwrap();
    assert_eq!((old.name.as_str(), old.installation), ("ubuntu-2204", None));
    for wrong in [
        "",
        "pve1",
        "local:iso/pxci-lab_a_k3x9ab_0123456789abcdef.iso",
        "pve1/local:vztmpl/pxci-lab_a_k3x9ab_0123456789abcdef.iso",
        "pve1/local:iso/ubuntu.iso",
        "pve1/local:iso/pxci-a-xyz.iso",
    ] {
        assert_eq!(ImportId::parse(wrong), None, "{wrong}");
    }
}
