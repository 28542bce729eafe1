//! A process that enters the container's file system without its user namespace, as `nsenter --mount` on the node does.
#![cfg(test)]

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};

/// Starts the dispatcher as root of a user namespace without the caller's user, and asks it for a retry from outside
/// once it listens. The client's exit status becomes the script's.
const SCRIPT: &str = r#"
set -eu
mkfifo unshared mapped
unshare --user --keep-caps -- sh -c '
    echo > unshared
    read -r _ < mapped
    exec setpriv --reuid=0 --regid=0 --clear-groups ./pxci-dispatcher serve --state state --socket state/socket
' &
daemon=$!
trap 'kill -9 $daemon' EXIT
read -r _ < unshared
echo 0 1 65534 > /proc/$daemon/uid_map
echo 0 1 65534 > /proc/$daemon/gid_map
chown 1:1 state
echo > mapped
until [ -S state/socket ]; do kill -0 $daemon; done
./pxci-dispatcher retry --socket state/socket
"#;

/// A child whose end is waited for.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs the script as root: of this system, or of a user namespace that has a range of users.
fn run_in(directory: &Path) -> Ended {
    let mut command = if rustix::process::geteuid().is_root() {
        Command::new("sh")
    } else {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--map-auto", "--", "sh"]);
        command
    };
    command.args(["-c", SCRIPT]).current_dir(directory).stdin(Stdio::null()).stderr(Stdio::piped());
    Ended(command.spawn().unwrap())
}

fn lines(stderr: ChildStderr) -> Vec<String> {
    BufReader::new(stderr).lines().map(Result::unwrap).collect()
}

#[test]
fn root_of_the_node_without_the_user_namespace_is_refused_and_named() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::create_dir(directory.path().join("state")).unwrap();
    // The checkout need not be readable to the namespace's users.
    std::fs::copy(env!("CARGO_BIN_EXE_pxci-dispatcher"), directory.path().join("pxci-dispatcher")).unwrap();
    let mut script = run_in(directory.path());
    let shown = lines(script.0.stderr.take().unwrap());
    let refusal =
        shown.iter().find(|line| line.contains("a console was refused")).unwrap_or_else(|| panic!("{shown:?}"));
    assert!(refusal.contains("(pxci-dispatcher) belongs to user 65534"), "{refusal}");
    assert!(refusal.contains("such as the host's root"), "{refusal}");
    assert!(!script.0.wait().unwrap().success(), "the client was served: {shown:?}");
}
