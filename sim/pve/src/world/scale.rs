//! A large cluster. Its size is the caller's choice; its contents follow fixed rules.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::World;
use super::store::Store;

/// Number of resource pools of a large cluster, `pool-0` to `pool-9`.
pub const POOLS: u32 = 10;

impl World {
    /// Creates a cluster of nodes `pve001`, `pve002`, … with evenly distributed VMs. VM 1000 + n is on the node n mod
    /// `nodes` and in `pool-`(n mod [`POOLS`]). Disks of even n are on each node's `thin`, those of odd n on the shared
    /// `rbd`. `root@pam!admin` has all privileges; `viewer@pve!t` audits `pool-3` and nothing else.
    #[must_use]
    pub fn scale(nodes: u32, vms: u32) -> Self {
        let name = |at: u32| format!("pve{:03}", at + 1);
        let mut world = (1..nodes.max(1)).fold(Self::new(&name(0)), |world, at| world.node(&name(at)));
        world = world
            .store("local", Store::directory("/var/lib/vz").content(&["iso", "vztmpl", "snippets"]))
            .store("thin", Store::lvm_thin())
            .store("rbd", Store::rbd())
            .token("root@pam", "admin", false)
            .user("viewer@pve", "viewer")
            .token("viewer@pve", "t", false)
            .grant("/pool/pool-3", "viewer@pve", "PVEAuditor");
        let pool = |at: u32| format!("pool-{}", at % POOLS);
        world = (0..POOLS).fold(world, |world, at| world.pool(&pool(at)));
        for at in 0..vms {
            let (vmid, node) = (1000 + at, name(at % nodes.max(1)));
            let storage = if at % 2 == 0 { "thin" } else { "rbd" };
            let disk = format!("{storage}:vm-{vmid}-disk-0");
            let config = BTreeMap::from([
                ("name".to_owned(), json!(format!("vm-{vmid}"))),
                ("cores".to_owned(), json!("2")),
                ("memory".to_owned(), json!("2048")),
                ("scsi0".to_owned(), json!(format!("{disk},size=8G"))),
                ("net0".to_owned(), json!("virtio=${mac1},bridge=vmbr0")),
                ("boot".to_owned(), json!("order=scsi0")),
                ("tags".to_owned(), json!("runner;scale")),
            ]);
            world = world.vm(vmid, &node, &pool(at), config, (disk, 8 << 30));
        }
        world
    }

    /// Adds a stopped VM with its configuration and its only disk.
    fn vm(
        mut self,
        vmid: u32,
        node: &str,
        pool: &str,
        config: BTreeMap<String, Value>,
        (disk, size): (String, u64),
    ) -> Self {
        self.add_guest(vmid, "qemu", node, config);
        self.add_disk(disk, size, vmid, node);
        self.add_to_pool(pool, vmid);
        self
    }
}
