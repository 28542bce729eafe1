//! Rules of `docs/style.md` that concern all files of the repository.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is in the repository").to_owned()
}

/// Returns the paths of all files that belong to the repository.
fn files() -> Vec<String> {
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git lists the files");
    let names = String::from_utf8(listed.stdout).expect("names of files are UTF-8");
    let names = names.split('\0').filter(|name| !name.is_empty() && root().join(name).is_file());
    names.map(str::to_owned).collect()
}

#[test]
fn a_module_with_children_is_the_mod_rs_of_their_directory() {
    let files = files();
    assert!(files.len() > 500, "git lists {} files", files.len());
    let directories: BTreeSet<&Path> = files.iter().flat_map(|file| Path::new(file).ancestors().skip(1)).collect();
    let both: Vec<&String> = files
        .iter()
        .filter(|file| file.strip_suffix(".rs").is_some_and(|stem| directories.contains(Path::new(stem))))
        .collect();
    assert!(both.is_empty(), "move these into their directories as `mod.rs`: {both:#?}");
}
