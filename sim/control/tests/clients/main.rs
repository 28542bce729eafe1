//! Published clients against the simulators. A mistake in our understanding of a service could be in our client and in
//! our simulator alike; foreign clients do not share it.
#![cfg(test)]

mod octokit;
mod proxmoxer;
mod strict_tls;

use std::path::PathBuf;

use serde_json::Value;
use tokio::process::Command;

/// Returns the path in a variable that `cargo xtask test` sets to an installed client.
fn installed(variable: &str) -> PathBuf {
    let path = std::env::var_os(variable).filter(|path| !path.is_empty());
    PathBuf::from(path.unwrap_or_else(|| {
        panic!("{variable} is not set: `cargo xtask setup` installs what it names, `cargo xtask test` sets it")
    }))
}

/// Returns the report of a client's program: JSON on its last line of output.
async fn report(command: &mut Command) -> Value {
    let output = command.kill_on_drop(true).output().await.expect("the client starts");
    let reported = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the client failed:\n{reported}");
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error} in what the client said:\n{reported}"))
}
