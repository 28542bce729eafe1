//! Disturbances: faults of single requests, nodes that lose power, and a dispatcher that is killed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use rand::Rng as _;
use sim_github::{Behaviour, ServerHandle};
use sim_http::faults::{Fault, Faults, Rule, When};
use sim_pve::Handle;
use tokio::time::sleep;

use crate::chance::Chance;
use crate::farm::Farm;
use crate::watch::Watch;

/// Probability that a guest's agent never answers.
pub(crate) const SILENT: f64 = 0.01;

/// Time between two visits of a person. No clone takes longer.
const VISIT: Duration = Duration::from_secs(600);

/// Returns how GitHub behaves while it is disturbed: its lists lag, and finished runners stay listed.
pub(crate) fn behaviour() -> Behaviour {
    Behaviour {
        list_lag: SignedDuration::from_secs(5),
        busy_lag: SignedDuration::from_secs(20),
        removal_lag: SignedDuration::from_secs(10),
        ..Behaviour::default()
    }
}

/// Adds the faults of single requests.
pub(crate) fn requests(pve: &Handle, github: &ServerHandle) {
    let both = [
        (Fault::DropRequest, 0.004),
        (Fault::DropReply, 0.004),
        (Fault::Delay(Duration::from_secs(7)), 0.004),
        (Fault::Delay(Duration::from_secs(90)), 0.0005),
        (Fault::Cut { after: 20 }, 0.002),
    ];
    let refusal = |status: u16, text: &str| Fault::Refuse { status, text: text.to_owned() };
    for (fault, probability) in both {
        add(pve.faults(), fault.clone(), probability);
        add(github.faults(), fault, probability);
    }
    add(pve.faults(), refusal(500, "got timeout"), 0.002);
    add(pve.faults(), refusal(596, "Connection timed out"), 0.002);
    add(pve.faults(), Fault::DaemonStopped, 0.002);
    add(pve.faults(), Fault::DaemonDies, 0.002);
    add(pve.faults(), Fault::KillTask, 0.002);
    add(pve.faults(), Fault::Restart, 0.0005);
    add(github.faults(), refusal(502, "Bad Gateway"), 0.004);
}

fn add(faults: &Faults, fault: Fault, probability: f64) {
    faults.add(Rule { method: "*".to_owned(), path: "*".to_owned(), fault, when: When::Chance(probability) });
}

/// Cuts the power of a pool's node every few hours, for some minutes, without end.
pub(crate) async fn nodes(farm: Farm, pve: Arc<Handle>, watch: Arc<Watch>, chance: Chance) {
    for number in 0.. {
        let mut random = chance.of("power cut", number);
        sleep(Duration::from_secs(random.random_range(3_600..14_400))).await;
        let node = &farm.pools[random.random_range(0..farm.pools.len())].node;
        watch.node_fails(true);
        pve.node_away(node).await;
        watch.node_fails(false);
        sleep(Duration::from_secs(random.random_range(60..900))).await;
        pve.node_back(node);
    }
}

/// Acts as a person who removes clones that were left half made, as `docs/troubleshooting.md` says. Proxmox VE keeps them
/// locked, and shows them to no token of a resource pool.
pub(crate) async fn person(farm: Farm, pve: Arc<Handle>) {
    let mut suspects = BTreeSet::new();
    loop {
        sleep(VISIT).await;
        let guests = pve.guests();
        let is_half_made = |vmid: &u32| pve.lock_of(*vmid).flatten().as_deref() == Some("clone");
        let locked: BTreeSet<u32> = farm.pools.iter().flat_map(|pool| pool.vms(&guests)).filter(is_half_made).collect();
        for vmid in suspects.intersection(&locked) {
            let Some(node) = pve.node_of(*vmid) else { continue };
            pve.set_lock(*vmid, None);
            let path = format!("/nodes/{node}/qemu/{vmid}");
            if let Err(error) = pve.call("root@pam", "DELETE", &path, &[("destroy-unreferenced-disks", "1")]).await {
                tracing::info!(vmid, %error, "a half-made clone stays for now");
                pve.set_lock(*vmid, Some("clone"));
            }
        }
        suspects = locked;
    }
}

/// Returns the time for which the dispatcher runs before it is killed, and the time until it starts again.
pub(crate) fn life(chance: Chance, number: u64) -> (Duration, Duration) {
    let mut random = chance.of("dispatcher", number);
    let down = Duration::from_millis(random.random_range(500..30_000));
    (Duration::from_millis(random.random_range(60_000..7_200_000)), down)
}
