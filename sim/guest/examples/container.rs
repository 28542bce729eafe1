//! Runs a container from a template as the simulator does, until it is killed: `container BASE TEMPLATE MOUNT`.
//!
//! BASE is the guests' base system, TEMPLATE a `.tar.zst`, and MOUNT the path of an empty volume in the container. The
//! program prints the directory of its state. `sim/guest/tests` kills the program to see that nothing is left.

use std::error::Error;
use std::path::PathBuf;

use sim_backend::{Backend as _, ContainerSetup, ContainerStart, NetworkCard};
use sim_guest::Namespaces;

const ROOT: &str = "store:subvol-200-disk-0";
const VOLUME: &str = "store:subvol-200-disk-1";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let (Some(base), Some(template), Some(mount)) = (words.next(), words.next(), words.next()) else {
        return Err("usage: container BASE TEMPLATE MOUNT".into());
    };
    let guests = Namespaces::start(&PathBuf::from(base)).await?;
    let card = NetworkCard {
        name: "eth0".to_owned(),
        bridge: "vmbr0".to_owned(),
        ip: Some("dhcp".to_owned()),
        ..NetworkCard::default()
    };
    let setup = ContainerSetup { hostname: "container".to_owned(), networks: vec![card], ..ContainerSetup::default() };
    guests.container_create(ROOT, template.into(), setup.clone()).await?;
    guests.disk_create(VOLUME).await?;
    let start = ContainerStart { vmid: 200, rootfs: ROOT.to_owned(), mounts: vec![(VOLUME.to_owned(), mount)], setup };
    let (events, mut happened) = tokio::sync::mpsc::unbounded_channel();
    guests.container_start(start, events.into()).await?;
    // Nothing listens at this port, but the processes of the relay must end.
    guests.publish("127.0.0.1", 9).await?;
    println!("state: {}", guests.state_directory().display());
    // The container may end by itself.
    happened.recv().await;
    guests.end().await;
    Ok(())
}
