//! Python's `ssl` with the strict certificate checks that are the default since Python 3.13.

use std::sync::Arc;

use serde_json::{Value, json};
use sim_pve::scripted::{Boot, Scripted};
use sim_pve::{Options, Server, World};
use tokio::process::Command;

use super::{installed, report};

#[tokio::test(flavor = "multi_thread")]
async fn strict_checks_accept_the_certificates_of_both_simulators() {
    let guests = Arc::new(Scripted::new(Boot::AtOnce));
    let pve = Server::start(&World::new("pve1"), guests, Options::default()).await.unwrap();
    let github = sim_github::Server::start(sim_github::ServerOptions::default()).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let server = |name: &str, url: &str, authority: &str| -> Value {
        let file = directory.path().join(name);
        std::fs::write(&file, authority).unwrap();
        let port: u16 = url.rsplit(':').next().unwrap().parse().unwrap();
        json!({ "port": port, "authority": file })
    };
    let servers = json!({
        "pve": server("pve.pem", &pve.url(), pve.ca_pem()),
        "github": server("github.pem", github.url(), github.ca_pem()),
    });
    let script = directory.path().join("strict_tls.py");
    std::fs::write(&script, include_str!("strict_tls.py")).unwrap();
    let found = report(Command::new(installed("PXCI_PYTHON_CLIENTS")).arg(script).arg(servers.to_string())).await;
    let accepted = json!({
        "pve at localhost": "accepted",
        "pve at 127.0.0.1": "accepted",
        "github at localhost": "accepted",
        "github at 127.0.0.1": "accepted",
    });
    assert_eq!(found, accepted);
}
