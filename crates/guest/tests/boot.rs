//! Times of the questions to the agents of booting guests, on virtual time, as the simulated Proxmox VE logged them.
#![cfg(test)]

use std::sync::Arc;
use std::time::Duration;

use guest::{BootTimes, Place, RunnerVm};
use ownership::{Kind, Marker, Owner, Vmid, VmidRange};
use serde_json::json;
use sim_http::request_log::Entry;
use sim_pve::scripted::{Boot, Scripted};
use sim_pve::{Handle, Latency, Options, World};
use tokio_util::sync::CancellationToken;

const TOKEN: &str = "ci@pve!t1";
const LIMIT: Duration = Duration::from_secs(300);

struct Lab {
    pve: Arc<Handle>,
    guests: Scripted,
}

impl Lab {
    async fn start() -> Self {
        // Another test of this process may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let guests = Scripted::new(Boot::OnRequest);
        let options = Options { latency: Latency::Real, statistics: false, ..Options::default() };
        let pve = sim_pve::Server::start(&world(), Arc::new(guests.clone()), options).await.unwrap();
        Self { pve: Arc::new(pve), guests }
    }

    fn client(&self) -> pve::Client {
        let config = pve::ClientConfig {
            endpoints: vec![self.pve.url().parse().unwrap()],
            token: pve::ApiToken::new(TOKEN, &self.pve.token_secret(TOKEN).unwrap().into()).unwrap(),
            trust: pve::Trust::CaPem(self.pve.ca_pem().to_owned()),
            user_agent: "test".into(),
        };
        pve::Client::new(config).unwrap()
    }

    fn vm(&self, vmid: u32) -> RunnerVm {
        Self::vm_of(&self.client(), vmid)
    }

    fn vm_of(pve: &pve::Client, vmid: u32) -> RunnerVm {
        let marker = marker(vmid);
        let name = format!("lab-ubuntu-{vmid}-aaaaaa").parse().unwrap();
        let place = Place {
            claimant: Owner::Dispatcher,
            node: "pve1".parse().unwrap(),
            range: VmidRange::new(9100, 9119).unwrap(),
            resource_pool: "ci".into(),
        };
        RunnerVm::new(pve.clone(), name, marker, place, CancellationToken::new())
    }

    /// Lets the guest's agent answer this long after the VM runs.
    fn boots_within(&self, vmid: u32, takes: Duration) {
        let (guests, pve) = (self.guests.clone(), Arc::clone(&self.pve));
        tokio::spawn(async move {
            while !pve.running().contains(&vmid) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            tokio::time::sleep(takes).await;
            guests.boot(vmid);
        });
    }

    fn pings(&self, vmid: u32) -> Vec<Entry> {
        self.requests(|entry| entry.path.ends_with(&format!("/qemu/{vmid}/agent/ping")))
    }

    /// Returns the time of the request to start the VM. The task ends at once unless it waits for a lock.
    fn started(&self, vmid: u32) -> Duration {
        self.requests(|entry| entry.path.ends_with(&format!("/qemu/{vmid}/status/start"))).last().unwrap().at
    }

    fn requests(&self, wanted: impl Fn(&Entry) -> bool) -> Vec<Entry> {
        self.pve.requests().entries().into_iter().filter(wanted).collect()
    }
}

/// Returns the marker of a VM. Those from 9111 on are of a pool of their own.
fn marker(vmid: u32) -> Marker {
    let (number, nonce) = (Vmid::new(vmid).unwrap(), "aaaaaa".parse().unwrap());
    let marker = Marker::new("lab".parse().unwrap(), Owner::Dispatcher, Kind::Runner, number, nonce);
    let pool = if vmid < 9111 { "ubuntu" } else { "debian" };
    Marker { pool: Some(pool.parse().unwrap()), ..marker }
}

/// One node with VMs that are off.
fn world() -> World {
    let guest = |vmid: u32| {
        let description = marker(vmid).to_string();
        let name = format!("lab-ubuntu-{vmid}-aaaaaa");
        let config = json!({ "name": name, "memory": "512", "agent": "1", "description": description });
        json!({ "vmid": vmid, "type": "qemu", "config": config })
    };
    let grant = |kind: &str, who: &str| json!({ "path": "/", "propagate": 1, "roleid": "Administrator", "type": kind, "ugid": who });
    let description = json!({
        "node": "pve1",
        "node_cores": 8,
        "acl": [grant("user", "ci@pve"), grant("token", TOKEN)],
        "groups": [],
        "guests": (9100..9113).map(guest).collect::<Vec<_>>(),
        "networks": [],
        "pools": [{ "poolid": "ci", "members": (9100..9113).map(|vmid| format!("qemu/{vmid}")).collect::<Vec<_>>() }],
        "roles": {},
        "storages": [],
        "users": [{ "userid": "ci@pve", "tokens": [{ "tokenid": TOKEN, "privsep": 1 }] }],
        "volumes": [],
    });
    World::from_json(&description.to_string()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_agent_is_asked_soon_after_the_start_task_and_then_ever_more_rarely() {
    let lab = Lab::start().await;
    lab.boots_within(9100, Duration::from_secs(20));
    let booted = lab.vm(9100).boot(None, BootTimes::default().first_question(), LIMIT).await.unwrap().unwrap();
    let pings = lab.pings(9100);
    assert!(pings[0].at - lab.started(9100) < Duration::from_secs(1), "{pings:?}");
    assert!(pings.len() <= 7 && booted.asked_in_vain as usize == pings.len() - 1, "{pings:?}");
    assert!(booted.took < Duration::from_secs(29), "{booted:?}");
    // Each question in vain holds a worker for three seconds; between two of them the node is left alone.
    let gaps: Vec<Duration> = pings.windows(2).map(|pair| pair[1].at - (pair[0].at + pair[0].took)).collect();
    assert!(gaps.is_sorted() && gaps[0] >= Duration::from_millis(900), "{gaps:?}");
}

#[tokio::test(start_paused = true)]
async fn a_slow_start_task_does_not_delay_the_first_question_to_the_next_guest() {
    let lab = Lab::start().await;
    let mut times = BootTimes::default();
    lab.pve.hold_file_lock(9100, false).await;
    let (vm, slow) = (lab.vm(9100), lab.pve.requests());
    let boot = tokio::spawn(async move { vm.boot(None, BootTimes::default().first_question(), LIMIT).await });
    while slow.count() < 3 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    tokio::time::sleep(Duration::from_secs(8)).await;
    lab.pve.release_file_lock(9100);
    lab.boots_within(9100, Duration::from_secs(5));
    times.learn(boot.await.unwrap().unwrap().unwrap());

    lab.boots_within(9101, Duration::from_secs(5));
    lab.vm(9101).boot(None, times.first_question(), LIMIT).await.unwrap();
    let asked = lab.pings(9101)[0].at - lab.started(9101);
    assert!(asked <= Duration::from_secs(5), "asked {asked:?} after the start, though the guest is up after 5 s");
}

#[tokio::test(start_paused = true)]
async fn at_most_one_guest_of_a_node_is_asked_at_a_time() {
    let lab = Lab::start().await;
    let client = lab.client();
    let boots: Vec<_> = (9100..9104)
        .map(|vmid| {
            lab.boots_within(vmid, Duration::from_secs(15));
            let vm = Lab::vm_of(&client, vmid);
            tokio::spawn(async move { vm.boot(None, BootTimes::default().first_question(), LIMIT).await })
        })
        .collect();
    for boot in boots {
        boot.await.unwrap().unwrap();
    }
    let mut pings = lab.requests(|entry| entry.path.ends_with("/agent/ping"));
    pings.sort_by_key(|ping| ping.at);
    assert!(pings.len() >= 8, "{pings:?}");
    let overlap = pings.windows(2).find(|pair| pair[1].at < pair[0].at + pair[0].took);
    assert!(overlap.is_none(), "{overlap:?}");
}

/// Ten silent guests keep a ping under way at all times. Another guest waits for that one, not for its place among them.
#[tokio::test(start_paused = true)]
async fn silent_guests_do_not_delay_the_first_question_to_another() {
    let lab = Lab::start().await;
    let client = lab.client();
    let boot = |vmid: u32| {
        let vm = Lab::vm_of(&client, vmid);
        tokio::spawn(async move { vm.boot(None, Duration::from_secs(2), LIMIT).await })
    };
    let silent: Vec<_> = (9100..9110).map(boot).collect();
    tokio::time::sleep(Duration::from_secs(60)).await;
    // The first is of the silent guests' pool, the second of another.
    for vmid in [9110, 9111] {
        boot(vmid);
        let patience = tokio::time::Instant::now() + Duration::from_secs(60);
        while lab.pings(vmid).is_empty() && tokio::time::Instant::now() < patience {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let asked = lab.pings(vmid)[0].at - lab.started(vmid);
        println!("VM {vmid} was asked {asked:?} after its start, beside ten silent guests");
        assert!(asked <= Duration::from_secs(6), "VM {vmid} was asked {asked:?} after its start");
    }
    // Later questions to the VM of the other pool wait for one silent guest each.
    tokio::time::sleep(Duration::from_secs(60)).await;
    let pings = lab.pings(9111);
    let longest = pings.windows(2).map(|pair| pair[1].at - pair[0].at).max().unwrap();
    assert!(longest <= Duration::from_secs(13), "{longest:?} between two questions: {pings:?}");
    assert!(silent.iter().all(|boot| !boot.is_finished()));
}

#[tokio::test(start_paused = true)]
async fn a_start_task_is_asked_for_only_where_none_was_seen_or_the_guest_does_not_run_as_usual() {
    let lab = Lab::start().await;
    let client = lab.client();
    let boot = async |vmid: u32| {
        lab.boots_within(vmid, Duration::from_secs(2));
        Lab::vm_of(&client, vmid).boot(None, Duration::from_secs(3), LIMIT).await.unwrap().unwrap();
        lab.requests(|entry| entry.path.contains(&format!(":qmstart:{vmid}:"))).len()
    };
    assert!(boot(9100).await > 0, "nothing is known of start tasks");
    assert_eq!(boot(9101).await, 0);
    lab.pve.hold_file_lock(9102, false).await;
    let pve = Arc::clone(&lab.pve);
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(6)).await;
        pve.release_file_lock(9102);
    });
    assert!(boot(9102).await > 0, "the guest did not run when it was asked");
    let asked = lab.pings(9102).last().unwrap().at - lab.started(9102);
    assert!(asked > Duration::from_secs(8), "the wait begins again with the end of the start task: {asked:?}");
}

#[tokio::test(start_paused = true)]
async fn a_start_that_fails_unnoticed_is_reported_with_its_reason() {
    let lab = Lab::start().await;
    let client = lab.client();
    lab.boots_within(9100, Duration::from_secs(1));
    Lab::vm_of(&client, 9100).boot(None, Duration::from_secs(2), LIMIT).await.unwrap();
    lab.pve.set_lock(9101, Some("backup"));
    let vm = Lab::vm_of(&client, 9101);
    let error = vm.boot(None, Duration::from_secs(2), LIMIT).await.unwrap_err();
    assert!(format!("{:?}", error.problem).contains("VM is locked (backup)"), "{error:?}");
}
