//! The SSH server of guests, used by OpenSSH's client.
#![cfg(test)]

mod guest_lab;

use std::path::Path;
use std::process::{Output, Stdio};

use guest_lab::{Lab, PASSWORD_HASH};
use sim_backend::{Backend as _, GuestEventKind};
use tokio::process::Command;

/// Makes a key pair and returns the public key.
fn key(file: &Path) -> String {
    let mut command = std::process::Command::new("ssh-keygen");
    assert!(command.args(["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"]).arg(file).status().unwrap().success());
    std::fs::read_to_string(file.with_extension("pub")).unwrap().trim().to_owned()
}

/// Runs `ssh`, `scp` or `sftp` without this machine's own configuration.
async fn openssh(lab: &Lab, program: &str, key: &Path, arguments: &[&str]) -> Output {
    let port = lab.guests.ssh_address().port().to_string();
    let port_option = if program == "ssh" { "-p" } else { "-P" };
    let mut command = Command::new(program);
    command.args(["-F", "none", port_option, &port, "-i"]).arg(key);
    for option in [
        "BatchMode=yes",
        "IdentitiesOnly=yes",
        "StrictHostKeyChecking=no",
        "UserKnownHostsFile=/dev/null",
        "LogLevel=ERROR",
    ] {
        command.args(["-o", option]);
    }
    command.args(arguments).stdin(Stdio::null()).output().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_of_the_guest_runs_commands_and_copies_files() {
    let mut lab = Lab::start().await;
    let (mine, strange) = (lab.directory.path().join("mine"), lab.directory.path().join("strange"));
    let public = key(&mine);
    key(&strange);
    let autoinstall = format!(
        "#cloud-config\nautoinstall:\n  version: 1\n  identity: {{hostname: image, username: ci, password: {PASSWORD_HASH}}}\n  packages: [qemu-guest-agent]\n  ssh: {{install-server: true, authorized-keys: [\"{public}\"]}}\n"
    );
    lab.install(100, "store:100/disk", &autoinstall).await;

    let output = openssh(&lab, "ssh", &mine, &["ci@127.0.0.1", "id -un; pwd; echo problem >&2; exit 7"]).await;
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "ci\n/home/ci\n");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "problem\n");

    let file = lab.directory.path().join("file");
    std::fs::write(&file, vec![b'x'; 3_000_000]).unwrap();
    let file = file.to_str().unwrap();
    for legacy in [&["-O"][..], &[]] {
        let arguments: Vec<&str> = legacy.iter().copied().chain([file, "ci@127.0.0.1:copied"]).collect();
        let output = openssh(&lab, "scp", &mine, &arguments).await;
        assert!(output.status.success(), "{output:?}");
        let (_, listed) = lab.run(100, "stat -c '%s %U' ~ci/copied; rm ~ci/copied").await;
        assert_eq!(listed, "3000000 ci\n");
    }

    let refused = openssh(&lab, "ssh", &strange, &["ci@127.0.0.1", "true"]).await;
    assert_eq!(refused.status.code(), Some(255), "a strange key opens nothing");
    let refused = openssh(&lab, "ssh", &mine, &["root@127.0.0.1", "true"]).await;
    assert_eq!(refused.status.code(), Some(255), "the key is ci's, not root's");

    lab.guests.vm_shutdown(100).await;
    lab.wait_for(100, GuestEventKind::PoweredOff).await;
    let refused = openssh(&lab, "ssh", &mine, &["ci@127.0.0.1", "true"]).await;
    assert_eq!(refused.status.code(), Some(255), "a guest that is off lets nobody in");
    lab.guests.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_login_is_accepted_without_an_ssh_server_in_the_image() {
    let mut lab = Lab::start().await;
    let mine = lab.directory.path().join("mine");
    let public = key(&mine);
    let autoinstall = format!(
        "#cloud-config\nautoinstall:\n  version: 1\n  identity: {{hostname: image, username: ci, password: {PASSWORD_HASH}}}\n  packages: [qemu-guest-agent]\n  ssh: {{authorized-keys: [\"{public}\"]}}\n"
    );
    lab.install(100, "store:100/disk", &autoinstall).await;
    let refused = openssh(&lab, "ssh", &mine, &["ci@127.0.0.1", "true"]).await;
    assert_eq!(refused.status.code(), Some(255));
    lab.guests.end().await;
}
