//! Features of containers alone: a console, and volumes that move to another container.

use serde_json::json;
use sim_pve::scripted::{Boot, Scripted};
use tokio::io::AsyncWriteExt as _;

use crate::lab::{CASES, CONTAINER, Case, Lab, volume, world_of};

const OTHER: Case = Case { vmid: 9102, ..CASES[1] };

fn container(case: Case, mounts: &[(&str, &str)]) -> serde_json::Value {
    let mut config = json!({
        "hostname": "ct", "memory": "64", "arch": "amd64", "ostype": "alpine", "cmode": "shell",
        "rootfs": format!("lvm:vm-{}-disk-0,size=1G", case.vmid), "description": case.marker().to_string(),
    });
    mounts.iter().for_each(|(option, value)| config[*option] = (*value).into());
    json!({ "vmid": case.vmid, "type": "lxc", "config": config })
}

#[tokio::test]
async fn the_console_of_a_container_of_ours_opens() {
    let guests = Scripted::new(Boot::AtOnce).with_consoles(|_, mut stream| {
        tokio::spawn(async move {
            let _ = stream.write_all(b"hello").await;
        });
    });
    let world = world_of(vec![container(CASES[1], &[])], json!([volume("lvm:vm-9101-disk-0", CONTAINER)]), "ci");
    let lab = Lab::with_guests(&world, guests).await;
    lab.power_on(CASES[1]).await;
    let owned = lab.candidate_on::<pve::Lxc>("pve1", CASES[1]).prove().await.unwrap();
    let mut console = owned.console().await.unwrap();
    let mut shown = Vec::new();
    while !shown.ends_with(b"hello") {
        shown.extend_from_slice(&console.recv().await.unwrap().expect("the console does not end before the greeting"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_volume_moves_between_two_stopped_containers_of_ours() {
    let guests = vec![container(CASES[1], &[("mp0", "lvm:vm-9101-disk-1,mp=/state,size=1G")]), container(OTHER, &[])];
    let volumes = json!([
        volume("lvm:vm-9101-disk-0", CONTAINER),
        volume("lvm:vm-9101-disk-1", CONTAINER),
        volume("lvm:vm-9102-disk-0", OTHER.vmid),
    ]);
    let lab = Lab::of(&world_of(guests, volumes, "ci")).await;
    let from = lab.candidate_on::<pve::Lxc>("pve1", CASES[1]).prove().await.unwrap();
    let to = lab.candidate_on::<pve::Lxc>("pve1", OTHER).prove().await.unwrap();
    from.move_volume("mp0", &to).await.unwrap();
    let moved = to.candidate().prove().await.unwrap();
    assert!(moved.config().get("mp0").is_some_and(|value| value.contains("vm-9102-disk-1")), "{:?}", moved.config());
    lab.remove(CASES[1]).await.unwrap();
    assert_eq!(lab.pve.guests(), [OTHER.vmid]);
}
