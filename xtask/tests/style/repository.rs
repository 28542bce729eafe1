//! The files of the repository.

use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is in the repository").to_owned()
}

/// Returns the paths of all files that belong to the repository, relative to its root.
pub(crate) fn files() -> Vec<String> {
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git lists the files");
    let names = String::from_utf8(listed.stdout).expect("names of files are UTF-8");
    let names = names.split('\0').filter(|name| !name.is_empty() && root().join(name).is_file());
    let files: Vec<String> = names.map(str::to_owned).collect();
    assert!(files.len() > 500, "git lists {} files", files.len());
    files
}
