//! The templates of the shipped flavours render to data that cloud-init accepts.

#![cfg(test)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cloudinit::{check_user_data, render};
use serde_json::{Value, json};

fn templates(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            templates(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "pkrtpl") {
            found.push(path);
        }
    }
}

#[test]
fn every_template_of_every_flavour_renders_to_valid_data() {
    let variables: BTreeMap<String, Value> = [
        ("ssh_username", json!("packer")),
        ("ssh_password_hash", json!("$6$salt$hash")),
        ("instance_id", json!("ubuntu-2204-20261123-0123abcd")),
        ("pool", json!("ubuntu-2204")),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    let mut found = Vec::new();
    templates(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../runners"), &mut found);
    assert!(!found.is_empty());
    for path in found {
        let text = std::fs::read_to_string(&path).unwrap();
        let rendered = render(&text, &variables).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let is_meta_data = path.file_name().is_some_and(|name| name.to_string_lossy().contains("meta-data"));
        let problems = if is_meta_data { Vec::new() } else { check_user_data(&rendered) };
        assert_eq!(problems, vec![], "{}\n{rendered}", path.display());
    }
}
