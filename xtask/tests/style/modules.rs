//! One style of modules: a module with children is the `mod.rs` of their directory.

use std::collections::BTreeSet;
use std::path::Path;

use crate::repository::files;

#[test]
fn a_module_with_children_is_the_mod_rs_of_their_directory() {
    let files = files();
    let directories: BTreeSet<&Path> = files.iter().flat_map(|file| Path::new(file).ancestors().skip(1)).collect();
    let both: Vec<&String> = files
        .iter()
        .filter(|file| file.strip_suffix(".rs").is_some_and(|stem| directories.contains(Path::new(stem))))
        .collect();
    assert!(both.is_empty(), "move these into their directories as `mod.rs`: {both:#?}");
}
