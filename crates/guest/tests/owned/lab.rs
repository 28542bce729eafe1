//! A cluster of two nodes with one guest of each kind, which can be made to differ from what is ours.

use std::sync::Arc;
use std::time::Duration;

use guest::{Candidate, Kind as GuestType};
use ownership::{Evidence, Installation, Kind, Marker, Owner, Proof, Vmid};
use pve::WaitOptions;
use serde_json::{Value, json};
use sim_pve::scripted::{Boot, Scripted};
use sim_pve::{Handle, Latency, Options, Server, World};
use tokio_util::sync::CancellationToken;

pub(crate) const TOKEN: &str = "ci@pve!t1";
/// A token that may use the resource pool and nothing else.
pub(crate) const NARROW: &str = "ci@pve!narrow";
pub(crate) const VM: u32 = 9100;
pub(crate) const CONTAINER: u32 = 9101;
pub(crate) const NONCE: &str = "aaaaaa";

/// A kind of guest, for tests that hold for both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) vmid: u32,
    pub(crate) word: &'static str,
    pub(crate) kind: Kind,
}

/// Both kinds.
pub(crate) const CASES: [Case; 2] = [
    Case { vmid: VM, word: "qemu", kind: Kind::Runner },
    Case { vmid: CONTAINER, word: "lxc", kind: Kind::Dispatcher },
];

impl Case {
    pub(crate) fn id(self) -> Vmid {
        id(self.vmid)
    }

    pub(crate) fn path(self, rest: &str) -> String {
        format!("/nodes/pve1/{}/{}{rest}", self.word, self.vmid)
    }

    pub(crate) fn marker(self) -> Marker {
        Marker::new(installation(), Owner::Provider, self.kind, self.id(), NONCE.parse().unwrap())
    }
}

pub(crate) fn id(number: u32) -> Vmid {
    Vmid::new(number).unwrap()
}

pub(crate) fn installation() -> Installation {
    "lab".parse().unwrap()
}

/// Differences from a guest of ours.
#[derive(Debug, Clone, Default)]
pub(crate) struct Differences {
    pub(crate) description: Option<String>,
    pub(crate) resource_pool: Option<&'static str>,
    pub(crate) options: Vec<(&'static str, &'static str)>,
}

pub(crate) struct Lab {
    pub(crate) pve: Arc<Handle>,
    pub(crate) guests: Scripted,
}

impl Lab {
    pub(crate) async fn start() -> Self {
        Self::with(&Differences::default()).await
    }

    pub(crate) async fn with(differences: &Differences) -> Self {
        Self::of(&world(differences)).await
    }

    pub(crate) async fn of(world: &World) -> Self {
        Self::with_guests(world, Scripted::new(Boot::AtOnce)).await
    }

    pub(crate) async fn with_guests(world: &World, guests: Scripted) -> Self {
        // Another test of this process may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let options = Options { latency: Latency::Real, statistics: false, ..Options::default() };
        let pve = Server::start(world, Arc::new(guests.clone()), options).await.unwrap();
        Self { pve: Arc::new(pve), guests }
    }

    pub(crate) fn client(&self, token: &str) -> pve::Client {
        let config = pve::ClientConfig {
            endpoints: vec![self.pve.url().parse().unwrap()],
            token: pve::ApiToken::new(token, &self.pve.token_secret(token).unwrap().into()).unwrap(),
            trust: pve::Trust::CaPem(self.pve.ca_pem().to_owned()),
            user_agent: "test".into(),
        };
        pve::Client::new(config).unwrap()
    }

    /// Returns the guest of a case, last seen on `node`.
    pub(crate) fn candidate_on<G: GuestType>(&self, node: &str, case: Case) -> Candidate<G> {
        let nonce = Some(NONCE.parse().unwrap());
        let evidence = Evidence::Marker { kind: case.kind, nonce, family: None };
        Candidate::new(self.client(TOKEN), &node.parse().unwrap(), case.id(), proof(evidence), wait())
    }

    /// Stops and destroys the guest of a case.
    pub(crate) async fn remove(&self, case: Case) -> Result<(), guest::Error> {
        self.remove_from("pve1", case).await
    }

    pub(crate) async fn remove_from(&self, node: &str, case: Case) -> Result<(), guest::Error> {
        match case.word {
            "qemu" => self.candidate_on::<pve::Qemu>(node, case).remove().await,
            _ => self.candidate_on::<pve::Lxc>(node, case).remove().await,
        }
    }

    pub(crate) async fn destroy(&self, case: Case) -> Result<(), guest::Error> {
        match case.word {
            "qemu" => self.candidate_on::<pve::Qemu>("pve1", case).destroy().await,
            _ => self.candidate_on::<pve::Lxc>("pve1", case).destroy().await,
        }
    }

    /// Makes a person's call, which must succeed, and waits for its task.
    pub(crate) async fn call(&self, method: &str, path: &str, parameters: &[(&str, &str)]) -> Value {
        let answer = self.pve.call("root@pam", method, path, parameters).await.unwrap();
        if let Some(task) = answer.as_str().filter(|text| text.starts_with("UPID:")) {
            assert_eq!(self.pve.task_end(task).await.unwrap().0, "OK");
        }
        answer
    }

    pub(crate) async fn power_on(&self, case: Case) {
        self.call("POST", &case.path("/status/start"), &[]).await;
        assert!(self.pve.running().contains(&case.vmid));
    }

    pub(crate) fn exists(&self, vmid: u32) -> bool {
        self.pve.guests().contains(&vmid)
    }

    /// Returns the requests that were to change the guest, as `METHOD path`.
    pub(crate) fn changes_of(&self, vmid: u32) -> Vec<String> {
        let entries = self.pve.requests().entries().into_iter();
        let changing = entries.filter(|entry| entry.method != "GET" && entry.path.contains(&format!("/{vmid}")));
        changing.map(|entry| format!("{} {}", entry.method, entry.path)).collect()
    }

    /// Waits until the condition holds. Time is virtual.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let reached = async {
            while !holds() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(300), reached).await.unwrap_or_else(|_| panic!("never: {what}"));
    }
}

pub(crate) fn proof(evidence: Evidence) -> Proof {
    Proof {
        installation: installation(),
        claimant: Owner::Provider,
        range: "9000-9199".parse().unwrap(),
        resource_pool: "ci".to_owned(),
        evidence,
    }
}

pub(crate) fn wait() -> WaitOptions {
    WaitOptions { deadline: Duration::from_secs(180), cancel: CancellationToken::new() }
}

/// Both guests, with the same differences.
pub(crate) fn world(differences: &Differences) -> World {
    let guest = |case: Case| {
        let mut config = match case.word {
            "qemu" => json!({ "name": "vm", "memory": "512", "agent": "1", "scsi0": "lvm:vm-9100-disk-0,size=1G" }),
            _ => json!({
                "hostname": "ct", "memory": "64", "arch": "amd64", "ostype": "alpine",
                "rootfs": "lvm:vm-9101-disk-0,size=1G",
            }),
        };
        config["description"] = differences.description.clone().unwrap_or_else(|| case.marker().to_string()).into();
        for (option, value) in &differences.options {
            config[option] = (*value).into();
        }
        json!({ "vmid": case.vmid, "type": case.word, "config": config })
    };
    let guests: Vec<Value> = CASES.map(guest).into();
    let volumes = json!([volume("lvm:vm-9100-disk-0", VM), volume("lvm:vm-9101-disk-0", CONTAINER)]);
    world_of(guests, volumes, differences.resource_pool.unwrap_or("ci"))
}

pub(crate) fn volume(volid: &str, vmid: u32) -> Value {
    let format = if volid.ends_with(".qcow2") { "qcow2" } else { "raw" };
    json!({ "volid": volid, "content": "images", "format": format, "size": 1 << 30, "vmid": vmid })
}

/// A cluster with these guests and volumes. All guests are in one resource pool.
pub(crate) fn world_of(guests: Vec<Value>, volumes: Value, resource_pool: &str) -> World {
    let member = |guest: &Value| format!("{}/{}", guest["type"].as_str().unwrap(), guest["vmid"]);
    let members: Vec<String> = guests.iter().map(member).collect();
    let pool = |name: &str| {
        let members = if name == resource_pool { members.clone() } else { Vec::new() };
        json!({ "poolid": name, "members": members })
    };
    let grant = |path: &str, kind: &str, who: &str| json!({ "path": path, "propagate": 1, "roleid": "Administrator", "type": kind, "ugid": who });
    let tokens = [TOKEN, NARROW].map(|id| json!({ "tokenid": id, "privsep": 1 }));
    let description = json!({
        "node": "pve1",
        "nodes": ["pve2"],
        "node_cores": 8,
        "acl": [grant("/", "user", "ci@pve"), grant("/", "token", TOKEN), grant("/pool/ci", "token", NARROW)],
        "guests": guests,
        "pools": [pool("ci"), pool("other")],
        "storages": [
            { "storage": "lvm", "type": "lvmthin", "vgname": "pve", "thinpool": "data", "content": "images,rootdir" },
            { "storage": "elsewhere", "type": "lvmthin", "vgname": "slow", "thinpool": "data", "content": "images,rootdir" },
            { "storage": "dir", "type": "dir", "path": "/srv/dir", "content": "images" },
        ],
        "users": [{ "userid": "ci@pve", "tokens": tokens }, { "userid": "root@pam" }],
        "volumes": volumes,
    });
    World::from_json(&description.to_string()).unwrap()
}
