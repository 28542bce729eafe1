//! QEMU's options that contain a path.

use std::ffi::OsString;
use std::path::Path;

/// Returns the options of a drive. `options` begins with its interface.
pub(super) fn drive(options: &str, file: &Path) -> OsString {
    with_path(&format!("if={options},file="), file)
}

/// Returns QEMU's options for a socket to which it connects.
pub(super) fn socket(id: &str, path: &Path) -> OsString {
    with_path(&format!("socket,id={id},path="), path)
}

/// Appends a path to QEMU's options, in which a comma in a value is written twice.
fn with_path(options: &str, path: &Path) -> OsString {
    let mut all = OsString::from(options);
    all.push(path.to_string_lossy().replace(',', ",,"));
    all
}
