//! How this machine's own programs are called with power over guests' files.
//!
//! Root has it. Anybody else gets it in a user namespace: user 0 inside is the caller, all others come from the
//! caller's range in `/etc/subuid` (Debian package `uidmap`). Every such namespace maps alike, so files made in one belong to the same
//! users in the next.

use std::process::Command;

/// Options of `unshare` that map users for a caller who is not root.
pub(super) const MAPPED: [&str; 3] = ["--user", "--map-root-user", "--map-auto"];

/// Returns true if this process is root.
pub(super) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Returns a command that runs with power over guests' files.
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
