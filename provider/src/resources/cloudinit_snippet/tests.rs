use tf_provider::{Attr, Diagnostics, Resource as _};

use super::Snippets;
use super::model::{ImportId, Snippet};

fn snippet(user_data: &str) -> Snippet {
    Snippet { name: "runner".into(), storage: "local".into(), user_data: user_data.into(), ..Snippet::default() }
}

fn problems(snippet: &Snippet) -> Vec<String> {
    let mut diagnostics = Diagnostics::new();
    Snippets.validate(snippet, &mut diagnostics);
    diagnostics.iter().map(|diagnostic| format!("{}: {}", diagnostic.path, diagnostic.detail)).collect()
}

#[test]
fn a_misspelt_key_is_refused_with_its_line_and_attribute() {
    let found = problems(&snippet("#cloud-config\npakages: [git]\n"));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("user_data: ") && found[0].contains("pakages"), "{found:?}");
}

#[test]
fn good_data_and_unknown_data_pass() {
    assert_eq!(problems(&snippet("#cloud-config\npackages: [git]\n")), Vec::<String>::new());
    assert_eq!(problems(&Snippet { user_data: Attr::Unknown, ..snippet("") }), Vec::<String>::new());
}

#[test]
fn other_content_is_another_file() {
    let described = |data: &str| {
        let mut snippet = snippet(data);
        let image = snippet.image().unwrap();
        snippet.describe(&image);
        snippet.volid.into_known().unwrap()
    };
    let (one, other) = (described("#cloud-config\n{}\n"), described("#cloud-config\nhostname: a\n"));
    assert!(one.starts_with("local:iso/pxci-runner-") && one.ends_with(".iso"), "{one}");
    assert_ne!(one, other);
    assert_eq!(one, described("#cloud-config\n{}\n"));
}

#[test]
fn nothing_is_described_while_a_part_is_unknown() {
    assert!(Snippet { network_config: Attr::Unknown, ..snippet("#cloud-config\n{}\n") }.image().is_none());
}

#[test]
fn import_ids_name_a_file_of_ours() {
    let id = ImportId::parse("pve1/local:iso/pxci-ubuntu-2204-0123456789abcdef.iso").unwrap();
    assert_eq!((id.node.as_str(), id.storage.as_str(), id.name.as_str()), ("pve1", "local", "ubuntu-2204"));
    for wrong in [
        "",
        "pve1",
        "local:iso/pxci-a-0123456789abcdef.iso",
        "pve1/local:iso/ubuntu.iso",
        "pve1/local:iso/pxci-a-xyz.iso",
    ] {
        assert!(ImportId::parse(wrong).is_none(), "{wrong}");
    }
}
