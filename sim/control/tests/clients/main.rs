//! Published clients that nobody here wrote, against the simulators: what we read wrongly in a service's habits, we
//! would read wrongly in client and simulator alike.
#![cfg(test)]

mod octokit;
mod proxmoxer;
mod strict_tls;

use std::path::PathBuf;

use serde_json::Value;
use tokio::process::Command;

/// What set-up keeps for these tests under the name of this variable.
fn installed(variable: &str) -> PathBuf {
    let path = std::env::var_os(variable).filter(|path| !path.is_empty());
    PathBuf::from(path.unwrap_or_else(|| {
        panic!("{variable} is not set: `cargo xtask setup` installs what it names, `cargo xtask test` sets it")
    }))
}

/// What a client's program reports: its last line of output, JSON.
async fn report(command: &mut Command) -> Value {
    let output = command.kill_on_drop(true).output().await.expect("the client starts");
    let reported = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the client failed:\n{reported}");
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error} in what the client said:\n{reported}"))
}
