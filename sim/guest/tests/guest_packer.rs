//! Debian's Packer builds the flavour's template at the simulated Proxmox VE, with a source block for its old version.
#![cfg(test)]

mod guest_lab;

use std::path::{Path, PathBuf};
use std::process::Stdio;

use guest_lab::{Lab, PASSWORD, PASSWORD_HASH};
use serde_json::{Value, json};
use sim_pve::{Handle, Options, Server, World};
use tokio::process::Command;

const BUILDER: &str = "builder@pve";

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap()
}

async fn proxmox(lab: &Lab) -> Handle {
    let world = World::new("pve1")
        .storage("local", &["iso", "vztmpl"])
        .storage("store", &["images", "rootdir"])
        .pool("runners")
        .user(BUILDER, "a password")
        .grant("/", BUILDER, "Administrator");
    let mut pve = Server::start(&world, lab.guests.clone(), Options::default()).await.unwrap();
    pve.put_file("local:iso/ubuntu.iso", &lab.installer()).unwrap();
    pve.set_baseline();
    pve
}

async fn runner_program(server: &sim_github::ServerHandle) -> (String, String, String) {
    let token = server.world(|world, _| {
        world.add_repository("acme/tools");
        world.add_token(sim_github::Token::for_repository_runners())
    });
    let client = reqwest::Client::builder().no_proxy().user_agent("test").build().unwrap();
    let url = format!("{}/repos/acme/tools/actions/runners/downloads", server.url());
    let list: Value = client.get(url).bearer_auth(&token).send().await.unwrap().json().await.unwrap();
    let text = |name: &str| list[0][name].as_str().unwrap().to_owned();
    let version = text("filename").trim_end_matches(".tar.gz").rsplit('-').next().unwrap().to_owned();
    (text("download_url"), text("sha256_checksum"), version)
}

/// Returns a copy of the flavour with a source block for old versions of Packer, and with a rendered seed.
fn old_dialect(lab: &Lab) -> PathBuf {
    let directory = lab.directory.path().join("build");
    let copied = std::process::Command::new("cp")
        .arg("-r")
        .args([repository().join("runners/ubuntu-2204"), directory.clone()])
        .status()
        .unwrap();
    assert!(copied.success());
    std::fs::remove_file(directory.join("plugins.pkr.hcl")).unwrap();
    let fixture = repository().join("sim/farm/fixtures/packer-1.6/source.pkr.hcl");
    std::fs::copy(fixture, directory.join("source.pkr.hcl")).unwrap();
    std::fs::create_dir(directory.join("http")).unwrap();
    let values = [("ssh_username", "ci"), ("ssh_password_hash", PASSWORD_HASH), ("instance_id", "image")];
    for name in ["user-data", "meta-data"] {
        let template = std::fs::read_to_string(directory.join(format!("autoinstall/{name}.pkrtpl"))).unwrap();
        let text = values.iter().fold(template, |text, (name, value)| text.replace(&format!("${{{name}}}"), value));
        std::fs::write(directory.join("http").join(name), text).unwrap();
    }
    directory
}

#[tokio::test(flavor = "multi_thread")]
async fn debians_packer_builds_a_template() {
    let lab = Lab::start().await;
    // Another test of this process may have done this already.
    let _already = rustls::crypto::ring::default_provider().install_default();
    let server = sim_github::Server::start(sim_github::ServerOptions::default()).await.unwrap();
    let pve = proxmox(&lab).await;
    let directory = old_dialect(&lab);
    let (url, sha256, version) = runner_program(&server).await;
    let ssh = lab.guests.ssh_address();
    let values = json!({
        "proxmox_url": format!("{}/api2/json", pve.url()), "proxmox_username": BUILDER, "proxmox_token": "", "proxmox_password": "a password",
        "proxmox_node": "pve1", "resource_pool": "runners", "vm_id": 9000, "template_name": "image-1", "template_description": "one",
        "storage_pool": "store", "iso_storage_pool": "local", "iso_file": "local:iso/ubuntu.iso", "disk_size": "10G",
        "ssh_host": ssh.ip().to_string(), "ssh_port": ssh.port(), "ssh_password": PASSWORD, "ssh_password_hash": PASSWORD_HASH,
        "runner_version": version, "runner_url": url, "runner_sha256": sha256,
    });
    let (file, ca) = (lab.directory.path().join("values.pkrvars.json"), lab.directory.path().join("ca.pem"));
    std::fs::write(&file, values.to_string()).unwrap();
    std::fs::write(&ca, pve.ca_pem()).unwrap();

    let mut packer = Command::new("packer");
    packer.args(["build", "-color=false", "-on-error=cleanup", "-var-file"]).arg(&file).arg(&directory);
    packer
        .env("CHECKPOINT_DISABLE", "1")
        .env("SSL_CERT_FILE", &ca)
        .env("PACKER_CACHE_DIR", lab.directory.path().join("cache"));
    let output = packer.stdin(Stdio::null()).kill_on_drop(true).output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{:#?}", lab.guests.guest_log(9000));
    assert!(said.contains("verify: all checks passed"), "{said}");

    assert_eq!(pve.guests(), [9000]);
    assert!(pve.running().is_empty());
    assert_eq!(pve.description(9000).as_deref(), Some("one"));
    pve.shutdown().await;
    lab.guests.end().await;
}
