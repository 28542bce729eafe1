//! The farm of a simulation: a cluster of two nodes, a GitHub with several repositories, and a runner pool on each node.

use dispatcher::settings::Settings;
use dispatcher_api::{Config, Secrets};
use serde_json::{Value, json};
use sim_pve::World;

pub(crate) const TOKEN: &str = "farm@pve!dispatcher";
pub(crate) const GITHUB: &str = "https://github.example";
/// VMID of a foreign VM in the range of the first pool. The token may not see it.
pub(crate) const FOREIGN: u32 = 9107;
/// Longest job that a pool permits, in seconds.
pub(crate) const JOB_LIMIT: u64 = 7200;

const PRIVILEGES: [&str; 16] = [
    "VM.Allocate",
    "VM.Clone",
    "VM.Audit",
    "VM.Config.CDROM",
    "VM.Config.CPU",
    "VM.Config.Memory",
    "VM.Config.Network",
    "VM.Config.Options",
    "VM.PowerMgmt",
    "VM.GuestAgent.Audit",
    "VM.GuestAgent.FileRead",
    "VM.GuestAgent.FileWrite",
    "Datastore.AllocateSpace",
    "Datastore.Audit",
    "Pool.Audit",
    "SDN.Use",
];

/// A farm: its cluster, its storages and its runner pools.
#[derive(Debug, Clone)]
pub(crate) struct Farm {
    pub(crate) nodes: Vec<String>,
    pub(crate) storages: Vec<String>,
    pub(crate) pools: Vec<Pool>,
    /// Time between two polls of a repository, in seconds.
    pub(crate) poll_interval: u32,
}

/// A runner pool.
#[derive(Debug, Clone)]
pub(crate) struct Pool {
    pub(crate) name: String,
    pub(crate) label: String,
    pub(crate) repositories: Vec<String>,
    pub(crate) node: String,
    pub(crate) storage: String,
    pub(crate) template: u32,
    pub(crate) first: u32,
    pub(crate) last: u32,
    pub(crate) max: usize,
}

impl Farm {
    /// Returns the farm of a simulation.
    pub(crate) fn of_simulation() -> Self {
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let ubuntu = Pool {
            name: "ubuntu".to_owned(),
            label: "ubuntu".to_owned(),
            repositories: texts(&["acme/api", "acme/app", "acme/docs", "acme/tools"]),
            node: "pve1".to_owned(),
            storage: "vmdir".to_owned(),
            template: 9000,
            first: 9100,
            last: 9139,
            max: 12,
        };
        let debian = Pool {
            name: "debian".to_owned(),
            label: "debian".to_owned(),
            repositories: texts(&["acme/tools", "acme/web"]),
            node: "pve2".to_owned(),
            template: 9001,
            first: 9200,
            last: 9219,
            max: 6,
            ..ubuntu.clone()
        };
        Self {
            nodes: texts(&["pve1", "pve2", "pve3"]),
            storages: texts(&["vmdir"]),
            pools: vec![ubuntu, debian],
            poll_interval: 30,
        }
    }
}

impl Pool {
    /// Returns the VMs of the pool among these guests.
    pub(crate) fn vms(&self, guests: &[u32]) -> Vec<u32> {
        let mine = |vmid: &&u32| (self.first..=self.last).contains(*vmid) && **vmid != FOREIGN;
        guests.iter().filter(mine).copied().collect()
    }
}

impl Farm {
    /// Returns the cluster before the dispatcher starts.
    pub(crate) fn world(&self) -> anyhow::Result<World> {
        let mut guests: Vec<Value> = self.pools.iter().map(template).collect();
        guests.push(json!({ "vmid": FOREIGN, "type": "qemu", "node": self.nodes[0], "config": {
            "name": "precious", "memory": "512", "scsi0": format!("{},size=1G", disk(&self.storages[0], FOREIGN, "vm")),
        }}));
        let members: Vec<String> = self.pools.iter().map(|pool| format!("qemu/{}", pool.template)).collect();
        let base = |pool: &Pool| volume(&pool.storage, pool.template, "base", &pool.node);
        let mut volumes: Vec<Value> = self.pools.iter().map(base).collect();
        volumes.push(volume(&self.storages[0], FOREIGN, "vm", &self.nodes[0]));
        let storage = |name: &String| json!({ "storage": name, "type": "dir", "path": format!("/var/lib/{name}"), "content": "images" });
        let description = json!({
            "node": self.nodes[0],
            "nodes": self.nodes[1..],
            "node_cores": 32,
            "acl": self.grants(),
            "groups": [],
            "guests": guests,
            "networks": [{ "active": 1, "autostart": 1, "iface": "vmbr0", "type": "bridge", "method": "manual", "families": ["inet"] }],
            "pools": [{ "poolid": "ci", "members": members }],
            "roles": {
                "Administrator": { "privs": ["VM.Allocate", "VM.Audit"], "special": 1 },
                "PxciDispatcher": { "privs": PRIVILEGES, "special": 0 },
            },
            "storages": self.storages.iter().map(storage).collect::<Vec<_>>(),
            "users": [{ "userid": "root@pam", "tokens": [] }, { "userid": "farm@pve", "tokens": [{ "tokenid": TOKEN, "privsep": 1 }] }],
            "volumes": volumes,
        });
        Ok(World::from_json(&description.to_string())?)
    }

    fn grants(&self) -> Vec<Value> {
        let storages = self.storages.iter().map(|storage| format!("/storage/{storage}"));
        let paths = ["/pool/ci".to_owned(), "/sdn/zones/localnetwork/vmbr0".to_owned()].into_iter().chain(storages);
        let grant = |path: &str, kind: &str, who: &str| json!({ "path": path, "propagate": 1, "roleid": "PxciDispatcher", "type": kind, "ugid": who });
        paths.flat_map(|path| [grant(&path, "user", "farm@pve"), grant(&path, "token", TOKEN)]).collect()
    }

    /// Returns the settings of a dispatcher that reaches both services at these addresses.
    pub(crate) fn settings(&self, pve: &Value, github: &str, secrets: Secrets) -> anyhow::Result<Settings> {
        let config = json!({
            "installation": "lab",
            "poll_interval_seconds": self.poll_interval,
            "pve": pve,
            "github": { "api_url": github },
            "pools": self.pools.iter().map(Pool::configuration).collect::<Vec<_>>(),
        });
        let config = Config::from_json(&config.to_string())?;
        config.validate()?;
        Ok(Settings { config, secrets })
    }

    /// Returns the way to Proxmox VE in a configuration, for a simulation without sockets.
    pub(crate) fn endpoints(&self) -> Value {
        let endpoints = self.nodes.iter().map(|node| format!("https://{node}:8006"));
        json!({ "endpoints": endpoints.collect::<Vec<_>>(), "token_id": TOKEN })
    }
}

impl Pool {
    fn configuration(&self) -> Value {
        json!({
            "name": self.name,
            "labels": [self.label, "linux"],
            "repositories": self.repositories,
            "max": self.max,
            "vmid_range": format!("{}-{}", self.first, self.last),
            "resource_pool": "ci",
            "template": { "family": self.name, "vmid": self.template, "node": self.node },
            "cores": 2,
            "memory_mib": 1024,
            "job_limit_seconds": JOB_LIMIT,
        })
    }
}

fn disk(storage: &str, vmid: u32, kind: &str) -> String {
    format!("{storage}:{vmid}/{kind}-{vmid}-disk-0.qcow2")
}

fn volume(storage: &str, vmid: u32, kind: &str, node: &str) -> Value {
    let volid = disk(storage, vmid, kind);
    json!({ "volid": volid, "content": "images", "format": "qcow2", "size": 1 << 30, "vmid": vmid, "node": node })
}

/// Returns the finished template of a pool.
fn template(pool: &Pool) -> Value {
    let vmid = pool.template;
    let marker = format!(
        r#"pxci:v1 {{"installation":"lab","owner":"provider","kind":"template","vmid":{vmid},"nonce":"cccccc","family":"{}","build":"ready"}}"#,
        pool.name
    );
    json!({ "vmid": vmid, "type": "qemu", "node": pool.node, "config": {
        "name": format!("{}-runner-template", pool.name), "description": marker, "template": 1, "agent": "1", "cores": 1,
        "memory": "512", "net0": "virtio=${mac1},bridge=vmbr0", "scsi0": format!("{},size=1G", disk(&pool.storage, vmid, "base")),
        "scsihw": "virtio-scsi-pci", "boot": "order=scsi0",
    }})
}
