//! Commands that end with this process.

use std::path::Path;
use std::process::Command;

/// Returns a command that ends when this process ends for any reason.
pub(super) fn bound(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}
