//! Runs a machine with QEMU as the simulator does, until it is killed: `machine BASE IMAGE`.
//!
//! BASE is the guests' base system, IMAGE a qcow2 that the machine starts from. The program prints the directory of its
//! state. `sim/guest/tests` kills the program to see that nothing is left.

use std::error::Error;
use std::path::PathBuf;

use sim_backend::{Backend as _, VmStart};
use sim_guest::Namespaces;
use sim_guest::qemu::Qemu;

const VOLUME: &str = "local:105/vm-105-disk-0.qcow2";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let (Some(base), Some(image)) = (words.next(), words.next()) else {
        return Err("usage: machine BASE IMAGE".into());
    };
    let containers = Namespaces::start(&PathBuf::from(base)).await?;
    let state = containers.state_directory().to_owned();
    let machines = Qemu::start(containers).await?;
    machines.install(VOLUME, &PathBuf::from(image)).await?;
    let start = VmStart {
        vmid: 105,
        name: "machine".into(),
        boot_disk: Some(VOLUME.into()),
        agent: true,
        ..VmStart::default()
    };
    let (events, mut happened) = tokio::sync::mpsc::unbounded_channel();
    machines.vm_start(start, events.into()).await?;
    println!("state: {}", state.display());
    // The machine may end by itself.
    happened.recv().await;
    machines.end().await;
    Ok(())
}
