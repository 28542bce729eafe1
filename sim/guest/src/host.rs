//! Runs programs of this machine with rights on the files of guests.
//!
//! Root has these rights. Other users get them in a user namespace. User 0 inside is the caller, and all other users
//! are from the caller's range in `/etc/subuid` (Debian package `uidmap`). All such namespaces map users in the same
//! way, so files of one belong to the same users in the next.

use std::process::Command;

/// Options of `unshare` that map users for a caller who is not root.
pub(super) const MAPPED: [&str; 3] = ["--user", "--map-root-user", "--map-auto"];

/// Returns true if this process is root.
pub(super) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Returns a command that runs with rights on the files of guests.
pub(super) fn as_root<const N: usize>(words: [&str; N]) -> Command {
    if is_root() {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]);
        return command;
    }
    let mut command = Command::new("unshare");
    command.args(MAPPED).arg("--").args(words);
    command
}
