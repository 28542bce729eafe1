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

/// A runner pool.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) name: &'static str,
    pub(crate) label: &'static str,
    pub(crate) repositories: &'static [&'static str],
    pub(crate) node: &'static str,
    pub(crate) template: u32,
    pub(crate) first: u32,
    pub(crate) last: u32,
    pub(crate) max: usize,
}

pub(crate) const POOLS: [Pool; 2] = [
    Pool {
        name: "ubuntu",
        label: "ubuntu",
        repositories: &["acme/api", "acme/app", "acme/docs", "acme/tools"],
        node: "pve1",
        template: 9000,
        first: 9100,
        last: 9139,
        max: 12,
    },
    Pool {
        name: "debian",
        label: "debian",
        repositories: &["acme/tools", "acme/web"],
        node: "pve2",
        template: 9001,
        first: 9200,
        last: 9219,
        max: 6,
    },
];

impl Pool {
    /// Returns the VMs of the pool among these guests.
    pub(crate) fn vms(&self, guests: &[u32]) -> Vec<u32> {
        let mine = |vmid: &&u32| (self.first..=self.last).contains(*vmid) && **vmid != FOREIGN;
        guests.iter().filter(mine).copied().collect()
    }
}

/// Returns the cluster before the dispatcher starts.
pub(crate) fn world() -> anyhow::Result<World> {
    let paths = ["/pool/ci", "/storage/vmdir", "/sdn/zones/localnetwork/vmbr0"];
    let grant = |path: &str, kind: &str, who: &str| json!({ "path": path, "propagate": 1, "roleid": "PxciDispatcher", "type": kind, "ugid": who });
    let acl: Vec<Value> =
        paths.iter().flat_map(|path| [grant(path, "user", "farm@pve"), grant(path, "token", TOKEN)]).collect();
    let disk = |vmid: u32, kind: &str| format!("vmdir:{vmid}/{kind}-{vmid}-disk-0.qcow2");
    let volume = |vmid: u32, kind: &str, node: &str| json!({ "volid": disk(vmid, kind), "content": "images", "format": "qcow2", "size": 1 << 30, "vmid": vmid, "node": node });
    let template = |pool: &Pool| {
        let vmid = pool.template;
        let marker = format!(
            r#"pxci:v1 {{"installation":"lab","owner":"provider","kind":"template","vmid":{vmid},"nonce":"cccccc","family":"{}","build":"ready"}}"#,
            pool.name
        );
        json!({ "vmid": vmid, "type": "qemu", "node": pool.node, "config": {
            "name": format!("{}-runner-template", pool.name), "description": marker, "template": 1, "agent": "1", "cores": 1,
            "memory": "512", "net0": "virtio=${mac1},bridge=vmbr0", "scsi0": format!("{},size=1G", disk(vmid, "base")),
            "scsihw": "virtio-scsi-pci", "boot": "order=scsi0",
        }})
    };
    let mut guests: Vec<Value> = POOLS.iter().map(template).collect();
    guests.push(json!({ "vmid": FOREIGN, "type": "qemu", "node": "pve1", "config": {
        "name": "precious", "memory": "512", "scsi0": format!("{},size=1G", disk(FOREIGN, "vm")),
    }}));
    let members: Vec<String> = POOLS.iter().map(|pool| format!("qemu/{}", pool.template)).collect();
    let mut volumes: Vec<Value> = POOLS.iter().map(|pool| volume(pool.template, "base", pool.node)).collect();
    volumes.push(volume(FOREIGN, "vm", "pve1"));
    let description = json!({
        "node": "pve1",
        "nodes": ["pve2", "pve3"],
        "node_cores": 32,
        "acl": acl,
        "groups": [],
        "guests": guests,
        "networks": [{ "active": 1, "autostart": 1, "iface": "vmbr0", "type": "bridge", "method": "manual", "families": ["inet"] }],
        "pools": [{ "poolid": "ci", "members": members }],
        "roles": {
            "Administrator": { "privs": ["VM.Allocate", "VM.Audit"], "special": 1 },
            "PxciDispatcher": { "privs": PRIVILEGES, "special": 0 },
        },
        "storages": [{ "storage": "vmdir", "type": "dir", "path": "/var/lib/vmdir", "content": "images" }],
        "users": [{ "userid": "root@pam", "tokens": [] }, { "userid": "farm@pve", "tokens": [{ "tokenid": TOKEN, "privsep": 1 }] }],
        "volumes": volumes,
    });
    Ok(World::from_json(&description.to_string())?)
}

/// Returns the settings of the dispatcher.
pub(crate) fn settings(pve_secret: &str, github_token: &str) -> anyhow::Result<Settings> {
    let pools: Vec<Value> = POOLS
        .iter()
        .map(|pool| {
            json!({
                "name": pool.name,
                "labels": [pool.label, "linux"],
                "repositories": pool.repositories,
                "max": pool.max,
                "vmid_range": format!("{}-{}", pool.first, pool.last),
                "resource_pool": "ci",
                "template": { "family": pool.name, "vmid": pool.template, "node": pool.node },
                "cores": 2,
                "memory_mib": 1024,
                "job_limit_seconds": JOB_LIMIT,
            })
        })
        .collect();
    let config = json!({
        "installation": "lab",
        "poll_interval_seconds": 30,
        "pve": { "endpoints": ["https://pve1:8006", "https://pve2:8006", "https://pve3:8006"], "token_id": TOKEN },
        "github": { "api_url": GITHUB },
        "pools": pools,
    });
    let config = Config::from_json(&config.to_string())?;
    config.validate()?;
    let secrets = Secrets { pve_token_secret: pve_secret.into(), github_token: github_token.into() };
    Ok(Settings { config, secrets })
}
