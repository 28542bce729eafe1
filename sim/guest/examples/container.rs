//! Runs a container template as the simulator does, until it is killed: `container BASE TEMPLATE MOUNT`.
//!
//! BASE is the guests' base system, TEMPLATE a `.tar.zst`, MOUNT where the container finds an empty volume. Says where the
//! state is that goes with it. `sim/guest/tests` kills it to see that nothing stays.

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
    // Nothing listens there: what it takes to lead there is what has to go.
    guests.publish("127.0.0.1", 9).await?;
    println!("state: {}", guests.state_directory().display());
    // It may end by itself.
    happened.recv().await;
    guests.end().await;
    Ok(())
}
